"""The three calls of the container runtime interface that leaving needs.

gRPC over HTTP/2 on a unix socket, no more of either than a call with a short question takes:
https://httpwg.org/specs/rfc9113.html, https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md,
https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator

from km.futures import within

SERVICE = "runtime.v1.RuntimeService"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
WINDOW = 2**24
"""Bytes that the runtime may send without being asked: a list of all sandboxes fits."""
CALL_TIMEOUT = 20.0


class RuntimeCallError(Exception):
    """The runtime did not do what it was asked."""


class Runtime:
    """containerd, or another runtime, at ``unix:///path``."""

    def __init__(self, endpoint: str) -> None:
        self._path = endpoint.removeprefix("unix://")

    async def sandboxes(self) -> list[str]:
        """Ids of all pod sandboxes, running or not."""
        answer = await self._call("ListPodSandbox", b"")
        return [sandbox_id(item) for item in fields(answer, 1)]

    async def stop(self, sandbox: str) -> None:
        """Kill the containers of a sandbox and take its network away. Safe to repeat."""
        await self._call("StopPodSandbox", string_field(1, sandbox))

    async def remove(self, sandbox: str) -> None:
        """Forget a stopped sandbox with its containers. Safe to repeat."""
        await self._call("RemovePodSandbox", string_field(1, sandbox))

    async def _call(self, method: str, message: bytes) -> bytes:
        """One unary call on a connection of its own.

        Raises:
            RuntimeCallError: refused, unreachable or too slow.
        """
        try:
            return await within(CALL_TIMEOUT, self._exchange(method, message))
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            raise RuntimeCallError(f"{method} at {self._path}: {error!r}") from error

    async def _exchange(self, method: str, message: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path)
        try:
            writer.write(request(method, message))
            body = bytearray()
            while True:
                kind, flags, payload = await _read_frame(reader)
                if kind == SETTINGS and not flags & ACK:
                    writer.write(frame(SETTINGS, ACK, 0, b""))
                elif kind == PING and not flags & ACK:
                    writer.write(frame(PING, ACK, 0, payload))
                elif kind == DATA:
                    body += payload
                if kind in (RST_STREAM, GOAWAY) or (kind in (DATA, HEADERS) and flags & END_STREAM):
                    break
        finally:
            writer.close()
        # A unary call that failed has trailers but no message; an empty answer has one of 0 bytes.
        if len(body) < 5:
            raise RuntimeCallError(f"{method} was refused; the runtime's log says why")
        (size,) = struct.unpack(">I", body[1:5])
        return bytes(body[5 : 5 + size])


def request(method: str, message: bytes) -> bytes:
    """Everything a client sends for one call, preface included."""
    settings = struct.pack(">HIHI", 2, 0, 4, WINDOW)  # no push, initial window
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(SETTINGS, 0, 0, settings)
        + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW))
        + frame(HEADERS, END_HEADERS, 1, headers(method))
        + frame(DATA, END_STREAM, 1, struct.pack(">BI", 0, len(message)) + message)
    )


def headers(method: str) -> bytes:
    """A header block without compression: every name and value is a literal (HPACK 6.2.2)."""
    pairs = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/{SERVICE}/{method}"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    return b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in pairs
    )


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


async def _read_frame(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    head = await reader.readexactly(9)
    (size,) = struct.unpack(">I", b"\x00" + head[:3])
    return head[3], head[4], await reader.readexactly(size)


def sandbox_id(message: bytes) -> str:
    """The id of a PodSandbox message, its field 1."""
    return next(iter(fields(message, 1)), b"").decode()


def string_field(number: int, text: str) -> bytes:
    """A protobuf string shorter than 128 bytes, as ids are."""
    return bytes([number << 3 | 2, len(text)]) + text.encode()


def fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """The length-delimited fields of a protobuf message with one number."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        if key & 7 == 0:
            _, position = _varint(message, position)
        elif key & 7 == 2:
            size, position = _varint(message, position)
            if key >> 3 == wanted:
                yield message[position : position + size]
            position += size
        elif key & 7 in (1, 5):
            position += 8 if key & 7 == 1 else 4
        else:
            raise RuntimeCallError(f"protobuf wire type {key & 7} in the runtime's answer")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
