"""One large JSON answer, read item by item as it arrives.

GET_STATE of 10,000 agents with 100,000 tasks has some 200 MB, and json.loads makes 1.2 GB of it
while nothing else can happen for seconds. Here each item of the answer's lists is decoded by
itself, and what came before it is forgotten.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from km.mesos.errors import MalformedStreamError

WALKED = 3
"""Objects so deep are walked through (``get_state``, ``get_tasks``), and their lists split."""

LONGEST = 4 * 2**20
"""Characters of one item. What is longer is no item of Mesos'."""

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()

Path = tuple[str, ...]
"""The keys that lead to a list or to a value outside of lists."""


class Items:
    """Fed with bytes, gives ``(path, item)`` for each item of a list, and for each other value."""

    def __init__(self) -> None:
        self.walked: set[Path] = set()
        """The objects that were walked into; what is empty gives no item."""
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._keys: list[str] = []
        self._open: list[str] = []
        """Brackets that wait for their end."""
        self._expects = "value"
        """``value``, ``key``, ``colon``, ``comma`` (or the end), or ``nothing`` any more."""
        self._first = False
        """Whether the object or list has only begun, and may end at once."""

    def feed(self, data: bytes, *, last: bool = False) -> Iterator[tuple[Path, Any]]:
        """Take the next bytes. Raises MalformedStreamError when they are not JSON."""
        try:
            self._text += self._utf8.decode(data, last)
        except UnicodeDecodeError as error:
            raise MalformedStreamError(f"not UTF-8: {error}") from error
        position = 0
        while True:
            position = _SPACE.match(self._text, position).end()  # type: ignore[union-attr]
            if position == len(self._text):
                break
            step = self._step(position, last=last)
            if step is None:
                break
            position, found = step
            yield from found
        self._text = self._text[position:]
        if len(self._text) > LONGEST:
            raise MalformedStreamError(f"an item of more than {LONGEST} characters")

    def close(self) -> Iterator[tuple[Path, Any]]:
        """The answer is over. Raises MalformedStreamError when it was not."""
        yield from self.feed(b"", last=True)
        if self._expects != "nothing":
            raise MalformedStreamError("JSON that ends too early")

    def _step(self, at: int, *, last: bool) -> tuple[int, list[tuple[Path, Any]]] | None:
        """Read one token or item; None when more text is needed for it."""
        character = self._text[at]
        if self._expects == "nothing":
            raise self._wrong(at)
        if self._first or self._expects == "comma":
            if character in "}]":
                return self._ended(at, character)
            if self._expects == "comma":
                if character != ",":
                    raise self._wrong(at)
                self._expects = "key" if self._open[-1] == "}" else "value"
                return at + 1, []
        self._first = False
        if self._expects == "colon":
            if character != ":":
                raise self._wrong(at)
            self._expects = "value"
            return at + 1, []
        if self._expects == "value" and self._enters(character):
            return at + 1, []
        return self._whole(at, last=last)

    def _enters(self, character: str) -> bool:
        """Walk into an object, or into a list whose items are given one by one."""
        in_list = bool(self._open) and self._open[-1] == "]"
        if in_list or len(self._open) > WALKED or character not in "{[":
            return False
        if character == "{" and len(self._open) == WALKED:
            return False
        self._open.append("}" if character == "{" else "]")
        self._expects = "key" if character == "{" else "value"
        if character == "{":
            self.walked.add(tuple(self._keys))
        self._first = True
        return True

    def _whole(self, at: int, *, last: bool) -> tuple[int, list[tuple[Path, Any]]] | None:
        try:
            item, end = _DECODER.raw_decode(self._text, at)
        except (ValueError, RecursionError) as error:
            if last or isinstance(error, RecursionError):
                raise self._wrong(at) from error
            return None
        if end == len(self._text) and not last and not isinstance(item, (dict, list, str)):
            return None  # the rest of a number may still come
        if self._expects == "key":
            if not isinstance(item, str):
                raise self._wrong(at)
            self._keys.append(item)
            self._expects = "colon"
            return end, []
        found = [(tuple(self._keys), item)]
        self._valued()
        return end, found

    def _ended(self, at: int, character: str) -> tuple[int, list[tuple[Path, Any]]]:
        if not self._open or self._open.pop() != character:
            raise self._wrong(at)
        self._first = False
        self._valued()
        return at + 1, []

    def _valued(self) -> None:
        """A value is complete: the key that led to it is done with."""
        if self._open and self._open[-1] == "}":
            self._keys.pop()
        self._expects = "comma" if self._open else "nothing"

    def _wrong(self, at: int) -> MalformedStreamError:
        return MalformedStreamError(f"not JSON: {self._text[at : at + 80]!r}")
