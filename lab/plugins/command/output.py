"""What a command prints: kept whole for the state, shown line by line while it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Protocol

from lab.plugins.provider import ProviderError
from lab.plugins.values import Properties

Show = Callable[[str], Awaitable[None]]
CHUNK = 65536


class Readable(Protocol):
    async def read(self, n: int = -1, /) -> bytes: ...


class Output:
    """The output of one command.

    `logging` is the property of that name: "stdout", "stderr", "stdoutAndStderr" or "none".
    """

    def __init__(self, logging: str | None, show: Show) -> None:
        named = {"stdout": ("stdout",), "stderr": ("stderr",), "none": ()}
        self.logged = named.get(logging or "", ("stdout", "stderr"))
        self.show = show
        self.parts: list[tuple[str, bytes]] = []

    async def read(self, **streams: Readable) -> None:
        """Read all streams to their ends, at the same time."""
        await asyncio.gather(*(self.pump(name, stream) for name, stream in streams.items()))

    async def pump(self, name: str, stream: Readable) -> None:
        rest = b""
        while data := await stream.read(CHUNK):
            self.parts.append((name, data))
            if name in self.logged:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    await self.show(line.decode(errors="replace"))
        if rest:
            await self.show(rest.decode(errors="replace"))

    def text(self, *names: str) -> str:
        found = b"".join(data for name, data in self.parts if name in names)
        return found.decode(errors="replace")

    def result(self, command: str, failure: str | None) -> Properties:
        """The outputs of a command that succeeded; else the error that shows all it printed."""
        if failure:
            quoted = json.dumps(command, ensure_ascii=False)
            raise ProviderError(f"{failure}: running {quoted}:\n{self.text('stdout', 'stderr')}")
        return {name: self.text(name).removesuffix("\n") for name in ("stdout", "stderr")}


def previous_output(state: Properties) -> dict[str, str]:
    """The last run's output as variables for the next one, unless the resource says otherwise."""
    if state.get("addPreviousOutputInEnv") is False:
        return {}
    names = [name for name in ("stdout", "stderr") if state.get(name)]
    return {f"PULUMI_COMMAND_{name.upper()}": str(state[name]) for name in names}
