# ruff: noqa: ARG002 -- the defaults of a provider ignore what they are given
"""What a resource provider is to the code that serves it: requests in, plain values out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lab.plugins.protocol import NO_LIMIT, grpc, messages
from lab.plugins.values import Properties, compare

engine_pb2 = messages("engine_pb2")
engine_pb2_grpc = messages("engine_pb2_grpc")

Failures = list[tuple[str, str]]
"""Inputs that a check refuses: (property path or "", reason)."""


class ProviderError(Exception):
    """A failure whose text is shown to the user as it is."""


class NotReadyError(Exception):
    """The resource exists but did not become ready: its state is kept and the step fails."""

    def __init__(
        self, resource_id: str, properties: Properties, inputs: Properties, reasons: list[str]
    ) -> None:
        super().__init__("; ".join(reasons))
        self.resource_id = resource_id
        self.properties = properties
        self.inputs = inputs
        self.reasons = reasons


@dataclass(kw_only=True)
class Request:
    """One operation on one resource."""

    provider: Provider
    urn: str
    id: str = ""
    inputs: Properties = field(default_factory=dict)
    """The new inputs; in a read, the last known ones."""

    old_inputs: Properties = field(default_factory=dict)
    state: Properties = field(default_factory=dict)
    """The last known outputs."""

    timeout: float = 0
    """Seconds that `customTimeouts` gives this operation; 0 when it says nothing."""

    preview: bool = False

    @property
    def type(self) -> str:
        """The type token, such as `command:remote:Command`."""
        return self.urn.split("::")[2].split("$")[-1]

    @property
    def name(self) -> str:
        return self.urn.split("::", 3)[3]

    async def status(self, message: str) -> None:
        """Show a line beside the resource while the operation runs."""
        await self.provider.log(message, self.urn, ephemeral=True)

    async def warn(self, message: str) -> None:
        await self.provider.log(message, self.urn, severity=engine_pb2.WARNING)


@dataclass(kw_only=True)
class Diff:
    """How the new inputs differ."""

    changed: dict[str, str] = field(default_factory=dict)
    """Property path to "add", "delete" or "update"."""

    replace: list[str] = field(default_factory=list)
    """The paths among them that force a replacement."""

    delete_first: bool = False
    """Whether the old resource has to go before the new one is made."""


class Provider:
    """The operations of a provider. The defaults suit one without configuration."""

    version = ""

    def __init__(self, engine_address: str) -> None:
        channel = grpc.aio.insecure_channel(engine_address, options=NO_LIMIT)
        self.engine = engine_pb2_grpc.EngineStub(channel)

    async def log(
        self, message: str, urn: str = "", *, severity: Any = None, ephemeral: bool = False
    ) -> None:
        """Send a line to the engine's display; a gone engine is nobody to tell."""
        request = engine_pb2.LogRequest(
            severity=engine_pb2.INFO if severity is None else severity,
            message=message,
            urn=urn,
            ephemeral=ephemeral,
        )
        with suppress(grpc.aio.AioRpcError):
            await self.engine.Log(request)

    async def check_config(self, request: Request) -> tuple[Properties, Failures]:
        return request.inputs, []

    async def diff_config(self, request: Request) -> Diff:
        return Diff()

    async def configure(self, config: Properties) -> None:
        """Take the provider's own inputs over; called once before any other operation."""

    async def check(self, request: Request) -> tuple[Properties, Failures]:
        """Complete and judge the inputs, which may hold unknowns."""
        return request.inputs, []

    async def diff(self, request: Request) -> Diff:
        return Diff(changed=compare(request.old_inputs, request.inputs))

    async def create(self, request: Request) -> tuple[str, Properties]:
        """Make the resource; returns its id and outputs."""
        raise ProviderError(f"create of {request.type} is not supported")

    async def read(self, request: Request) -> tuple[str, Properties, Properties]:
        """Look at the resource; returns id, outputs and inputs; an empty id when it is gone."""
        return request.id, request.state, request.inputs

    async def update(self, request: Request) -> Properties:
        """Change the resource in place; returns its outputs."""
        raise ProviderError(f"update of {request.type} is not supported")

    async def delete(self, request: Request) -> None:
        """Remove the resource."""

    async def invoke(self, token: str, arguments: Properties) -> Properties:
        raise ProviderError(f"unknown function {token}")

    async def close(self) -> None:
        """Let go of connections; called once, at the end."""
