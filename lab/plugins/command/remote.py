"""Commands on other machines, over SSH."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import asyncssh

from lab.plugins.command.connections import Host, Hosts
from lab.plugins.command.guard import ending, guarded, split_mark
from lab.plugins.command.output import Output, previous_output
from lab.plugins.provider import ProviderError, Request
from lab.plugins.values import Properties

REFUSED = (
    "sshd on this host does not accept the variable {}: list it under AcceptEnv in sshd_config, "
    "or write it in front of the command, as in NAME=value command"
)
END_SECONDS = 8


class Marked:
    """A stderr whose first line is the guard's: the rest is read as if it were not there."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.session: int | None = None
        self.begun = False

    async def read(self, n: int = -1, /) -> bytes:
        if self.begun:
            data: bytes = await self.stream.read(n)
            return data
        data = b""
        while b"\n" not in data and (more := await self.stream.read(n)):
            data += more
        self.begun = True
        self.session, rest = split_mark(data)
        return rest or await self.read(n)


async def run_remote(hosts: Hosts, state: Properties, command: str, request: Request) -> Properties:
    """Run a command on the host of `state["connection"]`; returns its outputs."""
    connection = state["connection"]
    async with hosts.session(connection, request.status) as host:
        try:
            process = await started(host, state, command, request)
        except (asyncssh.Error, OSError):
            hosts.forget(connection, host)
        else:
            return await finished(host, process, state, command, request)
    # The kept connection had died unnoticed, for instance by a reboot, and nothing was run yet.
    async with hosts.session(connection, request.status) as host:
        process = await started(host, state, command, request)
        return await finished(host, process, state, command, request)


async def started(host: Host, state: Properties, command: str, request: Request) -> Any:
    """Open a session with its environment and start the guarded command in it."""
    environment = dict(state.get("environment", {}))
    for name in await host.refused(list(environment)):
        reason = REFUSED.format(name)
        raise ProviderError(f'could not set environment variable "{name}": {reason}')
    previous = previous_output(state)
    for name in await host.refused(list(previous)):
        await request.warn(REFUSED.format(name))
    variables = {**environment, **previous}
    return await host.connection.create_process(guarded(command), env=variables, encoding=None)


async def finished(
    host: Host, process: Any, state: Properties, command: str, request: Request
) -> Properties:
    """Feed stdin, read the output and wait; a cancelled command is ended on its host."""
    output = Output(state.get("logging"), request.status)
    stderr = Marked(process.stderr)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(state.get("stdin", "").encode())
            process.stdin.write_eof()
        await output.read(stdout=process.stdout, stderr=stderr)
        await process.wait_closed()
    except asyncio.CancelledError:
        await end(host, stderr.session)
        raise
    finally:
        process.close()
    return output.result(command, failure(process, state["connection"]["host"]))


async def end(host: Host, session: int | None) -> None:
    """End a command's session; without its number, its guard does when we disconnect."""
    if session is None:
        return
    with suppress(asyncssh.Error, OSError, TimeoutError):
        running = host.connection.run(ending(session), stdin=asyncssh.DEVNULL)
        await asyncio.wait_for(running, END_SECONDS)


def failure(process: Any, host: str) -> str | None:
    """What the end of the process says, in the words of the real plugin where it has any."""
    if process.exit_signal:
        return f"Process exited from signal {process.exit_signal[0]}"
    if process.exit_status is None:
        return (
            f"the connection to {host} ended before the command did, which was ended with it; "
            "see whether the machine is up, and run this again"
        )
    return f"Process exited with status {process.exit_status}" if process.exit_status else None
