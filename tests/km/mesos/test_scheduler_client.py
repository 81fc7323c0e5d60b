"""The v1 scheduler client against a master that is a function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from km.mesos import scheduler_client
from km.mesos.errors import (
    CallRefusedError,
    MalformedStreamError,
    NotLeadingError,
    StreamBrokenError,
    UnavailableError,
)
from km.mesos.http import Credentials
from km.mesos.recordio import encode
from km.mesos.scheduler_client import SchedulerClient

Handler = Callable[[httpx.Request], httpx.Response]

SUBSCRIBED = {
    "type": "SUBSCRIBED",
    "subscribed": {"framework_id": {"value": "F1"}, "heartbeat_interval_seconds": 15.0},
}
OFFERS = {"type": "OFFERS", "offers": {"offers": []}}
HEARTBEAT = {"type": "HEARTBEAT"}


def frame(*events: dict[str, Any]) -> bytes:
    return b"".join(encode(json.dumps(event).encode()) for event in events)


class Body(httpx.AsyncByteStream):
    """Chunks, and then an end, an error or silence."""

    def __init__(self, *chunks: bytes, then: Exception | float | None = None) -> None:
        self.chunks, self.then, self.closed = chunks, then, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk
        if isinstance(self.then, Exception):
            raise self.then
        if self.then is not None:
            await asyncio.sleep(self.then)

    async def aclose(self) -> None:
        self.closed = True


def stream(*chunks: bytes, then: Exception | float | None = None) -> httpx.Response:
    headers = {"Mesos-Stream-Id": "S1", "Content-Type": "application/json"}
    return httpx.Response(200, headers=headers, stream=Body(*chunks, then=then))


def client(handler: Handler, **kwargs: Any) -> SchedulerClient:
    return SchedulerClient(transport=httpx.MockTransport(handler), **kwargs)


async def events_of(handler: Handler) -> tuple[list[str], Exception]:
    """What came before the stream broke, and how it broke."""
    seen = []
    async with await client(handler).subscribe("m:5050", {"name": "x"}) as subscription:
        try:
            async for event in subscription.events():
                seen.append(event["type"])  # noqa: PERF401 - what came before the error counts
        except StreamBrokenError as error:
            return seen, error
    raise AssertionError("the stream ended without a word")


async def test_events_come_in_order_and_heartbeats_are_swallowed() -> None:
    data = frame(SUBSCRIBED, HEARTBEAT, OFFERS, HEARTBEAT, OFFERS)
    pieces = [data[i : i + 7] for i in range(0, len(data), 7)]

    seen, error = await events_of(lambda _: stream(*pieces))

    assert seen == ["SUBSCRIBED", "OFFERS", "OFFERS"]
    assert "m:5050 closed the stream" in str(error)


async def test_subscribe_follows_redirects_to_the_leader() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.netloc.decode())
        if request.url.host != "c":
            follow = {"a": "b", "b": "c"}[request.url.host]
            return httpx.Response(307, headers={"Location": f"//{follow}:5050/api/v1/scheduler"})
        return stream(frame(SUBSCRIBED))

    subscription = await client(handler).subscribe("a:5050", {"name": "x"})

    assert asked == ["a:5050", "b:5050", "c:5050"]
    assert subscription.master == "c:5050"


@pytest.mark.parametrize(
    ("location", "words"),
    [("//a:5050/api/v1/scheduler", "does not lead"), ("", "does not lead")],
    ids=["to itself", "to nowhere"],
)
async def test_a_redirect_that_leads_nowhere_means_nobody_leads(location: str, words: str) -> None:
    headers = {"Location": location} if location else {}
    with pytest.raises(NotLeadingError, match=words):
        await client(lambda _: httpx.Response(307, headers=headers)).subscribe("a:5050", {})


async def test_masters_that_redirect_in_a_circle_are_given_up() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        other = "b" if request.url.host == "a" else "a"
        return httpx.Response(307, headers={"Location": f"//{other}:5050/x"})

    with pytest.raises(UnavailableError, match="more than 5 redirects"):
        await client(handler).subscribe("a:5050", {})


async def test_an_electing_master_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="m:1 is not ready for SUBSCRIBE: 503 recovering"):
        await client(lambda _: httpx.Response(503, text="recovering\n")).subscribe("m:1", {})


async def test_a_refused_connection_is_unavailable() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(UnavailableError, match="cannot reach Mesos at m:1: connection refused"):
        await client(handler).subscribe("m:1", {})


async def test_a_wrong_secret_is_refused_and_not_tried_again() -> None:
    with pytest.raises(
        CallRefusedError, match="Mesos refused SUBSCRIBE: 401 who are you"
    ) as caught:
        await client(lambda _: httpx.Response(401, text="who are you")).subscribe("m:1", {})
    assert caught.value.status == 401


async def test_credentials_go_with_every_call() -> None:
    seen = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        body = json.loads(request.content)
        return stream(frame(SUBSCRIBED)) if body["type"] == "SUBSCRIBE" else httpx.Response(202)

    mesos = client(handler, credentials=Credentials(principal="km", secret="s"))
    subscription = await mesos.subscribe("m:1", {})
    await subscription.call("REVIVE")

    assert seen == ["Basic a206cw=="] * 2


async def test_calls_carry_the_stream_and_the_framework() -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if body["type"] == "SUBSCRIBE":
            return stream(frame(SUBSCRIBED), then=60.0)
        calls.append((request.headers["Mesos-Stream-Id"], body))
        return httpx.Response(202)

    subscription = await client(handler).subscribe("m:1", {"id": {"value": "F1"}})
    async with subscription:
        async for _ in subscription.events():
            break
        await subscription.call("DECLINE", decline={"offer_ids": []})

    body = {"type": "DECLINE", "framework_id": {"value": "F1"}, "decline": {"offer_ids": []}}
    assert calls == [("S1", body)]


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (httpx.Response(400, text="bad"), CallRefusedError, "Mesos refused KILL: 400 bad"),
        (httpx.Response(403, text="not subscribed"), CallRefusedError, "403 not subscribed"),
        (httpx.Response(503), UnavailableError, "not ready for KILL: 503 Service Unavailable"),
        (httpx.Response(307, headers={"Location": "//n:1/"}), NotLeadingError, "does not lead"),
        (httpx.ReadTimeout("too slow"), UnavailableError, "KILL to m:1: too slow"),
    ],
    ids=["400", "403", "503", "307", "timeout"],
)
async def test_a_call_that_fails_says_how(answer: Any, kind: type[Exception], words: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content)["type"] == "SUBSCRIBE":
            return stream(frame(SUBSCRIBED))
        if isinstance(answer, Exception):
            raise answer
        return answer

    subscription = await client(handler).subscribe("m:1", {})
    with pytest.raises(kind, match=words):
        await subscription.call("KILL", kill={})


@pytest.mark.parametrize(
    ("chunks", "then", "words"),
    [
        pytest.param([b"5\nabc"], None, "inside a record: 3 of 5 bytes", id="truncated"),
        pytest.param([b"garbage\n"], None, "expected a record's length", id="not RecordIO"),
        pytest.param([b"3\nabc"], None, "not JSON: b'abc'", id="not JSON"),
        pytest.param([b"2\n[]"], None, "without a type", id="not an event"),
        pytest.param([b"2\n{}"], None, "without a type", id="no type"),
    ],
)
async def test_a_malformed_stream_is_named(chunks: list[bytes], then: Any, words: str) -> None:
    _, error = await events_of(lambda _: stream(*chunks, then=then))

    assert isinstance(error, MalformedStreamError)
    assert words in str(error)


async def test_a_cut_connection_breaks_the_stream() -> None:
    cut = httpx.ReadError("connection reset")

    seen, error = await events_of(lambda _: stream(frame(SUBSCRIBED), then=cut))

    assert seen == ["SUBSCRIBED"]
    assert str(error) == "stream from m:5050: connection reset"


async def test_five_missed_heartbeats_mean_a_dead_master() -> None:
    quick = {
        **SUBSCRIBED,
        "subscribed": {**SUBSCRIBED["subscribed"], "heartbeat_interval_seconds": 0.02},
    }
    started = asyncio.get_running_loop().time()

    _, error = await events_of(lambda _: stream(frame(quick), then=60.0))

    assert str(error) == "m:5050 has been silent for 0.1 s"
    assert 0.09 < asyncio.get_running_loop().time() - started < 5


async def test_a_master_that_never_says_subscribed_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduler_client, "FIRST_EVENT_TIMEOUT", 0.05)

    _, error = await events_of(lambda _: stream(then=60.0))

    assert str(error) == "m:5050 has been silent for 0.05 s"


async def test_an_answer_without_a_stream_id_is_no_master() -> None:
    with pytest.raises(MalformedStreamError, match="without a Mesos-Stream-Id"):
        await client(lambda _: httpx.Response(200)).subscribe("m:1", {})
