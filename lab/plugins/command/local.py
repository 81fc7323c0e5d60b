"""Commands on this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

from lab.plugins.command.files import collected
from lab.plugins.command.output import Output, Show, previous_output
from lab.plugins.provider import ProviderError
from lab.plugins.values import Properties

GRACE_SECONDS = 5
"""Between asking a cancelled command to end and ending it."""


async def run_local(state: Properties, command: str, show: Show) -> Properties:
    """Run a command in a process group of its own; returns its outputs."""
    output = Output(state.get("logging"), show)
    directory = Path(state.get("dir") or Path.cwd())
    stdin = state.get("stdin")
    process = await started(state, command, directory)
    try:
        feeding = asyncio.create_task(feed(process, stdin)) if stdin else None
        assert process.stdout is not None
        assert process.stderr is not None
        await output.read(stdout=process.stdout, stderr=process.stderr)
        code = await process.wait()
        if feeding:
            await feeding
    except asyncio.CancelledError:
        await end_group(process)
        raise
    outputs = output.result(command, failure(code))
    return {**outputs, **collected(directory, state)}


async def started(state: Properties, command: str, directory: Path) -> Process:
    interpreter = state.get("interpreter") or ["/bin/sh", "-c"]
    if not directory.is_dir():  # noqa: ASYNC240
        raise ProviderError(f"dir: {directory} is not a directory; make it before this command")
    if shutil.which(interpreter[0]) is None:
        raise ProviderError(f"interpreter: {interpreter[0]} is not a program on this machine")
    return await asyncio.create_subprocess_exec(
        *interpreter,
        command,
        cwd=directory,
        env={**os.environ, **state.get("environment", {}), **previous_output(state)},
        stdin=PIPE if state.get("stdin") else DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )


async def feed(process: Process, text: str) -> None:
    """Write stdin; a command that does not read it to the end is no failure."""
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(text.encode())
        await process.stdin.drain()
    process.stdin.close()


async def end_group(process: Process) -> None:
    """End the command with all it started: first ask, then kill."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), GRACE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)


def failure(code: int) -> str | None:
    """What an exit code says, in the words of the real plugin."""
    if code > 0:
        return f"exit status {code}"
    return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}" if code else None
