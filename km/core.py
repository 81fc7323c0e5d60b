"""The decision core: events in, actions out.

``Core`` joins the decisions of the other modules into one deterministic machine. It has no clock,
does no I/O and writes no log: the same events at the same times give the same actions, whether they
come from a real master or from the simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from km import (
    binding,
    explaining,
    kubernetes_side,
    lifecycle,
    mesos_side,
    offering,
    placement,
    planning,
    resizing,
    serving,
)
from km import reconcile as reconciliation
from km import view as views
from km.actions import (
    Accept,
    Action,
    AnswerFilter,
    AnswerPrioritize,
    ApproveCertificate,
    BindPod,
    DeleteNode,
    DeletePod,
    DenyCertificate,
    ListMesos,
    RevertResize,
    Revive,
    Suppress,
    UpdateNode,
)
from km.events import (
    AgentAdded,
    AgentRemoved,
    BindAbandoned,
    BindRequested,
    CallFailed,
    CertificateRequested,
    Disconnected,
    Event,
    ExecutorExited,
    FilterRequested,
    InverseOfferRescinded,
    InverseOffersReceived,
    MesosListed,
    NodeGone,
    NodeSeen,
    NodesListed,
    OfferRescinded,
    OffersReceived,
    PodBound,
    PodGone,
    PodSeen,
    PodsListed,
    PrioritizeRequested,
    Subscribed,
    TaskUpdated,
    Tick,
)
from km.launches import parse_task_id
from km.objects import FREE_ANNOTATION
from km.rules import Rules
from km.timers import Alarm
from km.world import World

CONFLICT, UNPROCESSABLE = 409, 422
"""HTTP: somebody else wrote in between; never as it is asked for."""


class Core:
    """km's mind. One per leadership: a new leader makes a new one and tells it everything."""

    def __init__(self, rules: Rules, incarnation: int) -> None:
        """``incarnation`` begins the numbers in task ids: milliseconds since 1970 at the start.

        Give ``handle`` times of a clock that never goes backwards.
        """
        self.world = World(rules, incarnation)

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take in one event; what is to be done about it, in order."""
        world = self.world
        world.now = max(world.now, now)
        world.out = []
        _HANDLERS[type(event)](world, event)
        for alarm in world.timers.due(world.now):
            _ALARMS[alarm.kind](world, alarm.subject)
        offering.settle(world)
        return world.out

    def next_tick(self) -> float | None:
        """When ``Tick`` is due at the latest, on the clock of ``handle``; None: nothing is."""
        return self.world.timers.next()

    def view(self) -> dict[str, Any]:
        """What there is to see (see `km.view.view`)."""
        return views.view(self.world)

    def totals(self) -> dict[str, int]:
        """Numbers of now, cheap enough for every scrape."""
        return views.totals(self.world)

    def shares(self) -> list[dict[str, Any]]:
        """Who holds what of all agents together (see `km.view.shares`)."""
        return views.shares(self.world)


# kube-scheduler's questions -----------------------------------------------------------------------


def _filter(world: World, event: FilterRequested) -> None:
    if not world.synced:
        reason = "km is still reading the state of Mesos and Kubernetes"
        failed = dict.fromkeys(event.nodes, reason)
        world.do(
            AnswerFilter(
                reason=reason,
                request_id=event.request_id,
                nodes=(),
                failed=failed,
                unresolvable={},
            )
        )
        return
    kubernetes_side.pod_heard_of(world, event.pod)
    fits, failed, unresolvable = placement.filter_nodes(world, event.pod, event.nodes)
    reason = placement.summary(failed, unresolvable, len(event.nodes))
    if fits:
        world.rejected.pop(event.pod.uid, None)
    else:
        world.counters["pods.rejected"] += 1
        if event.pod.uid in world.pods:
            world.rejected[event.pod.uid] = reason
    world.do(
        AnswerFilter(
            reason=f"{event.pod.full_name}: {reason}",
            request_id=event.request_id,
            nodes=fits,
            failed=failed,
            unresolvable=unresolvable,
        )
    )


def _prioritize(world: World, event: PrioritizeRequested) -> None:
    world.do(
        AnswerPrioritize(
            reason=f"{event.pod.full_name}: {len(event.nodes)} nodes",
            request_id=event.request_id,
            scores=placement.prioritize_nodes(world, event.pod, event.nodes),
        )
    )


def _abandoned(world: World, event: BindAbandoned) -> None:
    """Nobody waits for the answer; the bind goes on, its outcome shows in the pod itself."""
    for bind in world.binds.values():
        if bind.request_id == event.request_id:
            bind.request_id = None


# Calls that failed --------------------------------------------------------------------------------


def _call_failed(world: World, event: CallFailed) -> None:
    action, message = event.action, event.message
    world.counters[f"failed.{type(action).__name__}"] += 1
    soon = world.now + world.rules.retry_seconds
    if isinstance(action, Accept):
        binding.launch_failed(world, action, message)
        for info in action.task_infos:
            kind, subject = parse_task_id(str(info["task_id"]["value"]))
            if kind == "node":
                lifecycle.start_failed(world, subject, message)
    elif isinstance(action, BindPod):
        binding.binding_failed(world, action.uid, message, event.code)
    elif isinstance(action, Revive):
        world.want_offers(action.reason)
    elif isinstance(action, Suppress):
        world.suppressed = False
    elif isinstance(action, ListMesos):
        world.timers.sooner(Alarm("list"), soon)
    elif isinstance(action, DeletePod):
        world.retries[action.uid] = action
        world.timers.set(Alarm("retry", action.uid), soon)
    elif isinstance(action, DeleteNode):
        world.timers.set(Alarm("clear", action.node), soon)
    elif isinstance(action, RevertResize) and event.code == UNPROCESSABLE:
        resizing.not_reverted(world, action)
    elif isinstance(action, RevertResize) and (event.code is None or event.code >= CONFLICT):
        key = resizing.retry_key(action.uid)
        world.retries[key] = action
        world.timers.set(Alarm("retry", key), soon)
    elif isinstance(action, UpdateNode):
        _node_not_updated(world, action)
    elif isinstance(action, (ApproveCertificate, DenyCertificate)):
        world.retries[f"certificate {action.name}"] = action
        world.timers.set(Alarm("retry", f"certificate {action.name}"), soon)


def _node_not_updated(world: World, action: UpdateNode) -> None:
    """What is still meant then is asked for again: much may have changed, an operator cordoned."""
    agent = world.ready.get(action.node)
    if agent is not None and FREE_ANNOTATION in (action.annotations or ()):
        agent.nudged = ""
    world.timers.sooner(Alarm("adjusted", action.node), world.now + world.rules.retry_seconds)


def _retry(world: World, key: str) -> None:
    """Make a failed deletion, resize or judgement again, if it is still meant."""
    action = world.retries.pop(key, None)
    if isinstance(action, DeletePod) and action.uid in world.pods:
        world.do(action)
    elif isinstance(action, RevertResize):
        resizing.revert_again(world, action)
    elif isinstance(action, DenyCertificate) or (
        isinstance(action, ApproveCertificate) and action.node in world.runs
    ):
        world.do(action)


# Alarms -------------------------------------------------------------------------------------------


def _nothing(world: World, subject: Any) -> None:
    """Only the alarms and the settling that follow matter."""
    del world, subject


def _backed_off(world: World, agent_id: str) -> None:
    agent = world.ledger.agents.get(agent_id)
    if agent is not None:
        lifecycle.startable(world, agent, f"{agent.hostname} may be tried again")


def _observe(world: World, name: str) -> None:
    run = world.runs.get(name)
    if run is not None:
        lifecycle.observe(world, run)


_ALARMS: dict[str, Callable[[World, str], None]] = {
    "adjusted": _observe,
    "backoff": _backed_off,
    "bind": binding.expire,
    "certificate": serving.time_is_up,
    "clear": lifecycle.clear_again,
    "compare": lambda world, _: reconciliation.compare(world),
    "confirm": binding.confirm,
    "explicit": lambda world, _: reconciliation.explicit(world),
    "flush": binding.flush,
    "forget": lambda world, _: world.forget_ended(),
    "heard": kubernetes_side.not_confirmed,
    "implicit": lambda world, _: reconciliation.implicit(world),
    "kill": binding.kill_again,
    "list": lambda world, _: reconciliation.ask_state(world, "as a matter of routine"),
    "maintenance": lambda world, _: offering.look_for_called_off(world),
    "node": lifecycle.on_alarm,
    "offers": lambda world, _: offering.expire(world),
    "nudged": lambda world, _: offering.nudge_again(world),
    "orphan": _nothing,
    "plan": lambda world, _: planning.run_plan(world),
    "post": binding.post_again,
    "retry": _retry,
    "revived": _nothing,
    "roll": lambda world, _: planning.roll(world),
    "tell": lambda world, _: explaining.tell(world),
    "suppress": lambda world, _: offering.suppress(world),
}


_HANDLERS: dict[type, Callable[[World, Any], None]] = {
    Subscribed: mesos_side.subscribed,
    Disconnected: mesos_side.disconnected,
    OffersReceived: offering.receive,
    OfferRescinded: mesos_side.offer_rescinded,
    InverseOffersReceived: mesos_side.inverse_offers,
    InverseOfferRescinded: mesos_side.inverse_rescinded,
    TaskUpdated: mesos_side.task_updated,
    AgentRemoved: mesos_side.agent_removed,
    ExecutorExited: mesos_side.executor_exited,
    AgentAdded: mesos_side.agent_added,
    MesosListed: mesos_side.listed,
    PodsListed: kubernetes_side.pods_listed,
    PodSeen: lambda world, event: kubernetes_side.pod_told(world, event.pod),
    PodGone: lambda world, event: kubernetes_side.pod_gone(world, event.uid),
    NodesListed: kubernetes_side.nodes_listed,
    NodeSeen: lambda world, event: kubernetes_side.node_seen(world, event.node),
    NodeGone: lambda world, event: kubernetes_side.node_gone(world, event.name),
    CertificateRequested: serving.certificate,
    FilterRequested: _filter,
    PrioritizeRequested: _prioritize,
    BindRequested: binding.request,
    BindAbandoned: _abandoned,
    PodBound: lambda world, event: binding.bound(world, event.uid),
    CallFailed: _call_failed,
    Tick: _nothing,
}
