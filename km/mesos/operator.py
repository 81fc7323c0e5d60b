"""The v1 operator API of the leading master: what runs where, as the master sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import httpx

from km.mesos.errors import (
    MalformedStreamError,
    NotLeadingError,
    StreamBrokenError,
    UnavailableError,
    reading,
)
from km.mesos.http import JSON, Credentials, error_of
from km.mesos.items import Items, Path
from km.mesos.recordio import Decoder
from km.mesos.scheduler_client import MAX_REDIRECTS, MISSED_HEARTBEATS, parse, reason

PATH = "/api/v1"

FIELD = "get_state"

HEARTBEAT = 15.0
"""Seconds between heartbeats of the operator stream."""

Answer = TypeVar("Answer")


class OperatorClient:
    """Asks the leading master questions. `transport` replaces the network in tests."""

    def __init__(
        self,
        *,
        credentials: Credentials | None = None,
        timeout: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            auth=credentials.auth if credentials else None,
            headers=JSON,
            timeout=timeout,
            transport=transport,
            trust_env=False,
        )

    async def state(self, master: str, take: Callable[[Path, Any], None]) -> None:
        """GET_STATE: frameworks, executors, tasks and agents in one consistent answer.

        ``take`` is given each item with the path of its list, counted from ``get_state``. What was
        taken before an error is worth nothing. Raises what `ask` raises.
        """
        await self._led(master, lambda leader: self._read_state(leader, take))

    async def agents(self, master: str) -> list[dict[str, Any]]:
        """GET_AGENTS: totals, what is allocated and offered, attributes, drain state."""
        found: list[dict[str, Any]] = (await self.ask(master, "GET_AGENTS")).get("agents", [])
        return found

    async def events(self, master: str) -> AsyncIterator[dict[str, Any]]:
        """SUBSCRIBE: yield events of the whole cluster; heartbeats are swallowed.

        Never ends by itself: raises StreamBrokenError, UnavailableError or CallRefusedError.
        """
        request = self._http.build_request(
            "POST",
            f"http://{master}{PATH}",
            json={"type": "SUBSCRIBE"},
            timeout=httpx.Timeout(10.0, read=MISSED_HEARTBEATS * HEARTBEAT),
        )
        decoder = Decoder()
        try:
            response = await self._http.send(request, stream=True)
            try:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise error_of("SUBSCRIBE", master, response)
                async for chunk in response.aiter_raw():
                    for record in decoder.feed(chunk):
                        event = parse(record)
                        if event["type"] != "HEARTBEAT":
                            yield event
                decoder.close()
                raise StreamBrokenError(f"{master} closed the operator stream")
            finally:
                await response.aclose()
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnavailableError(f"operator stream of {master}: {reason(error)}") from error

    async def ask(self, master: str, kind: str, **fields: Any) -> dict[str, Any]:
        """Send one call, follow redirects, and return the part of the answer named after it.

        Raises:
            UnavailableError: nobody answers, or nobody leads at the moment.
            CallRefusedError: the master refuses, for example for lack of a permission.
        """
        return await self._led(master, lambda leader: self._ask(leader, kind, fields))

    async def _led(self, master: str, ask: Callable[[str], Awaitable[Answer]]) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            try:
                return await ask(master)
            except NotLeadingError as error:
                if error.leader is None or error.leader == master:
                    raise
                master = error.leader
        raise UnavailableError(f"more than {MAX_REDIRECTS} redirects, the last one to {master}")

    async def _read_state(self, master: str, take: Callable[[Path, Any], None]) -> None:
        kind, items = "GET_STATE", Items()
        try:
            async with self._http.stream(
                "POST", f"http://{master}{PATH}", json={"type": kind}
            ) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise error_of(kind, master, response)
                with reading("an answer to GET_STATE"):
                    async for chunk in response.aiter_bytes():
                        _hand_over(items.feed(chunk), take)
                    _hand_over(items.close(), take)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnavailableError(f"{kind} to {master}: {reason(error)}") from error
        if (FIELD,) not in items.walked:
            raise MalformedStreamError(f"{kind}: {master} answered something else")

    async def _ask(self, master: str, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        try:
            response = await self._http.post(
                f"http://{master}{PATH}", json={"type": kind, **fields}
            )
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UnavailableError(f"{kind} to {master}: {reason(error)}") from error
        if response.status_code not in (httpx.codes.OK, httpx.codes.ACCEPTED):
            raise error_of(kind, master, response)
        if not response.content:
            return {}
        try:
            answer = response.json()
        except (ValueError, RecursionError) as error:
            raise MalformedStreamError(f"{kind}: {master} answered what is not JSON") from error
        part = answer.get(kind.lower(), {}) if isinstance(answer, dict) else None
        if not isinstance(part, dict):
            raise MalformedStreamError(f"{kind}: {master} answered something else")
        return part

    async def close(self) -> None:
        await self._http.aclose()


def _hand_over(items: Iterable[tuple[Path, Any]], take: Callable[[Path, Any], None]) -> None:
    for path, item in items:
        if path[:1] == (FIELD,):
            take(path[1:], item)
