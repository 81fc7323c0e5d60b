"""Pulumi's generated gRPC messages, without the rest of its SDK.

They come from the pulumi package on PyPI. Importing that package as a whole takes 0.15 s more and
nothing of it is used here, so a plugin's process calls `skip_the_sdk` first. grpcio has no type
stubs, hence the `Any`.
"""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.machinery
import sys
import types
from typing import Any

grpc: Any = importlib.import_module("grpc")

NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
"""Channel options: a state may be larger than gRPC's default of 4 MiB a message."""


def skip_the_sdk() -> None:
    """Make `pulumi` and `pulumi.runtime` empty packages that still lead to the messages.

    Only for a process that is a plugin: the SDK itself cannot be imported afterwards.
    """
    found = importlib.machinery.PathFinder.find_spec("pulumi")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("the pulumi package is not installed in this environment")
    root = found.submodule_search_locations[0]
    for name, path in (("pulumi", root), ("pulumi.runtime", f"{root}/runtime")):
        package = types.ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package


def skip_the_search() -> None:
    """Let nothing look for libraries of C: asyncssh would, by asking a compiler, for 0.1 s.

    They are for an exchange of keys and for checksums that no server insists on. Only for a process
    that is a plugin.
    """
    ctypes.util.find_library = lambda name: None  # noqa: ARG005


def messages(name: str) -> Any:
    """The generated module `name`, such as `provider_pb2`."""
    return importlib.import_module(f"pulumi.runtime.proto.{name}")


def well_known(name: str) -> Any:
    """A module of protobuf's own messages, such as `struct_pb2`."""
    return importlib.import_module(f"google.protobuf.{name}")
