"""What Mesos' events do to the books and whom they concern."""

from __future__ import annotations

from km import binding, lifecycle, offering, reconcile, serving
from km.actions import AcceptInverse, Acknowledge, DeclineInverse, Reconcile
from km.events import (
    AgentAdded,
    AgentRemoved,
    Disconnected,
    ExecutorExited,
    InverseOfferRescinded,
    InverseOffersReceived,
    MesosListed,
    OfferRescinded,
    Subscribed,
    TaskUpdated,
)
from km.launches import parse_task_id
from km.ledger import Task, ended
from km.offers import LIVE, InverseOffer, TaskStatus
from km.timers import Alarm
from km.world import DRAINING, UNREACHABLE, NodeRun, World

SOON = 1.0
"""Seconds in which news is gathered before Mesos' books are looked at."""

NO_LIMITS = "limits can only be set"
"""What an agent without the cgroups/cpu or cgroups/mem isolator says of a task with limits."""


def subscribed(world: World, event: Subscribed) -> None:
    if world.framework_id and event.framework_id != world.framework_id:
        _start_over(world)
    world.framework_id = event.framework_id
    world.connected = True
    world.suppressed = False
    world.ledger.release_all()
    world.counters["mesos.subscriptions"] += 1
    if world.waiting or world.queues:
        world.want_offers("subscribed, and pods wait")
    reconcile.ask_state(world, "subscribed")
    reconcile.begin(world)


def _start_over(world: World) -> None:
    """Mesos removed the framework (its failover timeout passed): nothing of ours runs any more."""
    for run in list(world.runs.values()):
        lifecycle.ended(world, run, "Mesos removed the framework")
    for task in list(world.ledger.tasks.values()):
        world.ledger.end_task(task)
    world.listed["mesos"] = False


def disconnected(world: World, event: Disconnected) -> None:
    del event
    world.connected = False
    world.ledger.release_all()
    world.fresh.clear()
    world.counters["mesos.disconnections"] += 1


def offer_rescinded(world: World, event: OfferRescinded) -> None:
    agent_id = world.ledger.offers.get(event.offer_id, "")
    if world.ledger.release(event.offer_id) is None:
        return
    world.counters["offers.rescinded"] += 1
    if agent_id in world.queues:
        world.want_offers("an offer that pods waited for was rescinded")


def listed(world: World, event: MesosListed) -> None:
    first = not world.synced
    world.recovering = event.state.recovering
    world.listed["mesos"] = bool(world.framework_id)
    for status in reconcile.absorb(world, event):
        _told(world, status)
    if first and world.synced:
        became_synced(world)


def became_synced(world: World) -> None:
    """All three books are open for the first time: compare them and begin to decide."""
    for agent_id in world.ledger.offers.values():
        world.fresh[agent_id] = None
    for agent in world.ledger.agents.values():
        world.note_nodeless(agent)
    for run in list(world.runs.values()):
        lifecycle.observe(world, run)
    reconcile.begin(world)
    reconcile.compare(world)
    serving.look_again(world)
    world.timers.set(Alarm("roll"), world.now + world.rules.settle_seconds)
    if world.waiting:
        world.want_offers("pods wait")
        world.plan_soon()


# Tasks --------------------------------------------------------------------------------------------


def task_updated(world: World, event: TaskUpdated) -> None:
    status = event.status
    if status.uuid:
        world.do(
            Acknowledge(
                reason=f"{status.task_id} is {status.state}",
                agent_id=status.agent_id,
                task_id=status.task_id,
                uuid=status.uuid,
            )
        )
    world.counters[f"updates.{status.state}"] += 1
    _told(world, status)


def _told(world: World, status: TaskStatus) -> None:
    """A task's state, from an update or a list."""
    world.unconfirmed.pop(status.task_id, None)
    task = world.ledger.tasks.get(status.task_id)
    if task is None:
        _stranger(world, status)
        return
    if ended(status.state):
        _task_ended(world, task, status)
        return
    task.state = status.state
    if task.uid:
        if status.state == "TASK_RUNNING":
            binding.task_runs(world, task)
    else:
        _node_told(world, task, status)


def _stranger(world: World, status: TaskStatus) -> None:
    """A live task that is not in our books: look at Mesos' books, and judge it then."""
    if status.state in LIVE and not world.recently_ended(status.task_id, world.now - 60):
        world.counters["differences.task_unknown"] += 1
        world.timers.sooner(Alarm("list"), world.now + SOON)


def _task_ended(world: World, task: Task, status: TaskStatus) -> None:
    world.ledger.end_task(task)
    world.note_ended(task.id)
    world.timers.clear(Alarm("kill", task.id))
    world.timers.clear(Alarm("confirm", task.id))
    if task.uid:
        agent = world.ledger.agents.get(task.agent_id)
        if agent is not None and NO_LIMITS in status.message:
            agent.takes_limits = False
        binding.task_ended(world, task, status)
        return
    run = _run_of_task(world, task)
    if run is not None:
        said = status.message or status.reason or "no more was said"
        lifecycle.ended(world, run, f"its executor ended: {status.state}: {said}")


def _run_of_task(world: World, task: Task) -> NodeRun | None:
    _, name = parse_task_id(task.id)
    run = world.runs.get(name)
    return run if run is not None and run.task_id == task.id else None


def _node_told(world: World, task: Task, status: TaskStatus) -> None:
    run = _run_of_task(world, task)
    if run is None:
        return
    if status.state == "TASK_UNREACHABLE":
        lifecycle.unreachable(world, run)
    elif run.phase == UNREACHABLE and status.state in LIVE:
        lifecycle.reachable(world, run)
    else:
        lifecycle.observe(world, run)


# Agents and executors -----------------------------------------------------------------------------


def executor_exited(world: World, event: ExecutorExited) -> None:
    agent = world.ledger.agents.get(event.agent_id)
    run = world.run_of(agent) if agent is not None else None
    if agent is None:
        return
    if run is not None and _is_of_before(world, run):
        # Its tasks' ends, which came first, have freed the agent for the next one already.
        world.timers.sooner(Alarm("list"), world.now + SOON)
    elif run is not None and run.executor_id == event.executor_id:
        lifecycle.ended(world, run, f"its executor ended with status {event.status}")
    elif agent.executor_info is not None:
        for task in world.ledger.end_executor(agent):
            world.note_ended(task.id)
        world.note_ended(event.executor_id)
        world.want_offers(f"{agent.hostname} may become a node")
        world.plan_soon()


def _is_of_before(world: World, run: NodeRun) -> bool:
    """Whether an executor that ended may be the one before: both have the same name.

    If it is the new one after all, the end of its node's task tells.
    """
    task = world.ledger.tasks.get(run.task_id)
    staging = task is not None and task.state == "TASK_STAGING"
    return staging and world.ended_lately(run.executor_id)


def agent_removed(world: World, event: AgentRemoved) -> None:
    """The master gave an agent up: unreachable or gone, which only its tasks' states tell."""
    agent = world.ledger.agents.get(event.agent_id)
    if agent is None:
        return
    agent.active = False
    world.nodeless.pop(agent.id, None)
    for offer_id in list(agent.held):
        world.ledger.release(offer_id)
    run = world.run_of(agent)
    if run is None and not agent.tasks:
        world.forget_agent(agent)
        return
    if run is not None:
        lifecycle.unreachable(world, run)
    tasks = tuple((task.id, task.agent_id) for task in agent.tasks.values())
    if tasks and world.connected:
        world.do(Reconcile(reason=f"{agent.hostname} was removed", tasks=tasks))


def agent_added(world: World, event: AgentAdded) -> None:
    agent = world.ledger.describe(event.agent)
    agent.heard_of_at = world.now
    if agent.id in world.recovering:
        world.timers.sooner(Alarm("list"), world.now + SOON)
    world.note_nodeless(agent)
    world.plan_soon()


# Maintenance --------------------------------------------------------------------------------------


def inverse_offers(world: World, event: InverseOffersReceived) -> None:
    """Agents are wanted back: drain their nodes; agree once nothing of ours is there."""
    for inverse in event.inverse_offers:
        if not world.synced or inverse.agent_id in world.recovering:
            _not_yet(world, inverse, "km has yet to look at what runs there")
            continue
        agent = world.ledger.agents.get(inverse.agent_id) or world.ledger.on_host(inverse.hostname)
        if agent is None:
            _agree(world, inverse, "nothing of ours is there")
            continue
        offering.wanted_back(world, agent)
        run = world.run_of(agent)
        if run is None and not agent.tasks:
            _agree(world, inverse, f"nothing of ours is on {agent.hostname}")
            continue
        if run is not None:
            if run.phase == DRAINING and run.drain is not None:
                run.drain.kind = "maintenance"
            lifecycle.drain(world, run, "maintenance", "Mesos wants its agent for maintenance")
        left = len(agent.tasks)
        _not_yet(world, inverse, f"{agent.hostname} is being drained, {left} tasks are left")


def _not_yet(world: World, inverse: InverseOffer, why: str) -> None:
    world.do(
        DeclineInverse(
            reason=why,
            inverse_offer_ids=(inverse.id,),
            refuse_seconds=world.rules.inverse_refuse_seconds,
        )
    )


def _agree(world: World, inverse: InverseOffer, why: str) -> None:
    world.do(AcceptInverse(reason=why, inverse_offer_ids=(inverse.id,)))


def inverse_rescinded(world: World, event: InverseOfferRescinded) -> None:
    """The maintenance was changed; a later offer or inverse offer tells how."""
    del event
    world.counters["offers.inverse_rescinded"] += 1
