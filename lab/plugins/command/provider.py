"""The command provider: local.Command, remote.Command, remote.CopyToRemote and local.run.

A stand-in for pulumi-command 1.2.1: the same inputs, outputs and states. Where it differs, it does
more: commands on one host share an SSH connection, `customTimeouts` and cancellation end commands
on their hosts, and lines of any length can be logged.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from lab.plugins.command.local import run_local
from lab.plugins.provider import Diff, Failures, Provider, ProviderError, Request
from lab.plugins.values import UNKNOWN, Properties

if TYPE_CHECKING:
    from lab.plugins.command.connections import Hosts

LOCAL, REMOTE = "command:local:Command", "command:remote:Command"
COPY = "command:remote:CopyToRemote"
CONNECTION_DEFAULTS = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}


class Command(Provider):
    version = "1.2.1"

    def __init__(self, engine_address: str) -> None:
        super().__init__(engine_address)
        self.opened: Hosts | None = None

    @property
    def hosts(self) -> Hosts:
        """The connections; asyncssh takes 0.2 s to import, and a preview needs none of it."""
        if self.opened is None:
            from lab.plugins.command.connections import Hosts  # noqa: PLC0415

            self.opened = Hosts()
        return self.opened

    async def close(self) -> None:
        if self.opened:
            self.opened.close()

    async def check(self, request: Request) -> tuple[Properties, Failures]:
        inputs, failures = request.inputs, []
        if request.type not in (LOCAL, REMOTE, COPY):
            failures.append(("", f"{request.type} is not supported"))
        if request.type in (REMOTE, COPY):
            failures += check_connection(inputs)
        if request.type == COPY:
            failures += check_copy(inputs)
        return inputs, failures

    async def diff(self, request: Request) -> Diff:
        diff = await super().diff(request)
        diff.replace = [path for path in diff.changed if path.startswith("triggers")]
        return diff

    async def create(self, request: Request) -> tuple[str, Properties]:
        suffix = secrets.token_hex(4)
        if request.type == COPY:
            if not request.preview:
                await self.copy(request)
            return suffix, request.inputs
        if request.preview:
            return request.name + suffix, planned(request.inputs)
        outputs = {"stdout": "", "stderr": ""}
        if "create" in request.inputs:
            outputs = await self.run(request, request.inputs, request.inputs["create"])
        return request.name + suffix, {**request.inputs, **outputs}

    async def update(self, request: Request) -> Properties:
        inputs, old = request.inputs, request.old_inputs
        if request.type == COPY:
            moved = any(inputs[name] != old.get(name) for name in ("source", "remotePath"))
            if moved and not request.preview:
                await self.copy(request)
            return inputs
        if request.preview:
            return planned(inputs)
        outputs = {name: request.state.get(name, "") for name in ("stdout", "stderr")}
        command = inputs.get("update", inputs.get("create"))
        if command is not None:
            outputs = await self.run(request, {**inputs, **outputs}, command)
        return {**inputs, **outputs}

    async def delete(self, request: Request) -> None:
        if "delete" in request.state:
            await self.run(request, request.state, request.state["delete"])

    async def run(self, request: Request, state: Properties, command: str) -> Properties:
        """Run a command with the properties in `state`; returns its outputs."""
        if request.type == LOCAL:
            return await limited(run_local(state, command, request.status), request, command)
        from lab.plugins.command.remote import run_remote  # noqa: PLC0415

        return await limited(run_remote(self.hosts, state, command, request), request, command)

    async def copy(self, request: Request) -> None:
        from lab.plugins.command.copies import copy_to_remote  # noqa: PLC0415

        await copy_to_remote(self.hosts, request.inputs, request)

    async def invoke(self, token: str, arguments: Properties) -> Properties:
        if token != "command:local:run":  # noqa: S105
            return await super().invoke(token, arguments)

        async def show(line: str) -> None:
            await self.log(line, ephemeral=True)

        return {**arguments, **await run_local(arguments, arguments["command"], show)}


async def limited(running: Awaitable[Properties], request: Request, command: str) -> Properties:
    """Wait for a command; end it when the time that `customTimeouts` gives is over."""
    try:
        return await asyncio.wait_for(running, request.timeout or None)
    except TimeoutError:
        limit = f"no end after {request.timeout:g} s"
        raise ProviderError(f"{limit}: running {json.dumps(command)}") from None


def planned(inputs: Properties) -> Properties:
    """The outputs of a command as far as a preview can know them."""
    outputs = {**inputs, "stdout": UNKNOWN, "stderr": UNKNOWN}
    if "assetPaths" in inputs:
        outputs["assets"] = UNKNOWN
    if "archivePaths" in inputs:
        outputs["archive"] = UNKNOWN
    return outputs


def check_connection(inputs: Properties) -> Failures:
    """Complete `connection` and its proxy with the defaults, and miss what is missing."""
    connection = inputs.get("connection")
    if connection is None:
        return [("connection", "missing required property")]
    failures = []
    ends = {"connection": connection}
    if isinstance(connection, dict) and "proxy" in connection:
        ends["connection.proxy"] = connection["proxy"]
    for path, end in ends.items():
        if not isinstance(end, dict):  # unknown yet
            continue
        for name, value in CONNECTION_DEFAULTS.items():
            end.setdefault(name, value)
        if not end.get("host"):
            failures.append((f"{path}.host", "missing required property"))
    return failures


def check_copy(inputs: Properties) -> Failures:
    failures = []
    source = inputs.get("source")
    usable = isinstance(source, dict) and ("path" in source or "text" in source)
    if source != UNKNOWN and not usable:
        failures.append(("source", "must be a FileAsset, a StringAsset or a FileArchive"))
    if "remotePath" not in inputs:
        failures.append(("remotePath", "missing required property"))
    return failures
