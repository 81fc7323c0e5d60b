"""Whatever comes from where a master should be: events, or one of km's own errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from km.mesos.agents import AgentWatch
from km.mesos.errors import MalformedStreamError, MesosError
from km.mesos.operator import OperatorClient
from km.mesos.recordio import encode
from km.mesos.scheduler_client import SchedulerClient
from km.mesos.translate import READERS, events_of
from km.mesos_state import StateReader

KEYS = [
    "type", "subscribed", "framework_id", "value", "heartbeat_interval_seconds", "offers", "id",
    "inverse_offers", "agent_id", "hostname", "resources", "name", "scalar", "ranges", "range",
    "begin", "end", "reservations", "role", "allocation_info", "attributes", "text", "domain",
    "fault_domain", "update", "status", "state", "uuid", "task_id", "failure", "executor_id",
    "rescind", "offer_id", "unavailability", "start", "nanoseconds", "get_agents", "agents",
    "agent_info", "get_tasks", "tasks", "get_executors", "executors", "executor_info", "error",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=15,
)
GOOD = [
    {
        "type": "SUBSCRIBED",
        "subscribed": {"framework_id": {"value": "F1"}, "heartbeat_interval_seconds": 15.0},
    },
    {"type": "HEARTBEAT"},
    {"type": "OFFERS", "offers": {"offers": []}},
    {"type": "RESCIND", "rescind": {"offer_id": {"value": "O1"}}},
]
STREAM = b"".join(encode(json.dumps(event).encode()) for event in GOOD)


class Chunks(httpx.AsyncByteStream):
    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk


def answering(*chunks: bytes) -> httpx.MockTransport:
    headers = {"Mesos-Stream-Id": "S1"}
    return httpx.MockTransport(
        lambda _: httpx.Response(200, headers=headers, stream=Chunks(*chunks))
    )


async def heard(*chunks: bytes) -> tuple[list[str], MesosError]:
    """The events of a scheduler's stream, and the error it ended with."""
    seen = []
    client = SchedulerClient(transport=answering(*chunks))
    async with await client.subscribe("m:5050", {}) as subscription:
        try:
            async for event in subscription.events():
                seen.append(event["type"])
                events_of(event)
        except MesosError as error:
            return seen, error
    raise AssertionError("a stream never ends without a word")


@settings(deadline=None)  # machines that run tests are busy
@given(st.lists(st.binary(max_size=60), max_size=5))
async def test_any_bytes_in_place_of_a_stream_end_in_one_known_error(chunks: list[bytes]) -> None:
    _, error = await heard(*chunks)
    assert str(error)


@settings(deadline=None)
@given(st.integers(0, len(STREAM)))
async def test_a_stream_that_is_cut_gives_what_was_whole_and_then_says_so(cut: int) -> None:
    seen, error = await heard(STREAM[:cut])

    assert seen == ["SUBSCRIBED", "OFFERS", "RESCIND"][: len(seen)]
    assert "m:5050" in str(error) or "the stream ended" in str(error)


@settings(deadline=None)
@given(st.integers(0, len(STREAM) - 1), st.integers(0, 255))
async def test_one_wrong_byte_is_an_error_or_another_value_and_nothing_else(
    place: int, byte: int
) -> None:
    wrong = STREAM[:place] + bytes([byte]) + STREAM[place + 1 :]
    _, error = await heard(wrong)
    assert str(error)


@settings(deadline=None)
@given(st.lists(JSON, max_size=4))
async def test_any_json_in_a_stream_is_read_or_refused(records: list[Any]) -> None:
    await heard(b"".join(encode(json.dumps(record).encode()) for record in records))


@settings(deadline=None)
@given(st.sampled_from(sorted(READERS)), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4))
def test_any_content_of_an_event_is_read_or_refused(kind: str, content: dict[str, Any]) -> None:
    message = {"type": kind, kind.lower(): content}
    try:
        events_of(message)
    except MalformedStreamError as error:
        assert kind in str(error)  # noqa: PT017 - or no error at all


@settings(deadline=None)
@given(JSON)
async def test_any_answer_to_get_state_is_read_or_refused(answer: Any) -> None:
    client = OperatorClient(transport=answering(json.dumps(answer).encode()))
    try:
        await client.state("m:5050", StateReader("F1").add)
    except MesosError as error:
        assert str(error)  # noqa: PT017 - or no error at all


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["get_agents", "get_tasks", "get_executors"]), JSON))
async def test_any_content_of_a_state_is_read_or_refused(content: dict[str, Any]) -> None:
    answer = json.dumps({"type": "GET_STATE", "get_state": content}).encode()
    try:
        await OperatorClient(transport=answering(answer)).state("m:5050", StateReader("F1").add)
    except MalformedStreamError as error:
        assert "GET_STATE" in str(error)  # noqa: PT017 - or no error at all


@settings(deadline=None)
@given(st.sampled_from(["AGENT_ADDED", "AGENT_REMOVED", "OTHER"]), JSON)
def test_any_news_of_an_agent_is_read_or_refused(kind: str, content: Any) -> None:
    watch = AgentWatch(OperatorClient(), lambda: None, ("*",), lambda _: None)
    try:
        watch.events_of({"type": kind, kind.lower(): content})
    except MalformedStreamError as error:
        assert kind in str(error)  # noqa: PT017 - or no error at all


@pytest.mark.parametrize("interval", [0, -1, "15", "soon", 1e9, None, float("nan")])
async def test_heartbeats_are_understood_or_refused(interval: Any) -> None:
    subscribed = {**GOOD[0]["subscribed"], "heartbeat_interval_seconds": interval}  # type: ignore[dict-item]
    event = {"type": "SUBSCRIBED", "subscribed": subscribed}
    _, error = await heard(encode(json.dumps(event).encode()))

    assert isinstance(error, MalformedStreamError) == (interval != "15")


async def test_a_record_nested_without_end_is_refused() -> None:
    _, error = await heard(encode(b"[" * 100_000))
    assert "not JSON" in str(error)


@settings(deadline=None)
@given(st.binary(max_size=80))
async def test_any_bytes_on_the_operators_stream_end_in_one_known_error(noise: bytes) -> None:
    client = OperatorClient(transport=answering(noise))
    with pytest.raises(MesosError):
        [event async for event in client.events("m:5050")]
