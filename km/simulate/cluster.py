"""The API server and kube-scheduler, as far as km can tell.

kube-scheduler works like upstream's: one pod at a time; it looks at nodes in rotation until it has
found as many feasible ones as ``percentageOfNodesToScore`` asks for; then asks the extender's
``filter`` and ``prioritize``, chooses, assumes, and binds in the background. Pods without a place
wait for an event and then for their back-off, or until nothing else is to be scheduled (upstream's
``SchedulerPopFromBackoffQ``, on by default since 1.33); after an error they wait for the back-off.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain, islice

from km.objects import Node
from km.pods import Pod, Shape
from km.resources import Resources
from km.simulate.clock import Clock
from km.simulate.master import InvariantError

BACKOFF_FIRST, BACKOFF_MOST = 1.0, 5.0
COLLECT_AFTER = 40.0
"""Seconds that a node is gone before its pods are deleted."""


def _unwatched(pod: Pod) -> None:
    """Nobody watches yet."""
    del pod


class Extender:
    """What kube-scheduler asks: km, reached through the simulation's delays."""

    def filter(self, pod: Pod, nodes: tuple[str, ...]) -> tuple[str, ...]:
        raise NotImplementedError

    def prioritize(self, pod: Pod, nodes: tuple[str, ...]) -> Mapping[str, int]:
        raise NotImplementedError

    def bind(self, pod: Pod, node: str) -> None:
        """Answered by `Cluster.bind_answered`."""
        raise NotImplementedError


class SimNode:
    __slots__ = ("cpus", "mem", "name", "node", "open", "pods")

    def __init__(self, node: Node, allocatable: Resources) -> None:
        self.name = node.name
        self.change(node)
        self.cpus = allocatable.cpus
        """Free, as kube-scheduler counts."""
        self.mem = allocatable.mem
        self.pods: set[str] = set()

    def change(self, node: Node) -> None:
        self.node = node
        self.open = node.ready and not node.unschedulable and not node.taints


class Cluster:
    """Pods, nodes, kube-scheduler and the owners of pods."""

    def __init__(self, clock: Clock, seed: int, per_second: float) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.cycle = 1 / per_second
        self.pods: dict[str, Pod] = {}
        self.nodes: dict[str, SimNode] = {}
        self.names: list[str] = []
        self.assumed: dict[str, str] = {}
        self.active: deque[str] = deque()
        self.backing_off: list[tuple[float, str]] = []
        """A heap of what may be tried earlier than then when nothing else is to be scheduled."""
        self.unschedulable: dict[str, None] = {}
        self.tries: dict[str, int] = {}
        self.created: dict[str, float] = {}
        self.latencies: list[float] = []
        self.ends: dict[str, float] = {}
        """How long a pod runs once bound; pods that are not named run for good."""
        self.dislikes: dict[str, frozenset[str]] = {}
        """Nodes that kube-scheduler does not take for a pod, for reasons that km can not know."""
        self.original: dict[str, Shape] = {}
        """What resized pods were before."""
        self.bound_count = 0
        self.finished = 0
        self.replaced = 0
        self.watch_pod: Callable[[Pod], None] = _unwatched
        self.watch_gone: Callable[[Pod], None] = _unwatched
        self.extender = Extender()
        self._rotation = 0
        self._running = False
        self._count = 0

    # Owners

    def create(
        self,
        shape: Shape,
        seconds: float | None = None,
        priority: int = 0,
        dislikes: frozenset[str] = frozenset(),
    ) -> str:
        """A pod that runs for so long, or for good; the owner replaces it when it is deleted."""
        self._count += 1
        uid = f"u{self._count}"
        pod = Pod(
            uid=uid,
            namespace="default",
            name=f"pod-{self._count}",
            shape=shape,
            created=self.clock.now,
            priority=priority,
        )
        self.created[uid] = self.clock.now
        if seconds is not None:
            self.ends[uid] = seconds
        if dislikes:
            self.dislikes[uid] = dislikes
        self.pods[uid] = pod
        self.clock.after(0.002, self.watch_pod, pod)
        self._activate(uid)
        return uid

    def remove(self, uid: str, *, replace_it: bool) -> None:
        """A pod's object is deleted."""
        pod = self.pods.pop(uid, None)
        if pod is None:
            return
        self._forget(uid, pod.node or self.assumed.get(uid, ""), pod)
        self.unschedulable.pop(uid, None)
        seconds = self.ends.pop(uid, None)
        self.created.pop(uid, None)
        self.tries.pop(uid, None)
        self.dislikes.pop(uid, None)
        shape = self.original.pop(uid, pod.shape)
        self.clock.after(0.002, self.watch_gone, pod)
        if replace_it:
            self.replaced += 1
            self.create(shape, seconds, pod.priority)
        self.wake()

    def resize(self, uid: str, shape: Shape) -> None:
        """Somebody resizes a running pod in place."""
        pod = self.pods[uid]
        node = self.nodes.get(pod.node)
        if node is not None and uid in node.pods:
            node.cpus += pod.need.cpus - shape.need.cpus
            node.mem += pod.need.mem - shape.need.mem
        self.original.setdefault(uid, pod.shape)
        self.pods[uid] = resized = replace(pod, shape=shape)
        self.clock.after(0.002, self.watch_pod, resized)

    def put_back(self, uid: str) -> None:
        """A resize is undone."""
        if uid in self.original and not self.pods[uid].finished:
            self.resize(uid, self.original[uid])

    def _forget(self, uid: str, name: str, pod: Pod) -> None:
        node = self.nodes.get(name)
        if node is not None and uid in node.pods:
            node.pods.discard(uid)
            node.cpus += pod.need.cpus
            node.mem += pod.need.mem
        self.assumed.pop(uid, None)

    def _finish(self, uid: str) -> None:
        pod = self.pods.get(uid)
        if pod is None or not pod.node:
            return
        self.finished += 1
        self.pods[uid] = done = replace(pod, phase="Succeeded")
        self.clock.after(0.002, self.watch_pod, done)
        self.clock.after(1.0, self._remove_finished, uid)

    def _remove_finished(self, uid: str) -> None:
        self.remove(uid, replace_it=False)

    # The API server

    def bind(self, uid: str, name: str) -> bool:
        """POST of a Binding."""
        pod = self.pods.get(uid)
        if pod is None or name not in self.nodes:
            return False
        if pod.node:
            raise InvariantError(f"{pod.full_name} on {pod.node} is bound again, to {name}")
        self.pods[uid] = bound = replace(pod, node=name, phase="Running", unschedulable="")
        self.bound_count += 1
        self.latencies.append(self.clock.now - self.created[uid])
        self.clock.after(0.002, self.watch_pod, bound)
        seconds = self.ends.get(uid)
        if seconds is not None:
            self.clock.after(seconds, self._finish, uid)
        return True

    def set_node(self, node: Node, allocatable: Resources | None) -> None:
        """A node registers, or its object changes."""
        present = self.nodes.get(node.name)
        if present is not None:
            present.change(node)
        elif allocatable is not None:
            self.nodes[node.name] = SimNode(node, allocatable)
            self.names.append(node.name)
        self.wake()

    def delete_node(self, name: str) -> None:
        if self.nodes.pop(name, None) is not None:
            self.names.remove(name)
            self.clock.after(COLLECT_AFTER, self._collect, name)

    def _collect(self, name: str) -> None:
        """Kubernetes' garbage collection of pods whose node is gone."""
        if name not in self.nodes:
            for uid in [uid for uid, pod in self.pods.items() if pod.node == name]:
                self.remove(uid, replace_it=True)

    # kube-scheduler

    def _activate(self, uid: str) -> None:
        self.active.append(uid)
        self._run()

    def _run(self) -> None:
        if not self._running:
            self._running = True
            self.clock.after(self.cycle, self._schedule_one)

    def wake(self) -> None:
        """A cluster event: pods without a place are tried again, after their back-off."""
        waiting, self.unschedulable = self.unschedulable, {}
        for uid in waiting:
            tries = self.tries.get(uid, 1)
            pause = min(BACKOFF_FIRST * 2 ** min(tries - 1, 4), BACKOFF_MOST)
            heapq.heappush(self.backing_off, (self.clock.now + pause, uid))
        if waiting:
            self._run()

    def _again(self, uid: str) -> None:
        pod = self.pods.get(uid)
        if pod is not None and not pod.node and uid not in self.assumed:
            self._activate(uid)

    def _schedule_one(self) -> None:
        while self.backing_off and self.backing_off[0][0] <= self.clock.now:
            self.active.append(heapq.heappop(self.backing_off)[1])
        while self.active or self.backing_off:
            uid = self.active.popleft() if self.active else heapq.heappop(self.backing_off)[1]
            pod = self.pods.get(uid)
            if pod is not None and not pod.node and uid not in self.assumed:
                self._schedule(pod)
                self.clock.after(self.cycle, self._schedule_one)
                return
        self._running = False

    def _feasible(self, pod: Pod) -> tuple[str, ...]:
        """Nodes with room by kube-scheduler's own count, looked at in rotation."""
        total = len(self.names)
        wanted = total
        if total > 100:
            wanted = max(100, total * max(5, 50 - total // 125) // 100)
        cpus, mem, nodes = pod.need.cpus, pod.need.mem, self.nodes
        dislikes = self.dislikes.get(pod.uid, ())
        found: list[str] = []
        start = self._rotation % total if total else 0
        seen = 0
        for name in chain(islice(self.names, start, None), islice(self.names, start)):
            seen += 1
            node = nodes[name]
            if node.cpus >= cpus and node.mem >= mem and node.open and name not in dislikes:
                found.append(name)
                if len(found) >= wanted:
                    break
        self._rotation = start + seen
        return tuple(found)

    def _schedule(self, pod: Pod) -> None:
        names = self._feasible(pod)
        fits = self.extender.filter(pod, names) if names else ()
        if not fits:
            self._no_place(pod, f"0/{len(self.names)} nodes are available")
            return
        chosen = fits[0]
        if len(fits) > 1:
            chosen = self._best(self.extender.prioritize(pod, fits))
        node = self.nodes[chosen]
        node.pods.add(pod.uid)
        node.cpus -= pod.need.cpus
        node.mem -= pod.need.mem
        self.assumed[pod.uid] = chosen
        self.extender.bind(pod, chosen)

    def _best(self, scores: Mapping[str, int]) -> str:
        """Of the nodes with the highest score the one with most cpus free."""
        highest = max(scores.values())
        nodes = self.nodes
        best, most = "", -1
        for name, score in scores.items():
            if score == highest and nodes[name].cpus > most:
                best, most = name, nodes[name].cpus
        return best

    def _no_place(self, pod: Pod, message: str) -> None:
        self.tries[pod.uid] = self.tries.get(pod.uid, 0) + 1
        self.unschedulable[pod.uid] = None
        if not pod.unschedulable:
            self.pods[pod.uid] = told = replace(pod, unschedulable=message)
            self.clock.after(0.002, self.watch_pod, told)

    def bind_answered(self, uid: str, error: str) -> None:
        """The extender's answer to a bind."""
        name = self.assumed.pop(uid, "")
        pod = self.pods.get(uid)
        if pod is None or not error:
            return
        if not pod.node:
            self._forget(uid, name, pod)
            self.tries[uid] = self.tries.get(uid, 0) + 1
            self.clock.after(BACKOFF_FIRST, self._again, uid)
            self.wake()  # what was assumed of it is free again

    def forget_scheduler(self) -> None:
        """kube-scheduler restarts: what it assumed is forgotten, all waiting pods are new."""
        for uid in list(self.assumed):
            pod = self.pods.get(uid)
            if pod is not None and not pod.node:
                self._forget(uid, self.assumed[uid], pod)
        self.assumed.clear()
        self.unschedulable.clear()
        self.backing_off.clear()
        self.active.clear()
        for uid, pod in self.pods.items():
            if not pod.node:
                self._activate(uid)
