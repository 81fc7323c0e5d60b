"""Status updates that the agent has not acknowledged yet. Pure but for uuids."""

from __future__ import annotations

import base64
import uuid
from collections import deque
from typing import Any

TERMINAL = frozenset({"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR"})


class Updates:
    """Everything a new subscription has to repeat, and what still has to be sent.

    An agent that restarts asks for both: tasks it may not know to have started, and updates
    it may not have stored. An update counts as delivered once acknowledged by its uuid.
    """

    def __init__(self, *, framework_id: str, executor_id: str) -> None:
        self._ids = {
            "framework_id": {"value": framework_id},
            "executor_id": {"value": executor_id},
        }
        self._tasks: dict[str, dict[str, Any]] = {}
        self._updates: dict[str, dict[str, Any]] = {}
        self._unsent: deque[str] = deque()

    def launched(self, task: dict[str, Any]) -> None:
        """Remember a task until the agent acknowledges its first update."""
        self._tasks[task["task_id"]["value"]] = task

    def report(self, task_id: str, state: str, message: str, timestamp: float) -> None:
        """Queue one update."""
        ident = base64.b64encode(uuid.uuid4().bytes).decode()
        status: dict[str, Any] = {
            "task_id": {"value": task_id},
            "executor_id": self._ids["executor_id"],
            "state": state,
            "source": "SOURCE_EXECUTOR",
            "uuid": ident,
            "timestamp": timestamp,
        }
        if message:
            status["message"] = message
        self._updates[ident] = {"status": status}
        self._unsent.append(ident)

    def acknowledged(self, task_id: str, ident: str) -> None:
        self._updates.pop(ident, None)
        self._tasks.pop(task_id, None)

    @property
    def unacknowledged(self) -> int:
        return len(self._updates)

    def next_unsent(self) -> tuple[str, dict[str, Any]] | None:
        """The oldest update to send, as ``(uuid, call)``; None when all were sent."""
        while self._unsent and self._unsent[0] not in self._updates:
            self._unsent.popleft()
        if not self._unsent:
            return None
        ident = self._unsent[0]
        return ident, {"type": "UPDATE", **self._ids, "update": self._updates[ident]}

    def sent(self, ident: str) -> None:
        if self._unsent and self._unsent[0] == ident:
            self._unsent.popleft()

    def subscribe_call(self) -> dict[str, Any]:
        """The SUBSCRIBE call; it carries every unacknowledged update."""
        return {
            "type": "SUBSCRIBE",
            **self._ids,
            "subscribe": {
                "unacknowledged_tasks": list(self._tasks.values()),
                "unacknowledged_updates": list(self._updates.values()),
            },
        }

    def subscribed(self, call: dict[str, Any]) -> None:
        """The agent took a SUBSCRIBE call: what it carried need not be sent again."""
        repeated = call["subscribe"]["unacknowledged_updates"]
        carried = {update["status"]["uuid"] for update in repeated}
        self._unsent = deque(ident for ident in self._unsent if ident not in carried)
