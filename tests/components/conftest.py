"""Every test of a component gets its own event loop, its own mocks and its own recording."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest
from pulumi.runtime import resource, rpc
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs, Mocks
from pulumi.runtime.proto import callback_pb2

PAIR = {"certificate": "CERT", "key": "KEY"}


CLOUD = {
    "aws:ec2/instance:Instance": {"privateIp": "10.80.0.9", "publicIp": "198.51.100.9"},
    "aws:lb/loadBalancer:LoadBalancer": {"dnsName": "api.example"},
}
"""What AWS adds to what it is asked for."""


@dataclass(frozen=True)
class Made:
    """One resource, as the engine was asked for it."""

    name: str
    type: str
    parent: str
    inputs: Mapping[str, Any]
    depends_on: tuple[str, ...]
    deleted_with: str
    ignores: tuple[str, ...]
    protected: bool
    transforms: int


class Machines(Mocks):
    """Answers as the lab and the key maker would."""

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        known = {**args.inputs, "stdout": stdout_of(args), **CLOUD.get(args.typ, {})}
        return f"{args.name}-id", known

    def call(self, args: MockCallArgs) -> dict[Any, Any]:
        raise AssertionError(f"unexpected provider call: {args.token}")


def stdout_of(args: MockResourceArgs) -> str:
    command = str(args.inputs.get("create", ""))
    spec = json.loads(args.inputs["stdin"]) if "-m" in command else {}
    if "lab network" in command:
        return json.dumps({"network": spec["network"] or "10.90.7.0/24"})
    if "lab host" in command:
        return json.dumps({"name": spec["name"], "address": f"10.90.7.{spec['index']}"})
    if "keys authorities" in command:
        names = ("kubernetes", "etcd", "front-proxy")
        authorities = {n: {"certificate": f"{n} CERT", "key": f"{n} KEY"} for n in names}
        return json.dumps({**authorities, "service-account": {"key": "SA KEY", "public": "SA"}})
    if "keys certificates" in command:
        made = {
            name: {"certificate": f"{name} CERT", "key": f"{name} KEY"} for name in spec["requests"]
        }
        return json.dumps(made)
    if "keys ssh" in command:
        comment = spec["comment"]
        return json.dumps({"private": f"{comment} PRIVATE", "public": f"ssh-ed25519 {comment}"})
    return f"output of {args.name}"


class Recorder(MockMonitor):
    """Remembers what the engine would have been told."""

    def __init__(self, machines: Mocks | None = None) -> None:
        super().__init__(machines or Machines())
        self.made: list[Made] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        if request.type != "pulumi:pulumi:Stack":
            self.made.append(
                Made(
                    name=request.name,
                    type=request.type,
                    parent=last(request.parent),
                    inputs=plain(rpc.deserialize_properties(request.object)),
                    depends_on=tuple(sorted(last(urn) for urn in request.dependencies)),
                    deleted_with=last(request.deletedWith),
                    ignores=tuple(request.ignoreChanges),
                    protected=request.protect,
                    transforms=len(request.transforms),
                )
            )
        return super().RegisterResource(request)

    def __getitem__(self, name: str) -> Made:
        (found,) = [made for made in self.made if made.name == name]
        return found

    def tree(self) -> list[tuple[str, str, str]]:
        """Name, type and parent of everything, sorted."""
        return sorted((made.name, made.type, made.parent) for made in self.made)

    def children(self, parent: str) -> list[tuple[str, str]]:
        """Name and type of a component's children, sorted."""
        return sorted((made.name, made.type) for made in self.made if made.parent == parent)


@pytest.fixture(autouse=True, scope="session")
def closed_loops() -> Iterator[None]:
    """Pulumi's mocks make a loop for each worker thread and leave it open; here none stays."""
    with pytest.MonkeyPatch.context() as patch:
        for method in ("RegisterResource", "Invoke"):
            original = getattr(MockMonitor, method)

            def closing(self: MockMonitor, request: Any, original: Any = original) -> Any:
                with own_loop():
                    return original(self, request)

            patch.setattr(MockMonitor, method, closing)
        yield


class Callbacks:
    """Takes transforms, as an engine would; mocks have none that calls back."""

    def register_transform(self, transform: Any) -> callback_pb2.Callback:
        return callback_pb2.Callback(token=transform.__qualname__)


@pytest.fixture(autouse=True, scope="session")
def callbacks() -> Iterator[None]:
    async def taken() -> Callbacks:
        return Callbacks()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resource, "_get_callbacks", taken)
        yield


@contextlib.contextmanager
def own_loop() -> Iterator[None]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        loop.close()
        asyncio.set_event_loop(None)


def plain(value: Any) -> Any:
    """The value without the marks of secrets."""
    value = rpc.unwrap_rpc_secret(value)
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def last(urn: str) -> str:
    return urn.rsplit("::", 1)[-1]


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with own_loop():
        recorder = Recorder()
        pulumi.runtime.set_mocks(
            recorder.mocks, project="kubernetes-mesos", stack="test", monitor=recorder
        )
        yield recorder


@pytest.fixture
def run(recorder: Recorder) -> Callable[[Callable[[], Any]], Any]:
    """Run a piece of program to its end; the values of the outputs that it returns."""

    def run_program(program: Callable[[], Any]) -> Any:
        result: dict[str, Any] = {}

        @pulumi.runtime.test
        def body() -> pulumi.Output[Any]:
            returned = pulumi.Output.from_input(program())
            return returned.apply(lambda value: result.update(value=value))

        body()
        return result.get("value")

    return run_program
