"""Watches a master while frameworks compete: has anybody more than there is?"""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.km.batch import ENDED, amount
from tests.mesos_cluster import ask

KINDS = ("cpus", "mem", "disk")


def excesses(state: dict[str, Any]) -> list[str]:
    """Agents of which tasks and executors, or the allocator, have more than there is."""
    listed = state["get_agents"].get("agents", [])
    used: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for task in state["get_tasks"].get("tasks", []):
        if task["state"] in ENDED:
            continue  # listed until its framework has acknowledged that; its resources are back
        used[task["agent_id"]["value"]] += task.get("resources", [])
    for executor in state["get_executors"].get("executors", []):
        used[executor["agent_id"]["value"]] += executor["executor_info"].get("resources", [])
    return [
        f"{agent['agent_info']['hostname']}: {what} {have:g} of {there:g} {kind}"
        for agent in listed
        for kind in KINDS
        for what, resources in (
            ("used", used[agent["agent_info"]["id"]["value"]]),
            ("allocated", agent.get("allocated_resources", [])),
        )
        if (have := amount(resources, kind)) > (there := amount(agent["total_resources"], kind))
    ]


def held(master: str, name: str, kind: str = "cpus") -> float:
    """What a framework has or is offered, of all agents together."""
    listed = ask(master, "GET_FRAMEWORKS")["get_frameworks"].get("frameworks", [])
    return sum(
        amount(one.get(part, []), kind)
        for one in listed
        if one["framework_info"]["name"] == name
        for part in ("allocated_resources", "offered_resources")
    )


class Overseer:
    """Looks a few times a second, in a thread of its own."""

    def __init__(self, master: str) -> None:
        self.master = master
        self.looks = 0
        self.found: list[str] = []
        self.together = 0
        """How many looks saw jobs and pods at the same time."""
        self._stopping = threading.Event()

    @contextlib.contextmanager
    def watching(self) -> Iterator[Overseer]:
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            thread.join(10)

    def _watch(self) -> None:
        while not self._stopping.wait(0.15):
            with contextlib.suppress(OSError):
                state = ask(self.master, "GET_STATE")["get_state"]
                self.looks += 1
                self.found += excesses(state)
                kinds = {
                    task["task_id"]["value"].partition("-")[0].partition(".")[0]
                    for task in state["get_tasks"].get("tasks", [])
                }
                self.together += {"job", "pod"} <= kinds
