"""Joins the decision core with the simulated master and cluster: km's edges, without wires.

Events reach the core and actions reach the world after small delays, so that they cross as they do
in life: an offer is rescinded while it is being accepted, a pod is deleted while it is bound.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from km import actions as do
from km import events as on
from km.actions import Action
from km.core import Core
from km.events import Event
from km.launches import parse_task_id
from km.objects import Node, Taint
from km.offers import InverseOffer, Offer, TaskStatus
from km.pods import Pod
from km.rules import Rules
from km.simulate.clock import Clock
from km.simulate.cluster import Cluster, Extender
from km.simulate.master import KEPT, OPEN, Framework, InvariantError, Master, SimAgent, SimTask

STREAM = 0.001
CALL = 0.001
TASK_START = 0.010
TASK_END = 0.050
EXECUTOR_START = 0.3
NODE_READY = 2.0
ASK_AGAIN = 15.0
"""How soon Mesos asks for an agent again that is not given back."""

RESEND = 10.0
"""Mesos' STATUS_UPDATE_RETRY_INTERVAL_MIN: how soon an agent repeats what nobody acknowledged."""
REGISTERED = 0.01
"""An agent that is back with its master repeats all of that at once; so soon is looked."""


class Km(Framework, Extender):
    """The framework "Kubernetes": one core at a time, restarted at will."""

    def __init__(self, clock: Clock, master: Master, cluster: Cluster, rules: Rules) -> None:
        super().__init__("Kubernetes")
        self.roles = frozenset({OPEN, KEPT})
        self.clock = clock
        self.master = master
        self.cluster = cluster
        self.rules = rules
        self.core = Core(rules, 0)
        self.generation = 0
        self.busy = 0.0
        """Seconds of real time spent in the core."""
        self.events = 0
        self.held_since: dict[str, float] = {}
        self.fail_every = 0
        """Every so manieth Binding fails as if the API server were away; 0: none."""
        self._calls = 0
        self._requests: dict[int, str] = {}
        self._request = 0
        self._next: float | None = None
        self._answer: Any = None
        cluster.extender = self
        cluster.watch_pod = self._pod_changed
        cluster.watch_gone = lambda pod: self.tell(on.PodGone(uid=pod.uid))

    # Start and restart

    def start(self) -> None:
        """Subscribe, list, go."""
        self.connected = True
        self.suppressed = False
        self.filters.clear()
        self.tell(on.Subscribed(framework_id="F"))
        self.tell(on.PodsListed(pods=tuple(self.cluster.pods.values())))
        self.tell(on.NodesListed(nodes=tuple(node.node for node in self.cluster.nodes.values())))

    def restart(self) -> None:
        """Km is killed and a new leader takes over."""
        self.generation += 1
        self.disconnect()
        self.core = Core(self.rules, self.generation * 10_000_000)
        self._requests.clear()
        self.cluster.forget_scheduler()
        self.clock.after(1.0, self.start)

    def disconnect(self) -> None:
        """The stream breaks, or the master fails over."""
        self.connected = False
        self.master.void_offers(self)
        self.held_since.clear()

    def reconnect(self) -> None:
        self.connected = True
        self.suppressed = False
        self.tell(on.Subscribed(framework_id="F"))

    # Events in

    def tell(self, event: Event) -> None:
        """Give an event to the core, carry out what it decides."""
        began = time.process_time()
        actions = self.core.handle(event, self.clock.now)
        following = self.core.next_tick()
        self.busy += time.process_time() - began
        self.events += 1
        generation = self.generation
        for action in actions:
            if isinstance(action, (do.AnswerFilter, do.AnswerPrioritize)):
                self._answer = action
            else:
                self.clock.after(CALL, self._perform, generation, action)
        if following is not None and (self._next is None or following < self._next):
            self._next = following
            self.clock.after(max(following - self.clock.now, 0), self._tick, following)

    def _tick(self, when: float) -> None:
        if self._next == when:
            self._next = None
        following = self.core.next_tick()
        if following is not None and following <= self.clock.now:
            self.tell(on.Tick())
        elif following is not None and self._next is None:
            self._next = following
            self.clock.after(following - self.clock.now, self._tick, following)

    def _stream(self, event: Event) -> None:
        """An event of the Mesos stream: lost when nobody is subscribed."""
        self.clock.after(STREAM, self._streamed, self.generation, event)

    def _streamed(self, generation: int, event: Event) -> None:
        if self.connected and generation == self.generation:
            self.tell(event)

    def offered(self, offers: list[Offer]) -> None:
        for offer in offers:
            self.held_since[offer.id] = self.clock.now
        self._stream(on.OffersReceived(offers=tuple(offers)))

    def rescinded(self, offer_id: str) -> None:
        self.held_since.pop(offer_id, None)
        self._stream(on.OfferRescinded(offer_id=offer_id))

    def lost(self, agent: SimAgent) -> None:
        """An agent's machine died: its tasks are gone, its kubelet silent."""
        for task in list(agent.tasks.values()):
            if task.framework is self:
                self._update(task.id, agent.id, "TASK_GONE", "the agent is gone")
        self.master.end_executor(agent, self)
        self._stream(on.AgentRemoved(agent_id=agent.id))

    def unreachable(self, agent: SimAgent) -> None:
        """The master lost sight of an agent; its tasks go on."""
        for task in agent.tasks.values():
            if task.framework is self:
                self._update(task.id, agent.id, "TASK_UNREACHABLE", "the agent is unreachable")
        self._stream(on.AgentRemoved(agent_id=agent.id))

    def drained(self, agent: SimAgent) -> None:
        """Minions keep their pods when they are told to end them: km evicts them first."""
        for task in agent.tasks.values():
            if task.record is not None:
                task.record = replace(task.record, state="TASK_KILLING")
                self._report(task.id, agent, "TASK_KILLING")

    def wanted_back(self, agent: SimAgent) -> None:
        """The operator asks for an agent, and again until km agrees or it is called off."""
        agent.wanted_back = agent.reclaimed = True
        self._ask_back(agent)

    def _ask_back(self, agent: SimAgent) -> None:
        if not agent.wanted_back or self.master.agents.get(agent.id) is not agent:
            return
        if agent.up and agent.id not in self.master.recovering:
            inverse = InverseOffer(
                id=f"back-{agent.id}",
                agent_id=agent.id,
                hostname=agent.hostname,
                starts_at=1.0,
                seconds=None,
            )
            self._stream(on.InverseOffersReceived(inverse_offers=(inverse,)))
        self.clock.after(ASK_AGAIN, self._ask_back, agent)

    def _update(self, task_id: str, agent_id: str, state: str, message: str = "") -> None:
        status = TaskStatus(
            task_id=task_id, state=state, agent_id=agent_id, message=message, uuid="u"
        )
        self._stream(on.TaskUpdated(status=status))

    def _report(self, task_id: str, agent: SimAgent, state: str, message: str = "") -> None:
        """An agent says what became of a task, and says it again until somebody hears it."""
        status = TaskStatus(
            task_id=task_id, state=state, agent_id=agent.id, message=message, uuid="u"
        )

        def say() -> None:
            if self.master.agents.get(agent.id) is not agent:
                return
            task = agent.tasks.get(task_id)
            now = task.record.state if task is not None and task.record is not None else ""
            if state in ("TASK_RUNNING", "TASK_KILLING") and now != state:
                return  # something later has been said meanwhile
            if not agent.up or agent.id in self.master.recovering:
                self.clock.after(REGISTERED, say)
            elif not self.connected:
                self.clock.after(RESEND, say)
            else:
                self.tell(on.TaskUpdated(status=status))

        self.clock.after(STREAM, say)

    def _pod_changed(self, pod: Pod) -> None:
        if self.cluster.pods.get(pod.uid) is pod:
            self.tell(on.PodSeen(pod=pod))

    def _node_changed(self, node: Node) -> None:
        self.tell(on.NodeSeen(node=node))

    # kube-scheduler asks

    def _ask(self, event: Event) -> Any:
        self._answer = None
        self.tell(event)
        return self._answer

    def filter(self, pod: Pod, nodes: tuple[str, ...]) -> tuple[str, ...]:
        answer = self._ask(on.FilterRequested(request_id=0, pod=pod, nodes=nodes))
        fits: tuple[str, ...] = answer.nodes
        return fits

    def prioritize(self, pod: Pod, nodes: tuple[str, ...]) -> Mapping[str, int]:
        answer = self._ask(on.PrioritizeRequested(request_id=0, pod=pod, nodes=nodes))
        scores: Mapping[str, int] = answer.scores
        return scores

    def bind(self, pod: Pod, node: str) -> None:
        self._request += 1
        self._requests[self._request] = pod.uid
        event = on.BindRequested(
            request_id=self._request, uid=pod.uid, namespace=pod.namespace, name=pod.name, node=node
        )
        self.clock.after(CALL, self._bind, self.generation, event)

    def _bind(self, generation: int, event: on.BindRequested) -> None:
        if generation == self.generation:
            self.tell(event)

    # Actions out

    def _perform(self, generation: int, action: Action) -> None:
        if generation != self.generation:
            return  # the km that wanted it is dead
        call = getattr(self, f"_do_{type(action).__name__}", None)
        if call is not None:
            call(action)

    def _failed(self, action: Action, message: str, code: int | None = None) -> None:
        self.clock.after(CALL, self._streamed_any, self.generation, action, message, code)

    def _streamed_any(
        self, generation: int, action: Action, message: str, code: int | None
    ) -> None:
        if generation == self.generation:
            self.tell(on.CallFailed(action=action, message=message, code=code))

    def _do_Accept(self, action: do.Accept) -> None:  # noqa: N802
        for offer_id in action.offer_ids:
            self.held_since.pop(offer_id, None)
        if not self.connected:
            self._failed(action, "not subscribed")
            return
        agent = self.master.agents.get(action.agent_id)
        new = agent is not None and agent.executor is None
        launched = self.master.accept(
            self,
            action.offer_ids,
            action.task_infos,
            action.refuse_seconds,
            lambda status: self._stream(on.TaskUpdated(status=status)),
        )
        for task in launched:
            self.clock.after(EXECUTOR_START if new else TASK_START, self._runs, task, agent)

    def _runs(self, task: SimTask, agent: SimAgent) -> None:
        if task.id not in agent.tasks:
            return
        if not agent.up:
            self.clock.after(1.0, self._runs, task, agent)  # told when the agent is back
            return
        assert task.record is not None
        if task.record.state == "TASK_KILLING":  # it never came to run
            self.executor_ends(agent, 0)
            return
        task.record = replace(task.record, state="TASK_RUNNING")
        self._report(task.id, agent, "TASK_RUNNING")
        kind, name = parse_task_id(task.id)
        if kind == "node":
            self.clock.after(NODE_READY, self._ready, task, agent, name)

    def _ready(self, task: SimTask, agent: SimAgent, name: str) -> None:
        if task.id not in agent.tasks:
            return
        node = Node(
            name=name,
            uid=task.id,
            ready=True,
            labels={"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": agent.zone},
            provider_id=f"mesos://F/{agent.id}",
        )
        self.cluster.set_node(node, agent.total)
        self.clock.after(0.002, self._node_changed, node)

    def _do_Decline(self, action: do.Decline) -> None:  # noqa: N802
        for offer_id in action.offer_ids:
            self.held_since.pop(offer_id, None)
        self.master.decline(action.offer_ids, action.refuse_seconds)

    def _do_Revive(self, action: do.Revive) -> None:  # noqa: N802
        if self.connected:
            self.master.revive(self)
        else:
            self._failed(action, "not subscribed")

    def _do_Suppress(self, action: do.Suppress) -> None:  # noqa: N802
        if self.connected:
            self.suppressed = True
        else:
            self._failed(action, "not subscribed")

    def _do_KillTask(self, action: do.KillTask) -> None:  # noqa: N802
        if not self.connected:
            self._failed(action, "not subscribed")
            return
        agent = self.master.agents.get(action.agent_id)
        if agent is not None and (not agent.up or agent.id in self.master.recovering):
            return  # lost on the way; the core asks again
        if agent is None or action.task_id not in agent.tasks:
            self._update(action.task_id, action.agent_id, "TASK_UNKNOWN")
            return
        self.clock.after(TASK_END, self._killed, action.task_id, action.agent_id)

    def _killed(self, task_id: str, agent_id: str) -> None:
        agent = self.master.agents.get(agent_id)
        if agent is not None and self.master.end(agent_id, task_id) is not None:
            self._report(task_id, agent, "TASK_KILLED")

    def _do_ShutdownExecutor(self, action: do.ShutdownExecutor) -> None:  # noqa: N802
        agent = self.master.agents.get(action.agent_id)
        node = self.cluster.nodes.get(agent.hostname) if agent is not None else None
        free_to_stay = agent is not None and not agent.reclaimed
        if free_to_stay and node is not None and node.node.cordoned_by_operator:
            raise InvariantError(f"{node.name}, which an operator cordoned, is ended")
        if agent is not None and agent.up and self.connected:
            self.clock.after(1.0, self.executor_ends, agent, 0)

    def executor_ends(self, agent: SimAgent, status: int) -> None:
        """A minion ends, by order or by accident."""
        if agent.executor is None:
            return
        executor_id = str(agent.executor["executor_id"]["value"])
        for task in self.master.end_executor(agent, self):
            self._report(task.id, agent, "TASK_FAILED", "Executor terminated")
        self._stream(on.ExecutorExited(agent_id=agent.id, executor_id=executor_id, status=status))

    def _do_AcceptInverse(self, action: do.AcceptInverse) -> None:  # noqa: N802
        for inverse_id in action.inverse_offer_ids:
            agent = self.master.agents.get(inverse_id.removeprefix("back-"))
            # A pod that was launched while its node ended is unknown to km until it is listed.
            if agent is not None and any(task_id.startswith("node.") for task_id in agent.tasks):
                raise InvariantError(f"{agent.hostname} is given back with a node on it")

    def _do_Reconcile(self, action: do.Reconcile) -> None:  # noqa: N802
        if not self.connected:
            return
        asked = action.tasks or tuple(
            (task.id, agent.id)
            for agent in self.master.agents.values()
            for task in agent.tasks.values()
            if task.framework is self
        )
        for task_id, agent_id in asked:
            if agent_id in self.master.recovering:
                continue  # a master waits for the agent before it answers
            agent = self.master.agents.get(agent_id)
            task = agent.tasks.get(task_id) if agent else None
            state = task.record.state if task and task.record else "TASK_UNKNOWN"
            if task and agent and not agent.up:
                state = "TASK_UNREACHABLE"
            self._update(task_id, agent_id, state)

    def _do_ListMesos(self, action: do.ListMesos) -> None:  # noqa: N802
        del action
        event = on.MesosListed(state=self.master.state(), asked_at=self.clock.now - CALL)
        self.clock.after(0.05, self._listed, self.generation, event)

    def _listed(self, generation: int, event: on.MesosListed) -> None:
        if generation == self.generation:
            self.tell(event)

    def _do_BindPod(self, action: do.BindPod) -> None:  # noqa: N802
        self._calls += 1
        if self.fail_every and self._calls % self.fail_every == 0:
            self._failed(action, "the API server is away")
            return
        if self.cluster.bind(action.uid, action.node):
            self.clock.after(0.003, self._bound, self.generation, action.uid)
        else:
            self._failed(action, "not found", 404)

    def _bound(self, generation: int, uid: str) -> None:
        if generation == self.generation:
            self.tell(on.PodBound(uid=uid))

    def _do_AnswerBind(self, action: do.AnswerBind) -> None:  # noqa: N802
        uid = self._requests.pop(action.request_id, None)
        if uid is None:
            raise InvariantError(f"bind {action.request_id} was answered twice")
        self.cluster.bind_answered(uid, action.error)

    def _do_DeletePod(self, action: do.DeletePod) -> None:  # noqa: N802
        self.cluster.remove(action.uid, replace_it=True)

    def _do_EvictPod(self, action: do.EvictPod) -> None:  # noqa: N802
        if self.master.random.random() < 0.2:
            self._failed(action, "a disruption budget forbids it", 429)
        else:
            self.cluster.remove(action.uid, replace_it=True)

    def _do_UpdateNode(self, action: do.UpdateNode) -> None:  # noqa: N802
        known = self.cluster.nodes.get(action.node)
        if known is None:
            self._failed(action, "not found", 404)
            return
        if action.unschedulable is False and known.node.cordoned_by_operator:
            raise InvariantError(f"{action.node}, which an operator cordoned, is uncordoned")
        node = _changed(known.node, action)
        self.cluster.set_node(node, None)
        self.clock.after(0.002, self._node_changed, node)

    def _do_RevertResize(self, action: do.RevertResize) -> None:  # noqa: N802
        self.cluster.put_back(action.uid)

    def _do_DeleteNode(self, action: do.DeleteNode) -> None:  # noqa: N802
        known = self.cluster.nodes.get(action.node)
        if known is not None and known.node.uid == action.uid:
            self.delete_node(action.node)
        else:
            self.clock.after(0.002, self._node_gone, action.node)

    def delete_node(self, name: str) -> None:
        """Somebody deletes a Node object."""
        self.cluster.delete_node(name)
        self.clock.after(0.002, self._node_gone, name)

    def cordon(self, name: str, *, unschedulable: bool) -> None:
        """An operator's `kubectl cordon` or `uncordon`, which know nothing of km's annotation."""
        node = replace(self.cluster.nodes[name].node, unschedulable=unschedulable)
        self.cluster.set_node(node, None)
        self.clock.after(0.002, self._node_changed, node)

    def _node_gone(self, name: str) -> None:
        if name not in self.cluster.nodes:
            self.tell(on.NodeGone(name=name))


def _changed(node: Node, action: do.UpdateNode) -> Node:
    """A node as the API server has it after the PATCH."""
    gone = {(taint.key, taint.effect) for taint in action.remove_taints}
    taints: list[Taint] = [t for t in node.taints if (t.key, t.effect) not in gone]
    taints += [taint for taint in action.add_taints if taint not in taints]
    return Node(
        name=node.name,
        uid=node.uid,
        ready=node.ready,
        unschedulable=node.unschedulable if action.unschedulable is None else action.unschedulable,
        taints=tuple(taints),
        labels=_merged(node.labels, action.labels),
        annotations=_merged(node.annotations, action.annotations),
        provider_id=node.provider_id,
        addresses=node.addresses,
    )


def _merged(present: Mapping[str, str], patch: Mapping[str, str | None] | None) -> dict[str, str]:
    merged = {**present, **(patch or {})}
    return {key: value for key, value in merged.items() if value is not None}
