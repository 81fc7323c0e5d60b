"""SSH connections: dialled with patience, host keys checked, one a host and kept open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncssh

from lab.plugins.command.dial import dial
from lab.plugins.command.output import Show
from lab.plugins.values import Properties

SESSIONS = 8
"""At once on one connection; sshd's MaxSessions is 10, and ending a command needs one."""


class Host:
    """An open connection and what is known about its server."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self.connection = connection
        self.sessions = asyncio.Semaphore(SESSIONS)
        self.accepts: dict[str, bool] = {}

    async def refused(self, names: list[str]) -> list[str]:
        """Which of these environment variables the server does not let through (AcceptEnv)."""
        if asked := [name for name in names if name not in self.accepts]:
            env = dict.fromkeys(asked, "1")
            result = await self.connection.run("env", env=env, stdin=asyncssh.DEVNULL)
            seen = {line.partition("=")[0] for line in str(result.stdout).splitlines()}
            self.accepts.update((name, name in seen) for name in asked)
        return [name for name in names if not self.accepts[name]]


class Hosts:
    """One connection for each set of connection properties, opened on first use."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def session(self, properties: Properties, show: Show) -> AsyncIterator[Host]:
        """Wait for a free session on the host's connection, opening it when there is none."""
        key = identity(properties)
        async with self.locks.setdefault(key, asyncio.Lock()):
            host = self.hosts.get(key)
            if host is None or host.connection.is_closed():
                host = self.hosts[key] = Host(await connect(properties, show))
        async with host.sessions:
            yield host

    def forget(self, properties: Properties, host: Host) -> None:
        """Have the next session open a new connection."""
        host.connection.abort()
        if self.hosts.get(identity(properties)) is host:
            del self.hosts[identity(properties)]

    def close(self) -> None:
        for host in self.hosts.values():
            host.connection.abort()


def identity(properties: Properties) -> str:
    """What makes two connections the same: all but how patiently they are dialled."""
    patience = ("dialErrorLimit", "perDialTimeout")
    return json.dumps({k: v for k, v in properties.items() if k not in patience}, sort_keys=True)


async def connect(properties: Properties, show: Show) -> asyncssh.SSHClientConnection:
    """Connect to the host, through its `proxy` (bastion) when it has one."""
    tunnel: Any = None
    if proxy := properties.get("proxy"):
        tunnel = await dial(proxy, None, "proxy", show)
    return await dial(properties, tunnel, "host", show)
