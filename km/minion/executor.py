"""The executor's side of Mesos' v1 API: stays subscribed, delivers updates, says when to leave."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from km.minion.agent import Agent, AgentRefusedError
from km.minion.recordio import MalformedStreamError
from km.minion.settings import Identity
from km.minion.updates import Updates

log = logging.getLogger(__name__)

RETRY = (0.1, 0.4)
"""Seconds between tries. A restarted agent waits two seconds for its executors by default."""
FAILURES = (
    AgentRefusedError,
    MalformedStreamError,
    OSError,
    EOFError,
    asyncio.TimeoutError,
    asyncio.LimitOverrunError,
)


class Executor:
    """Protocol only: what a task is, its owner knows."""

    def __init__(self, identity: Identity, agent: Agent) -> None:
        self._identity = identity
        self._agent = agent
        self._connected = asyncio.Event()
        self._news = asyncio.Event()
        self.updates = Updates(framework_id=identity.framework_id, executor_id=identity.executor_id)

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    def report(self, task_id: str, state: str, message: str = "") -> None:
        """Send a status update, now or when the agent is there again."""
        log.info("%s %s %s", task_id, state, message)
        self.updates.report(task_id, state, message, time.time())
        self._news.set()

    async def listen(self, handle: Callable[[dict[str, Any]], None]) -> str:
        """Give every event to ``handle``; return, in words, why this executor has to leave."""
        lost_since = time.monotonic()
        ever = False
        while True:
            try:
                call = self.updates.subscribe_call()
                async for event in self._agent.subscribe(call):
                    if event["type"] == "SUBSCRIBED":
                        self.updates.subscribed(call)
                        self._connected.set()
                        ever = True
                    if reason := self._dispatch(event, handle):
                        return reason
                problem = "the agent ended the connection"
            except FAILURES as error:
                problem = f"{type(error).__name__}: {error}"
                if isinstance(error, AgentRefusedError) and error.final:
                    return f"not wanted any more: {error}"
            if self._connected.is_set():
                log.warning("disconnected: %s", problem)
                self._connected.clear()
                lost_since = time.monotonic()
                if not self._identity.checkpoint:
                    return f"{problem}, and the framework does not checkpoint"
            if time.monotonic() - lost_since > self._identity.recovery_timeout:
                verb = "came back" if ever else "answered"
                return f"no agent {verb} in {self._identity.recovery_timeout:.0f} s: {problem}"
            await asyncio.sleep(random.uniform(*RETRY))

    def _dispatch(
        self, event: dict[str, Any], handle: Callable[[dict[str, Any]], None]
    ) -> str | None:
        kind = event["type"]
        try:
            if kind == "SHUTDOWN":
                return "the agent says SHUTDOWN"
            if kind == "ERROR":
                return f"the agent says: {event['error']['message']}"
            if kind == "ACKNOWLEDGED":
                known = event["acknowledged"]
                self.updates.acknowledged(known["task_id"]["value"], known["uuid"])
                self._news.set()
            elif kind == "LAUNCH":
                self.updates.launched(event["launch"]["task"])
                handle(event)
            elif kind == "LAUNCH_GROUP":
                for task in event["launch_group"]["task_group"]["tasks"]:
                    self.updates.launched(task)
                    handle({"type": "LAUNCH", "launch": {"task": task}})
            elif kind != "HEARTBEAT":
                handle(event)
        except (KeyError, TypeError):
            log.exception("malformed %s event", kind)
        return None

    async def deliver(self) -> None:
        """Send updates in their order, each until the agent takes it; cancel to stop."""
        while True:
            await self._connected.wait()
            unsent = self.updates.next_unsent()
            if unsent is None:
                self._news.clear()
                await self._news.wait()
                continue
            try:
                await self._agent.call(unsent[1])
            except FAILURES as error:
                log.warning("an update was not delivered, trying again: %s", error)
                await asyncio.sleep(random.uniform(*RETRY))
            else:
                self.updates.sent(unsent[0])

    async def flush(self, seconds: float) -> None:
        """Wait until the agent took everything, or some seconds.

        Not until it acknowledged: an executor that it shuts down hears nothing any more.
        """
        end = time.monotonic() + seconds
        while self.updates.next_unsent() and self.connected and time.monotonic() < end:  # noqa: ASYNC110 - twice in a life
            await asyncio.sleep(0.01)
