"""The two things that the tools must know of a stack file, read without a YAML library.

Set-up asks before there is a virtual environment. Only plain ways to write it are understood;
whoever writes it otherwise is told so, because a guess may cost a stack its state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

KINDS = ("lab", "metal", "aws")
HOSTS = ("config", "kubernetes-mesos:cluster", "hosts")
KEY = re.compile(r"""^(?P<indent> *)(?P<quote>["']?)(?P<key>[\w:-]+)(?P=quote):(?:\s+|$)""")


def kind_of_hosts(text: str) -> str | None:
    """What `config: kubernetes-mesos:cluster: hosts: on` says; None when that cannot be told."""
    kind = of_hosts(text, "on")
    return kind if kind in KINDS else None


def bundle(text: str) -> str | None:
    """The path that `bundle` of the hosts names; None when it is none, or cannot be told.

    >>> bundle("config: {'kubernetes-mesos:cluster': {hosts: {bundle: ~/b.tar}}}")
    '~/b.tar'
    """
    named = of_hosts(text, "bundle")
    return named if named and named.startswith(("/", "~/")) else None


def of_hosts(text: str, key: str) -> str | None:
    """What a key below the hosts says, if it is there once."""
    lines = [line for line in map(without_comment, text.splitlines()) if line.strip()]
    for step in HOSTS:
        values = [value for name, value in entries(lines) if name == step]
        if len(values) != 1:
            return None
        lines = values[0]
    found = [unquoted(" ".join(value)) for name, value in entries(lines) if name == key]
    return found[0] if len(found) == 1 else None


def entries(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The keys of a mapping, each with the text of its value: its line's rest and those below."""
    if lines and lines[0].lstrip().startswith("{"):
        yield from flow_entries(" ".join(line.strip() for line in lines))
        return
    indent = min((len(line) - len(line.lstrip(" ")) for line in lines), default=0)
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        match = KEY.match(line)
        if match and len(match["indent"]) == indent:
            rest = line[match.end() :].strip()
            found.append((match["key"], [rest] if rest else []))
        elif found:
            found[-1][1].append(line)
    yield from found


def flow_entries(text: str) -> Iterator[tuple[str, list[str]]]:
    """The keys and values of a mapping in braces; nothing when it does not end with one."""
    if not text.rstrip().endswith("}"):
        return
    for part in parts(text.strip()[1:-1]):
        key, colon, value = part.partition(": ")
        if colon:
            yield unquoted(key), [value.strip()]


def parts(text: str) -> Iterator[str]:
    """What stands between the commas that are outside of brackets and quotes."""
    depth, start = 0, 0
    for place, sign in outside_quotes(text):
        depth += (sign in "{[") - (sign in "}]")
        if sign == "," and depth == 0:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def without_comment(line: str) -> str:
    """A line up to its comment; a `#` inside quotes or a word begins none.

    >>> without_comment("on: a#b  # here, and not '#'")
    'on: a#b'
    """
    for place, sign in outside_quotes(line):
        if sign == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place].rstrip()
    return line


def outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    """The signs outside of quotes, with their places; an apostrophe in a word quotes nothing."""
    quote, before = "", " "
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'" and before in " {[,:":
            quote = sign
        else:
            yield place, sign
        before = sign


def unquoted(text: str) -> str:
    """A word without the quotes around it."""
    return re.sub(r"""^\s*(["']?)(.*?)\1\s*$""", r"\2", text)
