"""The executor's client against servers that misbehave in every way seen in the field."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

import pytest

from km.minion.agent import Agent, AgentRefusedError
from km.minion.executor import FAILURES, Executor
from km.minion.recordio import MalformedStreamError
from km.minion.settings import Identity

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(*events: dict[str, Any]) -> bytes:
    records = b"".join(b"%d\n%s" % (len(text), text) for text in map(encoded, events))
    return b"%x\r\n%s\r\n" % (len(records), records)


def encoded(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


class Server:
    """Gives each connection, in turn, the next answer; keeps what was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []
        self.heads: list[str] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        self.heads.append(head)
        self.calls.append(json.loads(await reader.readexactly(size)))
        writer.write(self.answers.pop(0) if self.answers else b"HTTP/1.1 503 No\r\n\r\n")
        await writer.drain()
        writer.close()


def identity(server: Server, **more: Any) -> Identity:
    settings: dict[str, Any] = {
        "framework_id": "f",
        "executor_id": "e",
        "container_id": "c",
        "endpoint": server.endpoint,
        "sandbox": "/s",
        "token": None,
        "checkpoint": True,
        "recovery_timeout": 60.0,
        "grace_period": 5.0,
        **more,
    }
    return Identity(**settings)


async def events_of(answer: bytes) -> list[str]:
    async with Server(answer) as server:
        agent = Agent(endpoint=server.endpoint, token=None)
        return [event["type"] async for event in agent.subscribe({"type": "SUBSCRIBE"})]


async def test_events_come_out_of_chunks_of_any_size() -> None:
    stream = encoded({"type": "SUBSCRIBED"})
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in b"%d\n%s" % (len(stream), stream))

    assert await events_of(HEAD + body + b"0\r\n\r\n") == ["SUBSCRIBED"]
    both = chunk({"type": "A"}, {"type": "B"})
    assert await events_of(HEAD + both + b"0\r\n\r\n") == ["A", "B"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", asyncio.IncompleteReadError),
        (b"HTTP/1.1 200 OK\r\n", asyncio.IncompleteReadError),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", MalformedStreamError),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000, MalformedStreamError),
        (HEAD + b"zz\r\n", MalformedStreamError),
        (HEAD + b"5\r\n3\n{}", asyncio.IncompleteReadError),
        (HEAD + b"4\r\n2\n{}\r\n0\r\n\r\n", MalformedStreamError),
        (HEAD + b"4\r\n2\nno\r\n0\r\n\r\n", MalformedStreamError),
        (HEAD + b"4\r\nnope\r\n" + b"20\r\n" + b"x" * 32 + b"\r\n", MalformedStreamError),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno", AgentRefusedError),
        (b"HTTP/1.1 307 Moved\r\nLocation: /\r\n\r\n", AgentRefusedError),
    ],
)
async def test_a_broken_stream_is_a_known_failure(answer: bytes, error: type[Exception]) -> None:
    assert issubclass(error, FAILURES)
    with pytest.raises(error):
        await events_of(answer)


async def test_the_token_goes_along() -> None:
    async with Server(b"HTTP/1.1 202 Accepted\r\n\r\n") as server:
        await Agent(endpoint=server.endpoint, token="a.b.c").call({"type": "UPDATE"})

    assert "Authorization: Bearer a.b.c\r\n" in server.heads[0]


async def test_a_recovering_agent_is_asked_until_it_listens() -> None:
    subscribed = HEAD + chunk({"type": "SUBSCRIBED"}, {"type": "SHUTDOWN"})
    broken = HEAD + chunk({"type": "SUBSCRIBED"})
    async with Server(b"HTTP/1.1 503 Recovering\r\n\r\n", broken, b"", subscribed) as server:
        executor = Executor(identity(server), Agent(endpoint=server.endpoint, token=None))
        seen: list[str] = []
        reason = await executor.listen(lambda event: seen.append(event["type"]))

    assert reason == "the agent says SHUTDOWN"
    assert seen == ["SUBSCRIBED", "SUBSCRIBED"]
    assert [call["type"] for call in server.calls] == ["SUBSCRIBE"] * 4


async def test_a_new_subscription_repeats_what_was_not_acknowledged() -> None:
    launch = {"type": "LAUNCH", "launch": {"task": {"task_id": {"value": "t"}}}}
    first = HEAD + chunk({"type": "SUBSCRIBED"}, launch)
    second = HEAD + chunk({"type": "SUBSCRIBED"}, {"type": "SHUTDOWN"})
    async with Server(first, second) as server:
        executor = Executor(identity(server), Agent(endpoint=server.endpoint, token=None))

        def handle(event: dict[str, Any]) -> None:
            if event["type"] == "LAUNCH":
                executor.report("t", "TASK_RUNNING")

        await executor.listen(handle)

    repeated = server.calls[1]["subscribe"]
    assert repeated["unacknowledged_tasks"] == [{"task_id": {"value": "t"}}]
    assert repeated["unacknowledged_updates"][0]["status"]["state"] == "TASK_RUNNING"


async def test_task_groups_are_tasks() -> None:
    group = {"tasks": [{"task_id": {"value": "a"}}, {"task_id": {"value": "b"}}]}
    events = ({"type": "LAUNCH_GROUP", "launch_group": {"task_group": group}}, {"type": "SHUTDOWN"})
    async with Server(HEAD + chunk(*events)) as server:
        executor = Executor(identity(server), Agent(endpoint=server.endpoint, token=None))
        seen: list[str] = []
        await executor.listen(lambda e: seen.append(e["launch"]["task"]["task_id"]["value"]))

    assert seen == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "more", "reason"),
    [
        (
            b"HTTP/1.1 400 Bad\r\nContent-Length: 5\r\n\r\nnever",
            {},
            "not wanted any more: the agent answered 400: never",
        ),
        (
            HEAD + chunk({"type": "SUBSCRIBED"}),
            {"checkpoint": False},
            "and the framework does not checkpoint",
        ),
        (
            HEAD + chunk({"type": "SUBSCRIBED"}),
            {"recovery_timeout": 0.2},
            "no agent came back in 0 s",
        ),
        (
            HEAD + chunk({"type": "ERROR", "error": {"message": "bad call"}}),
            {},
            "the agent says: bad call",
        ),
    ],
)
async def test_why_an_executor_leaves(answer: bytes, more: dict[str, Any], reason: str) -> None:
    async with Server(answer) as server:
        executor = Executor(identity(server, **more), Agent(endpoint=server.endpoint, token=None))

        assert reason in await executor.listen(lambda event: None)


async def test_malformed_and_unknown_events_are_survived() -> None:
    events = (
        {"type": "SUBSCRIBED"},
        {"type": "LAUNCH"},
        {"type": "LAUNCH", "launch": {"task": {}}},
        {"type": "ACKNOWLEDGED", "acknowledged": {}},
        {"type": "HEARTBEAT"},
        {"type": "SOMETHING_NEW"},
        {"type": "SHUTDOWN"},
    )
    async with Server(HEAD + chunk(*events)) as server:
        executor = Executor(identity(server), Agent(endpoint=server.endpoint, token=None))
        seen: list[str] = []

        reason = await executor.listen(lambda event: seen.append(event["type"]))

    assert reason == "the agent says SHUTDOWN"
    assert seen == ["SUBSCRIBED", "SOMETHING_NEW"]


async def test_an_update_is_sent_until_it_is_taken() -> None:
    accepted, busy = b"HTTP/1.1 202 Accepted\r\n\r\n", b"HTTP/1.1 503 Busy\r\n\r\n"
    stream = HEAD + chunk({"type": "SUBSCRIBED"})
    async with Server(stream, busy, b"", accepted, accepted) as server:
        agent = Agent(endpoint=server.endpoint, token=None)
        executor = Executor(identity(server), agent)
        executor._connected.set()
        delivering = asyncio.create_task(executor.deliver())
        await executor._agent.subscribe({}).__anext__()
        executor.report("t", "TASK_STARTING")
        executor.report("t", "TASK_RUNNING")
        await executor.flush(5)
        delivering.cancel()

    sent = [call["update"]["status"]["state"] for call in server.calls[1:]]
    assert sent == ["TASK_STARTING", "TASK_STARTING", "TASK_STARTING", "TASK_RUNNING"]
