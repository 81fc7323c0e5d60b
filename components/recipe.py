"""Run a shell recipe on a host. The only module that knows how commands get to hosts."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

import pulumi
from pulumi_command import remote

from components.hosts import Host
from components.repairs import kept_if_silent, told

RECIPES = Path(__file__).parent / "recipes"
ENDS = ("up", "down")

TIMEOUT_S = 900
"""A command whose connection is gone would otherwise run on as root for ever."""


def run_recipe(
    name: str,
    recipe: str,
    host: Host,
    values: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
    *,
    only_down: bool = False,
    subject: str = "",
) -> remote.Command:
    """Bring one host to the state that ``recipes/<recipe>.sh`` describes.

    The script goes in on stdin, not on the command line: a failed command prints its command line,
    and stdin may hold secrets. A changed script or value is an input change, so the recipe runs
    again in place; ``triggers`` would replace the resource and run ``down`` after ``up``.

    Args:
        name: The resource's name; ends with the host's.
        recipe: File name without ``.sh``.
        host: Where it runs. When the host's machine goes, nothing is run any more.
        values: The variables that the script reads.
        opts: Parent and dependencies.
        only_down: Do nothing now; ``down`` runs when the resource goes.
        subject: Tells runs of one recipe on one host apart.
    """
    known_as = f"{recipe}-{subject}" if subject else recipe
    body = script(recipe, "down") if only_down else script(recipe)
    shell = f"timeout --kill-after=10 {TIMEOUT_S} bash -s --"
    if host.user != "root":
        shell = f"sudo -n {shell}"
    machine = [host.machine] if host.machine else []
    return remote.Command(
        name,
        connection=host.connection,
        create=None if only_down else told(f"{shell} up", known_as, host.repairs),
        delete=f"{shell} down",
        stdin=rendered(body, {**values, "RECIPE": known_as}),
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(deleted_with=host.machine, depends_on=machine)
            ),
            pulumi.ResourceOptions() if only_down else kept_if_silent(host.repairs),
        ),
    )


FUNCTION = re.compile(r"(\w+)\(\) \{")
HERE_DOCUMENT = re.compile(r"(?<!<)<<'?([A-Z]+)")
COMMENT = re.compile(r" *#")


@functools.cache
def script(recipe: str, *ends: str) -> str:
    """Read a recipe, and of what all recipes share what it uses.

    Args:
        recipe: File name without ``.sh``.
        ends: ``up``, ``down``, or nothing for both: what it is sent for.
    """
    return only_used(
        "".join((RECIPES / file).read_text() for file in ("common.sh", f"{recipe}.sh")),
        ends or ENDS,
    )


def only_used(text: str, ends: Collection[str]) -> str:
    """Leave out the comments, and the functions that nobody calls.

    A state holds the text of each command twice, and Pulumi writes the whole of it at each step and
    into its log several times. And who changes a function sees the recipes that use it in the
    preview, and no others.
    """
    parts = sections(text)
    functions = {name: body for name, body in parts if name}
    used, texts = set(ends), [body for name, body in parts if not name or name in ends]
    while texts:
        named = set(re.findall(r"\w+", texts.pop())) & functions.keys() - used - set(ENDS)
        used |= named
        texts += [functions[name] for name in named]
    return "\n".join(body for name, body in parts if not name or name in used)


def sections(text: str) -> list[tuple[str, str]]:
    """Take a script apart: functions with their names, and what is between them with none.

    Comments and the blank lines between functions are dropped, but nothing of a here-document.
    """
    parts, name, document = [("", "")], "", ""
    for line in text.splitlines(keepends=True):
        if document:
            document = "" if line == f"{document}\n" else document
        elif COMMENT.match(line) or (not name and line == "\n"):
            continue
        elif found := HERE_DOCUMENT.search(line):
            document = found[1]
        begins = None if name or document else FUNCTION.match(line)
        if begins:
            name = begins[1]
            parts.append((name, ""))
        elif not name and parts[-1][0]:
            parts.append(("", ""))
        parts[-1] = (parts[-1][0], parts[-1][1] + line)
        if not document and (line == "}\n" or (begins and line.endswith("}\n"))):
            name = ""
    return parts


def rendered(body: str, values: Mapping[str, pulumi.Input[str]]) -> pulumi.Input[str]:
    """Render what may have to be waited for; of what need not be, no output is made."""
    plain = {name: value for name, value in values.items() if isinstance(value, str)}
    awaited = {name: value for name, value in values.items() if name not in plain}
    if not awaited:
        return render(body, plain)
    return pulumi.Output.all(**awaited).apply(lambda known: render(body, {**plain, **known}))


def render(body: str, values: Mapping[str, str]) -> str:
    """Put the values before the script, sorted so that equal inputs give equal text.

    They are not exported: what the script starts has no business with them.
    """
    header = "".join(f"{key}={shlex.quote(values[key])}\n" for key in sorted(values))
    return header + body
