"""An executor that is a Kubernetes node: its tasks are one node and the pods on it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Any

from km.minion.cgroups import Tree
from km.minion.enforce import Enforcer
from km.minion.executor import Executor
from km.minion.guard import Guard
from km.minion.limits import held
from km.minion.node import Node
from km.minion.processes import Process
from km.minion.settings import Identity, Settings, missing_files
from km.minion.state import State, tree_notes
from km.minion.sweep import sweep
from km.minion.tasks import (
    NodeTask,
    PodTask,
    Share,
    TaskError,
    kill_grace,
    parse_task,
    resources,
)

log = logging.getLogger(__name__)

TICK = 1.0
POD_GRACE = 3.0
"""Seconds at most for pods to end by themselves; km drains a node before it ends one."""
FLUSH = 3.0


class Minion:
    """Everything that happens between the first event and the last process gone."""

    def __init__(
        self,
        settings: Settings,
        identity: Identity,
        *,
        tree: Tree,
        executor: Executor,
        state: State,
        guard: Guard,
        prefix: Sequence[str],
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._tree = tree
        self._executor = executor
        self._state = state
        self._guard = guard
        self._prefix = prefix
        self._enforcer = Enforcer(tree)
        self._share = Share()
        self._task: NodeTask | None = None
        self._node: Node | None = None
        self._pods: dict[str, PodTask] = {}
        self._settled = True
        self._draining = False
        self._notes: dict[str, Any] = {}
        self._child_ended = asyncio.Condition()
        self._asked_to_leave = asyncio.get_running_loop().create_future()

    def leave_soon(self, reason: str) -> None:
        """Ask ``run`` to end."""
        if not self._asked_to_leave.done():
            self._asked_to_leave.set_result(reason)

    async def child_ended(self) -> None:
        """A child process ended: tell those who wait for theirs."""
        async with self._child_ended:
            self._child_ended.notify_all()

    async def run(self) -> None:
        """Serve until told to leave, then leave nothing behind."""
        listening = asyncio.create_task(self._executor.listen(self.handle))
        others = [
            asyncio.create_task(self._executor.deliver()),
            asyncio.create_task(self._tick()),
        ]
        listening.add_done_callback(self._stopped_listening)
        for task in others:
            task.add_done_callback(self._stopped_listening)
        reason = await self._asked_to_leave
        log.info("leaving: %s", reason)
        await self._leave(reason)
        for task in (listening, *others):
            task.cancel()

    def _stopped_listening(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error:
            log.error("a bug in the minion", exc_info=error)
        self.leave_soon(f"a bug: {error!r}" if error else task.result())

    def handle(self, event: dict[str, Any]) -> None:
        """Act on one event of the agent."""
        kind = event["type"]
        if kind == "SUBSCRIBED":
            info = event["subscribed"]["executor_info"]
            self._share = resources(info.get("resources", ()))
            self._enforce()
        elif kind == "LAUNCH":
            self._launch(event["launch"]["task"])
        elif kind == "KILL":
            self._kill(event["kill"]["task_id"]["value"], kill_grace(event["kill"]))
        else:
            log.info("event %s ignored", kind)

    def _launch(self, info: dict[str, Any]) -> None:
        try:
            task = parse_task(info)
        except TaskError as error:
            self._executor.report(info["task_id"]["value"], "TASK_ERROR", str(error))
            return
        if isinstance(task, NodeTask):
            self._start_node(task)
            return
        self._pods[task.task_id] = task
        try:
            self._enforce()
        except OSError as error:
            del self._pods[task.task_id]
            self._executor.report(task.task_id, "TASK_FAILED", f"no room for the pod: {error}")
            return
        self._executor.report(task.task_id, "TASK_RUNNING")

    def _start_node(self, task: NodeTask) -> None:
        if self._task:
            message = f"node {self._task.node} runs here already, as task {self._task.task_id}"
            self._executor.report(task.task_id, "TASK_FAILED", message)
            return
        if problems := missing_files(self._settings):
            self._executor.report(task.task_id, "TASK_FAILED", "; ".join(problems))
            self.leave_soon("this host cannot run a node")
            return
        self._executor.report(task.task_id, "TASK_STARTING")
        self._task = task
        try:
            self._enforce()
            self._node = Node(
                self._settings,
                task,
                tree=self._tree,
                executor=self._share + task.share,
                sandbox=self._identity.sandbox,
                prefix=self._prefix,
            )
            self._node.start(self._child_ended)
        except OSError as error:
            self._task = None
            self._executor.report(task.task_id, "TASK_FAILED", str(error))
            self.leave_soon("the node could not be started")
            return
        self._write_notes()
        self._executor.report(task.task_id, "TASK_RUNNING")

    def _kill(self, task_id: str, grace: float | None) -> None:
        if self._task and task_id == self._task.task_id:
            if grace == 0:
                self.leave_soon("the node's task was killed")
            else:
                self._drain(grace)
        elif self._draining and grace != 0:
            log.info("task %s goes when its pod has been evicted", task_id)
        elif self._pods.pop(task_id, None):
            self._enforce()
            self._executor.report(task_id, "TASK_KILLED")
        else:
            log.info("no task %s to kill", task_id)

    def _drain(self, grace: float | None) -> None:
        """DRAIN_AGENT has Mesos kill every task at once, the node's first: let km evict the pods.

        km's own kills say that they grant no time; these grant what the operator said, or do not
        say.
        """
        if self._draining or not self._task:
            return
        self._draining = True
        self._executor.report(self._task.task_id, "TASK_KILLING", "Mesos drains this agent")
        if grace is not None:
            words = f"Mesos drains this agent, and the {grace:g} s it granted are over"
            asyncio.get_running_loop().call_later(grace, self.leave_soon, words)

    def _enforce(self) -> None:
        ceiling = None
        burst = self._settings.memory_without_limit == "node"
        if self._task and burst and not self._enforcer.mesos_limits_memory():
            ceiling = self._task.agent_memory - self._share.memory
        pods = held((pod.share for pod in self._pods.values()), ceiling=ceiling)
        node = self._share + (self._task.share if self._task else Share())
        self._settled = self._enforcer.apply(executor=node, pods=pods)

    async def _tick(self) -> str:
        while True:
            if not self._settled:
                self._enforce()
            self._write_notes()
            await asyncio.sleep(TICK)

    def _write_notes(self) -> None:
        """Note what is here, for people and for whoever cleans up after a crash."""
        notes = {
            "pid": os.getpid(),
            "executor": self._identity.executor_id,
            "container": self._identity.container_id,
            "connected": self._executor.connected,
            "unacknowledged": self._executor.updates.unacknowledged,
            "node": self._task.node if self._task else None,
            "pods": {pod.pod: task_id for task_id, pod in self._pods.items()},
            "pods_memory": self._enforcer.memory_held,
            "memory_settled": self._settled,
            "processes": [_process_notes(process) for process in self._processes()],
            "cgroups": tree_notes(self._tree),
        }
        if notes != self._notes:
            self._state.write(notes)
            self._notes = notes

    def _processes(self) -> list[Process]:
        return self._node.processes if self._node else []

    async def _leave(self, reason: str) -> None:
        """Stop everything within the agent's patience, then tell the agent."""
        if self._node:
            await self._node.stop()
        left = await sweep(
            self._settings,
            self._tree,
            grace=min(POD_GRACE, self._identity.grace_period * 0.3),
            prefix=self._prefix,
        )
        for problem in left:
            log.error("left behind: %s", problem)
        ended = [*self._pods, *([self._task.task_id] if self._task else [])]
        for task_id in ended:
            self._executor.report(task_id, "TASK_KILLED", reason)
        await self._executor.flush(FLUSH)
        if not left:
            self._state.clear()
            self._guard.dismiss()


def _process_notes(process: Process) -> dict[str, Any]:
    return {
        "name": process.name,
        "pid": process.pid,
        "restarts": process.restarts,
        "last_end": process.last_end,
    }
