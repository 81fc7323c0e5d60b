"""The v1 scheduler API: one stream of events from the leading master, calls back to it.

Does not choose the master (see `leader`), does not subscribe again by itself and does not
interpret events: it delivers them as the JSON that Mesos sent.
The rules: https://mesos.apache.org/documentation/latest/scheduler-http-api/
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any

import httpx

from km.futures import within
from km.mesos.errors import (
    MalformedStreamError,
    NotLeadingError,
    StreamBrokenError,
    UnavailableError,
    reading,
)
from km.mesos.http import JSON, Credentials, error_of
from km.mesos.recordio import Decoder

PATH = "/api/v1/scheduler"

MISSED_HEARTBEATS = 5
"""So many intervals of silence, and the master is taken for dead (Mesos' own advice)."""

FIRST_EVENT_TIMEOUT = 30.0
"""Seconds to wait for SUBSCRIBED, which tells the interval of the heartbeats."""

LONGEST_HEARTBEAT = 3600.0
"""Seconds; a master that announces longer ones (or none at all) is not understood."""

MAX_REDIRECTS = 5


class SchedulerClient:
    """One framework's line to Mesos. `transport` replaces the network in tests."""

    def __init__(
        self,
        *,
        credentials: Credentials | None = None,
        timeout: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout = timeout
        self._http = httpx.AsyncClient(
            auth=credentials.auth if credentials else None,
            headers=JSON,
            timeout=timeout,
            transport=transport,
            trust_env=False,  # a proxy of the operator's shell is not the way to the masters
        )

    async def subscribe(self, master: str, framework_info: Mapping[str, Any]) -> Subscription:
        """Open the event stream at `master` (`host:port`), following 307s to the leader.

        Raises:
            UnavailableError: nobody answers there, or nobody leads at the moment.
            CallRefusedError: the master does not want this framework.
        """
        body: dict[str, Any] = {
            "type": "SUBSCRIBE",
            "subscribe": {"framework_info": framework_info},
        }
        if "id" in framework_info:
            body["framework_id"] = framework_info["id"]
        for _ in range(MAX_REDIRECTS + 1):
            try:
                return await self._open(master, body)
            except NotLeadingError as error:
                if error.leader is None or error.leader == master:
                    raise
                master = error.leader
        raise UnavailableError(f"more than {MAX_REDIRECTS} redirects, the last one to {master}")

    async def _open(self, master: str, body: Mapping[str, Any]) -> Subscription:
        # Silence on the stream is judged by heartbeats, not by the timeout of a call.
        patience = httpx.Timeout(self._timeout, read=None)
        url = f"http://{master}{PATH}"
        request = self._http.build_request("POST", url, json=body, timeout=patience)
        try:
            sent = self._http.send(request, stream=True)
            response = await within(self._timeout, sent)
        except asyncio.TimeoutError as error:
            raise UnavailableError(f"{master} does not answer SUBSCRIBE") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnavailableError(f"cannot reach Mesos at {master}: {reason(error)}") from error
        if response.status_code != httpx.codes.OK:
            try:
                await response.aread()
            except httpx.TransportError as error:
                raise UnavailableError(
                    f"cannot reach Mesos at {master}: {reason(error)}"
                ) from error
            finally:
                await response.aclose()
            raise error_of("SUBSCRIBE", master, response)
        stream_id = response.headers.get("Mesos-Stream-Id")
        if not stream_id:
            await response.aclose()
            raise MalformedStreamError(f"{master} answered SUBSCRIBE without a Mesos-Stream-Id")
        return Subscription(self._http, response, master=master, stream_id=stream_id)

    async def close(self) -> None:
        await self._http.aclose()


class Subscription:
    """A stream that is open. Iterate `events`; `call` talks back. Close it by `async with`."""

    def __init__(
        self, http: httpx.AsyncClient, response: httpx.Response, *, master: str, stream_id: str
    ) -> None:
        self._http = http
        self._response = response
        self.master = master
        self.stream_id = stream_id
        self.framework_id: str | None = None  # known with SUBSCRIBED

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the master's events, SUBSCRIBED first; heartbeats are swallowed.

        Never ends by itself: raises StreamBrokenError when the stream does, or when five
        heartbeats in a row are missing.
        """
        decoder = Decoder()
        silence = FIRST_EVENT_TIMEOUT
        chunks = self._response.aiter_raw().__aiter__()
        while True:
            chunk = await self._next_chunk(chunks, silence)
            if chunk is None:
                decoder.close()
                raise StreamBrokenError(f"{self.master} closed the stream")
            for record in decoder.feed(chunk):
                event = parse(record)
                if event["type"] == "SUBSCRIBED":
                    silence = MISSED_HEARTBEATS * self._subscribed(event)
                if event["type"] != "HEARTBEAT":
                    yield event

    def _subscribed(self, event: Mapping[str, Any]) -> float:
        """Take the framework ID in; give the seconds between heartbeats."""
        with reading("a SUBSCRIBED event"):
            subscribed = event["subscribed"]
            self.framework_id = str(subscribed["framework_id"]["value"])
            interval = float(subscribed.get("heartbeat_interval_seconds", 15.0))
            if not 0 < interval <= LONGEST_HEARTBEAT:
                raise ValueError(f"heartbeats every {interval:g} s")
            return interval

    async def _next_chunk(self, chunks: AsyncIterator[bytes], silence: float) -> bytes | None:
        try:
            return await within(silence, anext(chunks))
        except StopAsyncIteration:
            return None
        except asyncio.TimeoutError as error:
            raise StreamBrokenError(f"{self.master} has been silent for {silence:g} s") from error
        except httpx.TransportError as error:
            raise StreamBrokenError(f"stream from {self.master}: {reason(error)}") from error

    async def call(self, kind: str, /, **fields: Any) -> None:
        """Send one call, for example `call("DECLINE", decline={…})`.

        Raises:
            UnavailableError: it did not get through (or nobody knows whether it did).
            CallRefusedError: Mesos refuses it.
        """
        body = {"type": kind, "framework_id": {"value": self.framework_id}, **fields}
        try:
            response = await self._http.post(
                f"http://{self.master}{PATH}",
                content=json.dumps(body, separators=(",", ":")),
                headers={"Mesos-Stream-Id": self.stream_id},
            )
        except httpx.TransportError as error:
            raise UnavailableError(f"{kind} to {self.master}: {reason(error)}") from error
        if response.status_code != httpx.codes.ACCEPTED:
            raise error_of(kind, self.master, response)

    async def __aenter__(self) -> Subscription:  # noqa: PYI034 - Self is not in 3.10's typing
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._response.aclose()


def parse(record: bytes) -> dict[str, Any]:
    """Read one event. Raises MalformedStreamError when it is not a JSON object with a type."""
    try:
        event = json.loads(record)
    except (ValueError, RecursionError) as error:
        raise MalformedStreamError(f"an event that is not JSON: {record[:80]!r}") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise MalformedStreamError(f"an event without a type: {record[:80]!r}")
    return event


def reason(error: Exception) -> str:
    """Words for a transport error; many of httpx's have none of their own."""
    return str(error) or type(error).__name__
