"""The Mesos agent's v1 executor API over HTTP: one long answer, many short calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from km.futures import within
from km.minion.recordio import MalformedStreamError, RecordDecoder

CALL_TIMEOUT = 10.0
"""Seconds for a call; the agent is on the same host."""


class AgentRefusedError(Exception):
    """The agent answered a call with an error status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the agent answered {status}: {text or '(nothing)'}")
        self.status = status

    @property
    def final(self) -> bool:
        """Whether asking again cannot help. A recovering agent says 503, and 404 before that."""
        return self.status in (400, 401, 403)


class Agent:
    """Talks to the agent that started this executor. Keeps no state between calls."""

    def __init__(self, *, endpoint: str, token: str | None) -> None:
        host, _, port = endpoint.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._endpoint = endpoint
        self._token = token

    async def call(self, message: dict[str, Any]) -> None:
        """Post one call that has no answer but its acceptance.

        Raises:
            AgentRefusedError: the agent did not take it.
            OSError, EOFError, TimeoutError: it was not reached.
        """
        await within(CALL_TIMEOUT, self._call(message))

    async def _call(self, message: dict[str, Any]) -> None:
        reader, writer = await self._post(message)
        try:
            status, headers = await _read_head(reader)
            if status >= 300:
                raise AgentRefusedError(status, await _read_text(reader, headers))
        finally:
            writer.close()

    async def subscribe(self, message: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Post SUBSCRIBE and yield the agent's events until the connection ends.

        Raises:
            AgentRefusedError: the agent does not want us, or not yet.
            MalformedStreamError: the answer is no RecordIO stream of JSON objects.
            OSError, EOFError, TimeoutError: the connection failed or ended.
        """
        reader, writer = await within(CALL_TIMEOUT, self._post(message))
        try:
            status, headers = await within(CALL_TIMEOUT, _read_head(reader))
            if status != 200:
                raise AgentRefusedError(status, await _read_text(reader, headers))
            decoder = RecordDecoder()
            async for piece in _pieces(reader, headers):
                for record in decoder.feed(piece):
                    yield _event(record)
        finally:
            writer.close()

    async def _post(
        self, message: dict[str, Any]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        body = json.dumps(message).encode()
        head = [
            "POST /api/v1/executor HTTP/1.1",
            f"Host: {self._endpoint}",
            "Content-Type: application/json",
            "Accept: application/json",
            f"Content-Length: {len(body)}",
        ]
        if self._token:
            head.append(f"Authorization: Bearer {self._token}")
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await writer.drain()
        return reader, writer


def _event(record: bytes) -> dict[str, Any]:
    try:
        event = json.loads(record)
    except ValueError as error:
        raise MalformedStreamError(f"an event that is not JSON: {record[:80]!r}") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise MalformedStreamError(f"an event without a type: {record[:80]!r}")
    return event


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Read a status line and headers (names in lower case)."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
    except (asyncio.LimitOverrunError, ValueError, IndexError) as error:
        raise MalformedStreamError("the answer is not HTTP") from error
    pairs = (line.partition(":") for line in head[1:] if line)
    return status, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_text(reader: asyncio.StreamReader, headers: dict[str, str]) -> str:
    """Read a short body, for an error's message."""
    try:
        size = min(int(headers.get("content-length", "0")), 4096)
        return (await within(2, reader.readexactly(size))).decode(errors="replace")
    except (ValueError, EOFError, asyncio.TimeoutError):
        return ""


async def _pieces(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """Yield the body as it comes, out of its chunks where it has chunks."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        while piece := await reader.read(65536):
            yield piece
        return
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError as error:
            raise MalformedStreamError(f"{line[:40]!r} is no chunk size") from error
        if size == 0:
            return
        chunk = await reader.readexactly(size + 2)
        yield chunk[:-2]
