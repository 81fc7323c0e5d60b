"""What km knows at one moment, and the list of what it has decided to do: shared by all decisions.

`World` holds state and indexes; the decisions themselves are in `binding`, `offering`, `nodes`,
`lifecycle` and `reconcile`. It is driven by `core.Core` alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from km.actions import Action, RecordEvent, RevertResize
from km.events import CertificateRequested
from km.ledger import Agent, Ledger
from km.objects import Node, labels_of_agent
from km.pods import Limits, Pod, Shape
from km.resources import NOTHING, Resources
from km.rules import EVERY_AGENT, ON_DEMAND, Rules
from km.timers import Alarm, Timers

STARTING = "starting"
"""The executor was launched; the Node object is not Ready yet."""
READY = "ready"
"""Executor and Node object are up; pods may come."""
DRAINING = "draining"
"""Cordoned by km; its pods are being evicted."""
STOPPING = "stopping"
"""The executor was told to end."""
UNREACHABLE = "unreachable"
"""The master has lost sight of the agent; what runs there may still run."""

REMEMBER_ENDED = 600.0
"""For so many seconds an ended task is remembered; no answer to GET_STATE takes longer."""


class Drain:
    """Why a node is being emptied, and how far that is."""

    __slots__ = ("asked", "kind", "reason")

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        """``idle``, ``maintenance`` or ``change``."""
        self.reason = reason
        self.asked: dict[str, float] = {}
        """Pods that were asked to leave, and when they are asked again."""


class NodeRun:
    """A node that km runs: an executor on an agent, from its launch to its end."""

    __slots__ = (
        "agent_id", "drain", "executor_id", "idle_since", "is_new", "name", "phase", "ready_at",
        "started_at", "task_id", "version", "why",
    )  # fmt: skip

    def __init__(
        self, name: str, agent_id: str, executor_id: str, task_id: str, started_at: float
    ) -> None:
        self.name = name
        self.agent_id = agent_id
        self.executor_id = executor_id
        self.task_id = task_id
        self.started_at = started_at
        self.phase = STARTING
        self.is_new = False
        """Launched by this km, and not Ready yet."""
        self.ready_at = float("-inf")
        self.idle_since: float | None = None
        self.drain: Drain | None = None
        self.version = ""
        self.why = ""
        """Why it is in this phase, for people."""


class Bind:
    """A pod on its way to a node: promised, launched, bound."""

    __slots__ = (
        "adopts", "agent_id", "deadline", "need", "node", "pod", "request_id", "stage",
        "started_at", "task_id",
    )  # fmt: skip

    def __init__(self, pod: Pod, node: str, agent_id: str, started_at: float) -> None:
        self.pod = pod
        self.need = pod.need
        self.node = node
        self.agent_id = agent_id
        self.started_at = started_at
        self.request_id: int | None = None
        """Who waits for the answer; None when nobody does (adoption)."""
        self.deadline = float("inf")
        self.stage = "promised"
        """``promised`` (waits for an offer), ``launched`` (waits for TASK_RUNNING) or ``binding``
        (waits for the API server)."""
        self.task_id = ""
        self.adopts = bool(pod.node)
        """The pod runs already and only lacks its task."""


class Tried:
    """What was tried for pods that kube-scheduler refuses where they seem to fit."""

    __slots__ = ("count", "names", "next_at", "pause")

    def __init__(self, pause: float) -> None:
        self.names: set[str] = set()
        """Nodes that were there, and not taken."""
        self.pause = pause
        self.next_at = float("-inf")
        """Another node is not started for them before."""
        self.count = 0
        """How many waited then."""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why no agent takes pods of a shape, as it was found at that time."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Reverted:
    """A resize that was put back."""

    action: RevertResize
    need: Resources
    limits: Limits
    at: float


class World:
    """Everything known, and everything decided since the last event."""

    def __init__(self, rules: Rules, incarnation: int) -> None:
        self.rules = rules
        self._number = incarnation
        self.framework_id = ""
        self.connected = False
        self.suppressed = False
        self.listed = {"pods": False, "nodes": False, "mesos": False}
        self.ledger = Ledger()
        self.timers = Timers()
        self.now = 0.0
        self.out: list[Action] = []
        self.counters: Counter[str] = Counter()
        # Kubernetes
        self.pods: dict[str, Pod] = {}
        self.on_node: dict[str, dict[str, Pod]] = {}
        """Bound pods that are not finished, by node name."""
        self.nodes: dict[str, Node] = {}
        self.waiting: dict[Shape, dict[str, Pod]] = {}
        """Pods that wait for a node and are not being bound."""
        self.demand = NOTHING
        """What they need together."""
        self.rejected: dict[str, str] = {}
        """Why a waiting pod found no node when it was last asked about."""
        self.unschedulable_since: dict[str, float] = {}
        self.unplaced: dict[Shape, Unplaced] = {}
        """On demand: pods that no agent in our hands could take when nodes were last chosen."""
        self.tried: dict[Shape, Tried] = {}
        """On demand: nodes that were started in vain."""
        self.told: dict[str, tuple[float, str]] = {}
        """Waiting pods that were told why no node is started for them: when, and what."""
        self.heard_of: set[str] = set()
        """Pods that kube-scheduler asked about and our watch has not told of yet."""
        self.reverted: dict[str, Reverted] = {}
        """Pods whose resize was put back, and is not yet as it was or could not be put back."""
        self.requests: dict[str, CertificateRequested] = {}
        """Kubelets' requests for certificates that are not judged yet, by name."""
        # Ours
        self.runs: dict[str, NodeRun] = {}
        """By node name (the agent's hostname)."""
        self.ready: dict[str, Agent] = {}
        """The agents of nodes that are Ready, by node name: what ``filter`` looks at."""
        self.last_ready = float("-inf")
        """When a node last became Ready."""
        self.binds: dict[str, Bind] = {}
        self.queues: dict[str, dict[str, Bind]] = {}
        """Binds that wait for an offer: agent id, pod uid."""
        self.revive_wanted = ""
        """Why offers are wanted that are not in our hands; empty when none are."""
        self.fresh: dict[str, None] = {}
        """Agents whose offers have to be looked at."""
        self.to_nudge = ""
        """The agent whose room kube-scheduler is to be told of next."""
        self.nodeless: dict[str, None] = {}
        """With ``every-agent``: agents that could be nodes and are not."""
        self.maintenance: dict[str, str] = {}
        """Agents that Mesos wants back, with what it said."""
        # Reconciliation
        self.unconfirmed: dict[str, None] = {}
        """Tasks whose state was not told since the last subscription."""
        self.reconcile_pause = 0.0
        self.recovering: frozenset[str] = frozenset()
        """Agents that a new master has not heard from yet."""
        self._ended: dict[str, float] = {}
        self.retries: dict[str, Action] = {}
        """Deletions and changes that failed, to be made again."""

    @property
    def synced(self) -> bool:
        """Whether enough is known to decide anything that could hurt."""
        return bool(self.framework_id) and all(self.listed.values())

    def number(self) -> int:
        """The next number for a task id, never used before by this framework."""
        self._number += 1
        return self._number

    def note_number(self, number: int) -> None:
        """An earlier km used it: its clock may have been ahead of ours."""
        self._number = max(self._number, number)

    def do(self, action: Action) -> None:
        self.out.append(action)
        self.counters[f"action.{type(action).__name__}"] += 1

    def want_offers(self, why: str) -> None:
        """Ask for a Revive; the first reason is the one that is told."""
        self.revive_wanted = self.revive_wanted or why

    def plan_soon(self) -> None:
        """Choose nodes again in a moment, when more is known."""
        rules = self.rules
        if self.waiting and rules.nodes == ON_DEMAND:
            pause = rules.plan_seconds + rules.plan_seconds_per_node * len(self.runs)
            self.timers.sooner(Alarm("plan"), self.now + pause)

    def note_ended(self, name: str) -> None:
        """A task, an executor or a pod ended: an older GET_STATE may still list it, a slower
        kube-scheduler still ask about it.
        """
        self._ended[name] = self.now
        self.timers.sooner(Alarm("forget"), self.now + REMEMBER_ENDED)

    def recently_ended(self, name: str, asked_at: float) -> bool:
        """Whether it ended after that question was asked."""
        return self._ended.get(name, float("-inf")) >= asked_at

    def ended_after(self, name: str, at: float) -> bool:
        """Whether we were told of its end later than that, not in the same moment."""
        return self._ended.get(name, float("-inf")) > at

    def ended_lately(self, name: str) -> bool:
        """Whether it ended not long ago."""
        return name in self._ended

    def forget_ended(self) -> None:
        """Drop memories that no answer can contradict any more."""
        limit = self.now - REMEMBER_ENDED
        self._ended = {name: at for name, at in self._ended.items() if at > limit}
        if self._ended:
            self.timers.set(Alarm("forget"), self.now + REMEMBER_ENDED)

    def tell(self, about: Pod | Node, event: str, message: str, *, warning: bool = False) -> None:
        """Say something on a pod or a node in words an operator understands."""
        self.do(
            RecordEvent(
                reason=message,
                kind="Pod" if isinstance(about, Pod) else "Node",
                name=about.name,
                namespace=about.namespace if isinstance(about, Pod) else "",
                uid=about.uid,
                event=event,
                warning=warning,
            )
        )

    # Pods

    def ours(self, pod: Pod) -> bool:
        """Whether kube-scheduler will ask us about this pod."""
        return pod.scheduler in self.rules.scheduler_names and not pod.mirror

    def note_waiting(self, pod: Pod) -> None:
        """Put a pod among those that wait, or take it out, as it is now."""
        waits = pod.waits and self.ours(pod) and pod.uid not in self.binds
        group = self.waiting.get(pod.shape)
        present = group is not None and pod.uid in group
        if waits:
            self.waiting.setdefault(pod.shape, {})[pod.uid] = pod
            if not present:
                self.demand = self.demand + pod.need.scaled(1)
        elif present:
            self.unwait(pod)

    def unwait(self, pod: Pod) -> None:
        """Take a pod out of those that wait."""
        group = self.waiting.get(pod.shape)
        if group is None or pod.uid not in group:
            return
        del group[pod.uid]
        if not group:
            del self.waiting[pod.shape]
        self.demand = self.demand - pod.need.scaled(1)

    def refused(self, uid: str) -> bool:
        """Whether kube-scheduler finds no node for a waiting pod, and not for lack of room.

        Such a pod waits for something else, a volume or another pod. Nothing is held for it on
        nodes that exist: that would keep it from others for nothing, for as long as it waits.
        """
        told = self.unschedulable_since.get(uid)
        if told is None or uid in self.rejected:
            return False
        return max(told, self.last_ready) + self.rules.hold_seconds <= self.now

    def pods_on(self, node: str) -> Mapping[str, Pod]:
        return self.on_node.get(node, {})

    def guests(self, node: str) -> Iterator[Pod]:
        """Pods that keep a node in use: no DaemonSet's, no static ones."""
        for pod in self.pods_on(node).values():
            if not (pod.daemon or pod.mirror):
                yield pod

    # Nodes

    def note_nodeless(self, agent: Agent) -> None:
        """With ``every-agent``, keep track of agents that should become nodes."""
        if self.rules.nodes != EVERY_AGENT:
            return
        ready = (
            agent.active
            and not agent.draining
            and agent.id not in self.maintenance
            and self.now >= agent.not_before
            and agent.hostname not in self.runs
            and not self.leftover(agent.hostname)
        )
        if not ready:
            self.nodeless.pop(agent.id, None)
        elif agent.id not in self.nodeless:
            self.nodeless[agent.id] = None
            if agent.held:
                self.fresh[agent.id] = None
            else:
                self.want_offers(f"{agent.hostname} is not a node yet")

    def leftover(self, name: str) -> bool:
        """Whether the Node of an executor that ended is still there.

        The next executor's kubelet would go on with that object, and lose it.
        """
        node = self.nodes.get(name)
        return node is not None and node.ours and name not in self.runs

    def forget_agent(self, agent: Agent) -> None:
        """An agent is gone, with nothing of ours on it."""
        self.ledger.forget_agent(agent)
        self.nodeless.pop(agent.id, None)
        self.maintenance.pop(agent.id, None)
        self.fresh.pop(agent.id, None)

    def run_of(self, agent: Agent) -> NodeRun | None:
        """The node we run on this agent."""
        run = self.runs.get(agent.hostname)
        return run if run is not None and run.agent_id == agent.id else None

    def enter(self, run: NodeRun, phase: str, why: str = "") -> None:
        """Move a node on to another phase."""
        run.phase, run.why = phase, why
        agent = self.ledger.agents.get(run.agent_id)
        if phase == READY and agent is not None:
            self.ready[run.name] = agent
        else:
            self.ready.pop(run.name, None)

    def usable(self, run: NodeRun) -> bool:
        """Whether pods may come to this node now or, while it starts, soon."""
        node = self.nodes.get(run.name)
        return run.phase in (STARTING, READY) and not (node is not None and node.unschedulable)

    def cordoned_by_operator(self, name: str) -> bool:
        """Whether an operator made this node unschedulable: what we never undo."""
        node = self.nodes.get(name)
        return node is not None and node.cordoned_by_operator

    def labels(self, agent: Agent) -> Mapping[str, str]:
        """The labels of the agent's node, or those it would have."""
        node = self.nodes.get(agent.hostname)
        if node is not None and node.labels:
            return node.labels
        known = labels_of_agent(agent.hostname, agent.attributes, agent.region, agent.zone)
        return {**known, **self.rules.labels_of(agent.hostname)}

    def node_overhead(self) -> Resources:
        """What a node takes before the first pod."""
        return self.rules.executor + self.rules.node_task

    def view_waiting(self) -> Iterator[dict[str, Any]]:
        """Waiting pods with the reason, for people."""
        for group in self.waiting.values():
            for pod in group.values():
                yield {
                    "pod": pod.full_name,
                    "uid": pod.uid,
                    "needs": pod.need.as_dict(),
                    "since": pod.created,
                    "reason": self._why_waits(pod),
                }

    def _why_waits(self, pod: Pod) -> str:
        why = self.rejected.get(pod.uid) or pod.unschedulable or "not tried yet"
        unplaced = self.unplaced.get(pod.shape)
        return f"{why}; no node is started: {unplaced.reason}" if unplaced else why
