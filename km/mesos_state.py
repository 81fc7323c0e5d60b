"""GET_STATE's answer, taken in item by item: what runs where, and what others use.

An answer about a large cluster is far larger than what is kept of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from sys import intern
from typing import Any

from km.launches import LIMIT_LABEL
from km.offers import (
    TERMINAL,
    AgentRecord,
    ExecutorRecord,
    MesosState,
    TaskRecord,
    agent_record,
    id_of,
    resources_from_mesos,
    within_reach,
)
from km.pods import Limits
from km.resources import NOTHING, Resources, thousandths

Item = Mapping[str, Any]

INFINITE = 1e15
"""No limit is so large: some writers of JSON have no infinity, only the largest number."""


class StateReader:
    """Makes a `MesosState` of the items of an answer, which may come in any order.

    ``framework_id`` tells our tasks and executors from those of others; others are summed per
    agent and framework name. Completed tasks are left out.
    """

    def __init__(self, framework_id: str, roles: Iterable[str] = ("*",)) -> None:
        self._ours = framework_id
        self._roles = frozenset(roles)
        self._agents: list[AgentRecord] = []
        self._tasks: list[TaskRecord] = []
        self._executors: list[ExecutorRecord] = []
        self._recovering: set[str] = set()
        self._names: dict[str, str] = {}
        self._others: dict[str, dict[str, Resources]] = {}
        """Agent id, framework id, what it uses there."""
        self._readers: dict[tuple[str, ...], Callable[[Item], None]] = {
            ("get_agents", "agents"): self._agent,
            ("get_agents", "recovered_agents"): self._recovered,
            ("get_tasks", "pending_tasks"): self._task,
            ("get_tasks", "tasks"): self._task,
            ("get_tasks", "unreachable_tasks"): self._unreachable,
            ("get_executors", "executors"): self._executor,
            ("get_frameworks", "frameworks"): self._framework,
        }

    def add(self, path: tuple[str, ...], item: Any) -> None:
        """Take one item of the list at ``path``, which is counted from ``get_state``."""
        read = self._readers.get(path)
        if read is not None:
            read(item)

    def result(self) -> MesosState:
        """Everything that was added, once all of it was."""
        return MesosState(
            agents=tuple(
                replace(agent, others=self._used_by_others(agent.id)) for agent in self._agents
            ),
            tasks=tuple(self._tasks),
            executors=tuple(self._executors),
            recovering=frozenset(self._recovering),
        )

    def _used_by_others(self, agent_id: str) -> dict[str, Resources]:
        used: dict[str, Resources] = {}
        for framework_id, amount in self._others.get(agent_id, {}).items():
            name = self._names.get(framework_id) or framework_id
            used[name] = used.get(name, NOTHING) + amount
        return used

    def _agent(self, entry: Item) -> None:
        record = agent_record(entry, {}, self._roles)
        if record.id:
            self._agents.append(record)

    def _recovered(self, info: Item) -> None:
        self._recovering.add(id_of(info.get("id", {})))

    def _framework(self, entry: Item) -> None:
        info = entry.get("framework_info", {})
        self._names[id_of(info.get("id", {}))] = str(info.get("name", ""))

    def _task(self, task: Item) -> None:
        """Pending tasks have no state yet, and hold resources."""
        if str(task.get("state", "TASK_STAGING")) in TERMINAL:
            return
        framework_id = id_of(task.get("framework_id", {}))
        if framework_id == self._ours:
            self._tasks.append(_task_record(task))
        else:
            self._held_by_others(framework_id, task.get("agent_id", {}), task.get("resources", ()))

    def _unreachable(self, task: Item) -> None:
        if id_of(task.get("framework_id", {})) == self._ours:
            self._tasks.append(_task_record({**task, "state": "TASK_UNREACHABLE"}))

    def _executor(self, entry: Item) -> None:
        info = entry.get("executor_info", {})
        framework_id = id_of(info.get("framework_id", {}))
        if framework_id == self._ours:
            self._executors.append(_executor_record(entry))
        else:
            self._held_by_others(framework_id, entry.get("agent_id", {}), info.get("resources", ()))

    def _held_by_others(self, framework_id: str, agent: Any, listed: Iterable[Item]) -> None:
        used = self._others.setdefault(id_of(agent), {})
        amount = resources_from_mesos(within_reach(listed, self._roles))
        used[framework_id] = used.get(framework_id, NOTHING) + amount


def state_from_mesos(
    state: Mapping[str, Any], framework_id: str, roles: Iterable[str] = ("*",)
) -> MesosState:
    """The same from an answer that is there as a whole (its ``get_state`` field, v1 JSON)."""
    reader = StateReader(framework_id, roles)
    for part, lists in state.items():
        for name, items in lists.items():
            if isinstance(items, list):
                for item in items:
                    reader.add((part, name), item)
    return reader.result()


def _task_record(task: Item) -> TaskRecord:
    # Thousands of tasks share these words; the decoder makes each anew.
    return TaskRecord(
        task_id=id_of(task["task_id"]),
        agent_id=intern(id_of(task.get("agent_id", {}))),
        executor_id=intern(id_of(task.get("executor_id", {}))),
        state=intern(str(task.get("state", "TASK_STAGING"))),
        resources=resources_from_mesos(task.get("resources", ())),
        limits=_limits(task),
        name=str(task.get("name", "")),
    )


def _limits(task: Item) -> Limits | None:
    """A task's limits, or those in its labels where the agent takes none."""
    named = {kind: value.get("value") for kind, value in (task.get("limits") or {}).items()}
    if not named:
        labels = (task.get("labels") or {}).get("labels") or ()
        named = {
            label["key"].removeprefix(LIMIT_LABEL): label.get("value")
            for label in labels
            if str(label.get("key", "")).startswith(LIMIT_LABEL)
        }
    return _bound(named.get("cpus"), named.get("mem")) if named else None


@lru_cache(maxsize=4096)
def _bound(cpus: Any, mem: Any) -> Limits:
    return Limits(_limit(cpus), _limit(mem))


def _limit(value: Any) -> int | None:
    """Thousandths; None for no limit, which Mesos has as infinity."""
    amount = float("inf") if value is None else float(value)
    return thousandths(amount) if amount < INFINITE else None


def _executor_record(entry: Item) -> ExecutorRecord:
    info = entry["executor_info"]
    return ExecutorRecord(
        executor_id=id_of(info.get("executor_id", {})),
        agent_id=intern(id_of(entry.get("agent_id", {}))),
        info=info,
        resources=resources_from_mesos(info.get("resources", ())),
    )
