# ruff: noqa: N802, ARG002 -- names and parameters of the service's methods are gRPC's
"""The gRPC face of a provider: the ResourceProvider service that Pulumi's engine speaks.

Written on the plain servicer. The SDK's own provider framework hands unknowns over as strings,
loses assets, and cannot say "created but not ready".
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from lab.plugins.protocol import NO_LIMIT, grpc, messages, well_known
from lab.plugins.provider import Diff, Failures, NotReadyError, Provider, ProviderError, Request
from lab.plugins.values import Properties, decode

pb = messages("provider_pb2")
pb_grpc = messages("provider_pb2_grpc")
plugin_pb2 = messages("plugin_pb2")
status_pb2 = messages("status_pb2")
Empty = well_known("empty_pb2").Empty
Packed = well_known("any_pb2").Any
Struct = well_known("struct_pb2").Struct

CLEAN_UP_SECONDS = 10
"""How long operations that were cancelled may take to end their commands."""


def encode(properties: Properties) -> Any:
    """Plain values as a protobuf Struct; None at the top means absent."""
    struct = Struct()
    struct.update({key: item for key, item in properties.items() if item is not None})
    return struct


def operation(method: Callable[[Any, Any], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Turn errors into gRPC errors, and let Cancel reach the operation."""

    async def wrapped(self: Servicer, message: Any, context: Any) -> Any:
        task = asyncio.ensure_future(method(self, message))
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        try:
            return await self.finished(task)
        except asyncio.CancelledError:
            await context.abort(grpc.StatusCode.CANCELLED, "the operation was cancelled")
        except NotReadyError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error), not_ready_details(error))
        except ProviderError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except Exception as error:  # noqa: BLE001 -- the engine needs an answer to whatever it was
            await context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")

    return wrapped


def not_ready_details(error: NotReadyError) -> tuple[tuple[str, bytes], ...]:
    """The metadata by which the engine knows that there is a state to keep."""
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    detail = Packed()
    detail.Pack(
        pb.ErrorResourceInitFailed(
            id=error.resource_id,
            properties=encode(error.properties),
            inputs=encode(error.inputs),
            reasons=error.reasons,
        )
    )
    status.details.append(detail)
    return (("grpc-status-details-bin", status.SerializeToString()),)


class Servicer(pb_grpc.ResourceProviderServicer):  # type: ignore[misc,name-defined]
    """Translates each call of the service to a method of the provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.running: set[asyncio.Future[Any]] = set()
        self.cancelled: weakref.WeakSet[asyncio.Future[Any]] = weakref.WeakSet()

    def request(self, message: Any, state: Any, inputs: Any) -> Request:
        fields = message.DESCRIPTOR.fields_by_name
        known = {name: getattr(message, name) for name in OPTIONAL if name in fields}
        old_inputs = decode(message.old_inputs) if "old_inputs" in fields else {}
        return Request(
            provider=self.provider,
            urn=message.urn,
            inputs=decode(inputs),
            old_inputs=old_inputs,
            state=decode(state),
            **known,
        )

    async def GetPluginInfo(self, message: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self.provider.version)

    async def GetSchema(self, message: Any, context: Any) -> Any:
        return pb.GetSchemaResponse(schema="{}")

    async def Cancel(self, message: Any, context: Any) -> Any:
        self.cancel()
        return Empty()

    def cancel(self, *tasks: asyncio.Future[Any]) -> None:
        """Cancel operations, all when none is named, and each only once.

        An interrupt arrives as Cancel, as a broken call and as a signal; the second of them must
        not cut short the ending of commands that the first began.
        """
        for task in set(tasks or self.running) - set(self.cancelled):
            self.cancelled.add(task)
            task.cancel()

    async def finished(self, task: asyncio.Future[Any]) -> Any:
        """The operation's result; a broken call cancels it and waits for it to end."""
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.cancel(task)
            await asyncio.wait({task})
            raise

    @operation
    async def CheckConfig(self, message: Any) -> Any:
        request = self.request(message, message.olds, message.news)
        return checked(*await self.provider.check_config(request))

    @operation
    async def DiffConfig(self, message: Any) -> Any:
        request = self.request(message, message.olds, message.news)
        return difference(await self.provider.diff_config(request))

    @operation
    async def Configure(self, message: Any) -> Any:
        await self.provider.configure(decode(message.args))
        return pb.ConfigureResponse(supportsPreview=True)

    @operation
    async def Check(self, message: Any) -> Any:
        request = self.request(message, message.olds, message.news)
        return checked(*await self.provider.check(request))

    @operation
    async def Diff(self, message: Any) -> Any:
        request = self.request(message, message.olds, message.news)
        return difference(await self.provider.diff(request))

    @operation
    async def Create(self, message: Any) -> Any:
        request = self.request(message, Struct(), message.properties)
        created, outputs = await self.provider.create(request)
        return pb.CreateResponse(id=created, properties=encode(outputs))

    @operation
    async def Read(self, message: Any) -> Any:
        request = self.request(message, message.properties, message.inputs)
        found, outputs, inputs = await self.provider.read(request)
        return pb.ReadResponse(id=found, properties=encode(outputs), inputs=encode(inputs))

    @operation
    async def Update(self, message: Any) -> Any:
        request = self.request(message, message.olds, message.news)
        return pb.UpdateResponse(properties=encode(await self.provider.update(request)))

    @operation
    async def Delete(self, message: Any) -> Any:
        await self.provider.delete(self.request(message, message.properties, message.old_inputs))
        return Empty()

    @operation
    async def Invoke(self, message: Any) -> Any:
        outputs = await self.provider.invoke(message.tok, decode(message.args))
        return pb.InvokeResponse(**{"return": encode(outputs)})


OPTIONAL = ("id", "timeout", "preview")
"""Fields of a request that only some messages have."""


def checked(inputs: Properties, failures: Failures) -> Any:
    refused = [pb.CheckFailure(property=name, reason=reason) for name, reason in failures]
    return pb.CheckResponse(inputs=encode(inputs), failures=refused)


def difference(diff: Diff) -> Any:
    detail = {}
    for path, kind in diff.changed.items():
        name = kind.upper() + ("_REPLACE" if path in diff.replace else "")
        detail[path] = pb.PropertyDiff(kind=pb.PropertyDiff.Kind.Value(name), inputDiff=True)
    return pb.DiffResponse(
        changes=pb.DiffResponse.DIFF_SOME if detail else pb.DiffResponse.DIFF_NONE,
        diffs=sorted({re.split(r"[.\[]", path)[0] or path for path in diff.changed}),
        detailedDiff=detail,
        hasDetailedDiff=True,
        replaces=diff.replace,
        deleteBeforeReplace=diff.delete_first,
    )


async def serve(make_provider: Callable[[str], Provider], engine_address: str) -> None:
    """Run a provider as the engine's child, until the engine says so or is gone.

    The engine reads the port from the first line of stdout and ends its plugins with SIGINT.
    """
    provider = make_provider(engine_address)
    servicer = Servicer(provider)
    server = grpc.aio.server(options=NO_LIMIT)
    pb_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(port, flush=True)
    parent = os.getppid()
    while os.getppid() == parent:  # do not outlive an engine that was killed
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1)
            break
    servicer.cancel()
    if servicer.running:
        await asyncio.wait(set(servicer.running), timeout=CLEAN_UP_SECONDS)
    await provider.close()
    await server.stop(grace=0)
