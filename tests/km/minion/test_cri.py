"""The runtime client against a real gRPC server, as containerd has one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from km.minion.cri import Runtime, RuntimeCallError, fields, string_field
from km.minion.sweep import is_shim, remove_sandboxes

MANY = 1000
"""Enough that the list exceeds HTTP/2's initial window of 64 KiB."""


class Sandboxes(grpc.GenericRpcHandler):
    """Keeps ids; messages are raw bytes, so that this test shares no code with the client."""

    def __init__(self) -> None:
        self.running = {f"{number:064x}" for number in range(MANY)}
        self.stopped: set[str] = set()
        self.stubborn: set[str] = set()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        prefix, _, method = details.method.rpartition("/")
        known = {
            "ListPodSandbox": self.list,
            "StopPodSandbox": self.stop,
            "RemovePodSandbox": self.remove,
        }
        if prefix != "/runtime.v1.RuntimeService" or method not in known:
            return None
        return grpc.unary_unary_rpc_method_handler(known[method])

    async def list(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        items = [
            # id, state as a varint, then metadata as an opaque submessage
            b"\x0a\x40" + sandbox.encode() + b"\x18\x01" + b"\x12\x03abc"
            for sandbox in sorted(self.running | self.stopped)
        ]
        return b"".join(b"\x0a" + bytes([len(item)]) + item for item in items)

    async def stop(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        sandbox = request[2:].decode()
        if sandbox in self.stubborn:
            await context.abort(grpc.StatusCode.INTERNAL, "failed to destroy network")
        self.running.discard(sandbox)
        self.stopped.add(sandbox)
        return b""

    async def remove(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.stopped.remove(request[2:].decode())
        return b""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Runtime, Sandboxes]]:
    server = grpc.aio.server()
    sandboxes = Sandboxes()
    server.add_generic_rpc_handlers((sandboxes,))
    server.add_insecure_port(f"unix://{tmp_path}/runtime.sock")
    await server.start()
    yield Runtime(f"unix://{tmp_path}/runtime.sock"), sandboxes
    await server.stop(None)


async def test_all_sandboxes_are_listed(served: tuple[Runtime, Sandboxes]) -> None:
    runtime, sandboxes = served

    assert await runtime.sandboxes() == sorted(sandboxes.running)


async def test_every_sandbox_is_stopped_and_then_removed(
    served: tuple[Runtime, Sandboxes],
) -> None:
    runtime, sandboxes = served
    sandboxes.running = {f"{number:064x}" for number in range(50)}

    assert await remove_sandboxes(runtime) == []
    assert (sandboxes.running, sandboxes.stopped) == (set(), set())


async def test_no_sandboxes_is_an_empty_list(served: tuple[Runtime, Sandboxes]) -> None:
    runtime, sandboxes = served
    sandboxes.running = set()

    assert await runtime.sandboxes() == []


async def test_what_the_runtime_refuses_is_named_and_the_others_go(
    served: tuple[Runtime, Sandboxes],
) -> None:
    runtime, sandboxes = served
    sandboxes.running = {"a" * 64, "b" * 64}
    sandboxes.stubborn = {"a" * 64}

    assert await remove_sandboxes(runtime) == [
        f"sandbox {'a' * 64}: StopPodSandbox was refused; the runtime's log says why"
    ]
    assert sandboxes.running == {"a" * 64}


async def test_a_sandbox_that_appears_late_goes_as_well(
    served: tuple[Runtime, Sandboxes], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, sandboxes = served
    sandboxes.running = {"a" * 64}
    late = {"b" * 64}
    remove = Runtime.remove

    async def removing(self: Runtime, sandbox: str) -> None:
        await remove(self, sandbox)
        sandboxes.running |= late
        late.clear()

    monkeypatch.setattr(Runtime, "remove", removing)

    assert await remove_sandboxes(runtime) == []
    assert sandboxes.running == set()


@pytest.mark.parametrize(
    ("command", "shim"),
    [
        ("/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id 1 -address /run/c.sock", True),
        ("/usr/bin/containerd-shim-runc-v2 -namespace moby -id 1 -address /run/c.sock", False),
        ("/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id 1 -address /run/d.sock", False),
        ("/usr/bin/containerd -namespace k8s.io -address /run/c.sock", False),
        ("", False),
    ],
)
def test_only_shims_of_kubernetes_in_this_runtime_are_ended(command: str, shim: bool) -> None:
    assert is_shim(command.encode().split() or [b""], "unix:///run/c.sock") is shim


async def test_an_absent_runtime_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeCallError, match=r"ListPodSandbox at .*/none.sock: FileNotFound"):
        await Runtime(f"unix://{tmp_path}/none.sock").sandboxes()


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=127), max_size=5))
def test_strings_are_found_again(texts: list[str]) -> None:
    message = b"".join(string_field(1, text) for text in texts) + b"\x10\x96\x01"

    assert [field.decode() for field in fields(message, 1)] == texts
