r"""A node's life: started, Ready, idle, drained, shut down; or lost, with its agent or without.

    (none) -> starting -> ready -> draining -> stopping -> (none)
                   \________\________\___ unreachable ___/

Whatever ends an executor ends the node: the Node object and the pods bound to it are deleted at
once, so that Kubernetes replaces them. A node that an operator cordoned is never uncordoned by us;
our own cordons carry an annotation.
"""

from __future__ import annotations

from km.actions import Accept, DeleteNode, EvictPod, ShutdownExecutor, UpdateNode
from km.binding import delete_pod, fail
from km.launches import executor_id, executor_info, node_labels, node_task
from km.ledger import Agent, Task
from km.objects import (
    AGENT_UNREACHABLE,
    CORDONED_BY_KM,
    VERSION_LABEL,
    Node,
    renamed_attributes,
)
from km.offers import Offer, take
from km.placement import may_run
from km.rules import EVERY_AGENT, ON_DEMAND
from km.timers import Alarm
from km.world import DRAINING, READY, STARTING, STOPPING, UNREACHABLE, Drain, NodeRun, World

IDLE_FOR_WAITING = 60.0
"""An idle node stays at least so long while a pod waits that would fit on it."""

# Starting -----------------------------------------------------------------------------------------


def start_here(world: World, agent: Agent) -> str:
    """Why no node can be started on this agent now, or empty."""
    if not agent.active:
        return f"{agent.hostname} is disconnected from Mesos"
    if agent.draining:
        return f"{agent.hostname} is being drained by Mesos"
    if agent.id in world.maintenance:
        return f"{agent.hostname} is wanted back: {world.maintenance[agent.id]}"
    if world.now < agent.not_before:
        return (
            f"a node failed on {agent.hostname}; next try in {agent.not_before - world.now:.0f} s"
        )
    other = world.runs.get(agent.hostname)
    if other is not None:
        return f"{agent.hostname} is a node already"
    if world.leftover(agent.hostname):
        return f"the Node {agent.hostname} of the executor before is being deleted"
    if agent.executor_info is not None:
        return f"{agent.hostname} runs an executor without a node, which is being ended"
    if runs_unseen(world, agent):
        return f"{agent.hostname} runs a node that km has yet to look at"
    return ""


def startable(world: World, agent: Agent, why: str) -> None:
    """What kept a node from being started on this agent may have passed."""
    world.note_nodeless(agent)
    if world.waiting and not agent.held:
        world.want_offers(why)
    world.plan_soon()


def runs_unseen(world: World, agent: Agent) -> bool:
    """Whether Mesos offers an agent with an executor of ours that is not in our books.

    So it is after a master's failover: what an agent runs is listed when it is back, and it may be
    offered before we have asked.
    """
    name = executor_id(agent.hostname)
    return world.run_of(agent) is None and any(
        name in held.offer.executors and not world.ended_after(name, held.since)
        for held in agent.held.values()
    )


def start(world: World, agent: Agent, reason: str) -> bool:
    """Launch the executor and the node's task from the offers in our hands; False if too small."""
    rules = world.rules
    by_role: dict[str, list[Offer]] = {}
    for held in agent.held.values():
        by_role.setdefault(held.offer.role, []).append(held.offer)
    for offers in by_role.values():
        pieces = tuple(piece for offer in offers for piece in offer.pieces)
        first = take(pieces, rules.executor)
        second = take(first[1], rules.node_task) if first else None
        if first and second:
            _launch(world, agent, offers, (first[0], second[0]), reason)
            return True
    return False


def _launch(
    world: World,
    agent: Agent,
    offers: list[Offer],
    resources: tuple[list[dict[str, object]], list[dict[str, object]]],
    reason: str,
) -> None:
    rules, ledger, name = world.rules, world.ledger, agent.hostname
    info = executor_info(rules, world.framework_id, name, resources[0])
    task = node_task(
        rules,
        world.framework_id,
        agent,
        number=world.number(),
        info=info,
        resources=resources[1],
    )
    task_id = str(task["task_id"]["value"])
    for offer in offers:
        ledger.release(offer.id)
    ledger.run_executor(agent, info, rules.executor)
    ledger.run_task(Task(task_id, agent.id, "", rules.node_task, world.now))
    run = NodeRun(name, agent.id, executor_id(name), task_id, world.now)
    run.version, run.why, run.is_new = rules.node_version, reason, True
    world.runs[name] = run
    world.nodeless.pop(agent.id, None)
    world.counters["nodes.started"] += 1
    world.timers.set(Alarm("node", name), world.now + rules.start_seconds)
    # There is no Node object yet; `kubectl describe` looks for events by its name as uid as well.
    world.tell(Node(name=name, uid=name), "NodeStarting", reason)
    renamed = renamed_attributes(agent.attributes)
    world.do(
        Accept(
            reason=f"start node {name}: {reason}{'; ' + renamed if renamed else ''}",
            offer_ids=tuple(offer.id for offer in offers),
            agent_id=agent.id,
            task_infos=(task,),
        )
    )


def start_failed(world: World, name: str, why: str) -> None:
    """The ACCEPT with a node's start did not reach the master."""
    run = world.runs.get(name)
    if run is not None and run.phase == STARTING:
        ended(world, run, f"Mesos did not take the launch: {why}")


def mesos_drains(world: World, run: NodeRun) -> bool:
    """Whether DRAIN_AGENT was called: the master says so, or the agent ends the node's task."""
    agent, task = world.ledger.agents.get(run.agent_id), world.ledger.tasks.get(run.task_id)
    killing = task is not None and task.state == "TASK_KILLING"
    return killing or (agent is not None and agent.draining)


def observe(world: World, run: NodeRun) -> None:
    """Look at what Mesos and Kubernetes say about a node, and move it on."""
    if mesos_drains(world, run):
        drain(world, run, "maintenance", "Mesos drains the agent")
    node, agent = world.nodes.get(run.name), world.ledger.agents.get(run.agent_id)
    task = world.ledger.tasks.get(run.task_id)
    if node is None or agent is None or task is None:
        return
    if run.phase == STARTING and node.ready and task.state == "TASK_RUNNING":
        _is_ready(world, run, node, agent)
    if run.phase == READY:
        look_idle(world, run)
    _adjust(world, run, node, agent)


def _is_ready(world: World, run: NodeRun, node: Node, agent: Agent) -> None:
    world.enter(run, READY)
    run.ready_at = world.now
    world.last_ready = world.now
    agent.failures = 0
    world.counters["nodes.ready"] += 1
    world.timers.clear(Alarm("node", run.name))
    world.plan_soon()
    if run.is_new:
        run.is_new = False
        world.tell(node, "NodeReady", f"{world.now - run.started_at:.1f} s after its launch")


def _adjust(world: World, run: NodeRun, node: Node, agent: Agent) -> None:
    """Bring the Node object to what is meant: our own cordon and taint, and labels that lack.

    Asked again until the watch shows it, so that a change that failed needs no other memory. An
    operator's cordon is left alone.
    """
    wanted = node_labels(world.rules, agent)
    wanted.pop(VERSION_LABEL, None)
    run.version = node.labels.get(VERSION_LABEL, run.version)
    missing = {key: value for key, value in wanted.items() if node.labels.get(key) != value}
    cordon = _cordon(world, run, node)
    tainted = any(t.key == AGENT_UNREACHABLE.key for t in node.taints)
    taint = run.phase == UNREACHABLE and not tainted
    untaint = run.phase != UNREACHABLE and tainted
    stale = run.phase != DRAINING and not node.unschedulable and CORDONED_BY_KM in node.annotations
    if cordon is None and not (missing or taint or untaint or stale):
        return
    if Alarm("adjusted", run.name) in world.timers:
        return
    kept = run.drain.reason if cordon and run.drain is not None else None
    _update(
        world,
        UpdateNode(
            reason=f"{run.name} is {run.phase}",
            node=run.name,
            unschedulable=cordon,
            # An operator's uncordon leaves our mark behind: the next cordon would pass for ours.
            annotations={CORDONED_BY_KM: kept} if stale or cordon is not None else None,
            add_taints=(AGENT_UNREACHABLE,) if taint else (),
            remove_taints=(AGENT_UNREACHABLE,) if untaint else (),
            labels=dict(missing) or None,
        ),
    )


def _cordon(world: World, run: NodeRun, node: Node) -> bool | None:
    """Whether we have to cordon (True) or uncordon (False) the node; None: neither."""
    if run.phase == DRAINING:
        return None if node.unschedulable else True
    ours = node.unschedulable and not node.cordoned_by_operator
    meant = run.phase not in (STARTING, READY) or mesos_drains(world, run)
    return False if ours and not meant else None


def _update(world: World, action: UpdateNode) -> None:
    """Change a Node object, and look in a while whether it is so."""
    world.timers.set(Alarm("adjusted", action.node), world.now + world.rules.retry_seconds)
    world.do(action)


# Idle and drained ---------------------------------------------------------------------------------


def look_idle(world: World, run: NodeRun) -> None:
    """Note since when a node is idle; on demand, it leaves after a time.

    A node that an operator cordoned stays: the next one on its agent would take pods.
    """
    if world.cordoned_by_operator(run.name):
        run.idle_since = None
        return
    busy = run.agent_id in world.queues or next(world.guests(run.name), None) is not None
    if busy or world.rules.nodes == EVERY_AGENT or run.phase != READY:
        run.idle_since = None
        return
    if any(bind.node == run.name for bind in world.binds.values()):
        run.idle_since = None
        return
    if run.idle_since is None:
        run.idle_since = world.now
    leaves = run.idle_since + world.rules.idle_seconds
    if leaves > world.now:
        world.timers.sooner(Alarm("node", run.name), leaves)


def drain(world: World, run: NodeRun, kind: str, reason: str) -> None:
    """Cordon a node and begin to evict its pods. Once begun for maintenance, it stays so.

    Not before all pods are known: a node with none would be ended at once.
    """
    if run.phase not in (READY, STARTING) or not world.synced:
        return
    node = world.nodes.get(run.name)
    world.enter(run, DRAINING, reason)
    run.drain = Drain(kind, reason)
    world.counters["nodes.drained"] += 1
    if node is not None:
        world.tell(node, "Draining", reason)
        if not node.unschedulable:
            _update(
                world,
                UpdateNode(
                    reason=reason,
                    node=run.name,
                    unschedulable=True,
                    annotations={CORDONED_BY_KM: reason},
                ),
            )
    for bind in [b for b in world.queues.get(run.agent_id, {}).values() if not b.adopts]:
        fail(world, bind, f"{run.name} is being drained: {reason}")
    step_drain(world, run)


def undrain(world: World, run: NodeRun, reason: str) -> None:
    """Call a drain off: the node is wanted after all."""
    if run.phase != DRAINING:
        return
    world.enter(run, READY)
    run.drain, run.idle_since = None, None
    node = world.nodes.get(run.name)
    if node is not None and not node.cordoned_by_operator:
        _update(
            world,
            UpdateNode(
                reason=reason,
                node=run.name,
                unschedulable=False,
                annotations={CORDONED_BY_KM: None},
            ),
        )


def step_drain(world: World, run: NodeRun) -> None:
    """Ask the pods that are left to go; when none is, end the executor."""
    if run.phase != DRAINING or run.drain is None:
        return
    guests = list(world.guests(run.name))
    on_the_way = [bind for bind in world.binds.values() if bind.node == run.name]
    if run.drain.kind == "idle" and (guests or on_the_way):
        undrain(world, run, f"{run.name} is used again")
        return
    for pod in guests:
        due = run.drain.asked.get(pod.uid, float("-inf"))
        if pod.deleting or world.now < due:
            continue
        run.drain.asked[pod.uid] = world.now + world.rules.evict_retry_seconds
        world.do(
            EvictPod(
                reason=f"{run.name} is drained: {run.drain.reason}",
                uid=pod.uid,
                namespace=pod.namespace,
                name=pod.name,
            )
        )
    if guests or on_the_way:
        world.timers.set(Alarm("node", run.name), world.now + world.rules.evict_retry_seconds)
    else:
        stop(world, run, f"{run.name} is empty: {run.drain.reason}")


def stop(world: World, run: NodeRun, reason: str) -> None:
    """End the executor; asked again until Mesos says that it ended."""
    world.enter(run, STOPPING, reason)
    world.do(ShutdownExecutor(reason=reason, executor_id=run.executor_id, agent_id=run.agent_id))
    pause = world.rules.executor_grace + world.rules.retry_seconds
    world.timers.set(Alarm("node", run.name), world.now + pause)


# Lost and ended -----------------------------------------------------------------------------------


def unreachable(world: World, run: NodeRun) -> None:
    """The master lost sight of the agent: no new pods at once; what runs there may still run."""
    if run.phase == UNREACHABLE:
        return
    world.enter(run, UNREACHABLE, "Mesos can not reach its agent")
    run.drain = None
    world.counters["nodes.unreachable"] += 1
    node = world.nodes.get(run.name)
    if node is not None:
        world.tell(node, "AgentUnreachable", run.why, warning=True)
        _update(
            world,
            UpdateNode(reason=run.why, node=run.name, add_taints=(AGENT_UNREACHABLE,)),
        )
    for bind in list(world.queues.get(run.agent_id, {}).values()):
        fail(world, bind, f"{run.name}: {run.why}")
    pause = world.rules.unreachable_seconds
    world.timers.set(Alarm("node", run.name), world.now + pause)


def reachable(world: World, run: NodeRun) -> None:
    """The agent is back, and its executor with it."""
    if run.phase != UNREACHABLE:
        return
    world.enter(run, STARTING, "its agent is back")
    world.timers.set(Alarm("node", run.name), world.now + world.rules.start_seconds)
    observe(world, run)


def ended(world: World, run: NodeRun, why: str) -> None:
    """The executor is gone, and all that ran in it: so are the Node and its pods."""
    drained_by_mesos = run.drain is not None and run.drain.kind == "maintenance"
    meant = run.phase == STOPPING or (run.phase == DRAINING and drained_by_mesos)
    world.runs.pop(run.name, None)
    world.ready.pop(run.name, None)
    world.timers.clear(Alarm("node", run.name))
    world.counters["nodes.ended" if meant else "nodes.lost"] += 1
    agent = world.ledger.agents.get(run.agent_id)
    tasks = world.ledger.end_executor(agent) if agent is not None else []
    world.note_ended(run.executor_id)
    for task in tasks:
        world.note_ended(task.id)
        world.timers.clear(Alarm("kill", task.id))
    if agent is not None and not meant:
        _back_off(world, agent)
    for bind in [b for b in world.binds.values() if b.node == run.name]:
        fail(world, bind, f"node {run.name} ended: {why}")
    node = world.nodes.get(run.name)
    if node is not None and not meant:
        world.tell(node, "NodeLost", why, warning=True)
    clear_node(world, run.name, why)
    if agent is not None:
        world.note_nodeless(agent)
    world.plan_soon()


def _back_off(world: World, agent: Agent) -> None:
    rules = world.rules
    agent.failures += 1
    pause = min(rules.start_backoff * 2 ** (agent.failures - 1), rules.start_backoff_most)
    agent.not_before = world.now + pause
    world.timers.set(Alarm("backoff", agent.id), agent.not_before)


def clear_node(world: World, name: str, why: str) -> None:
    """Delete a Node object that has no executor, and the pods bound to it."""
    for pod in list(world.pods_on(name).values()):
        if not pod.mirror:
            delete_pod(world, pod, f"node {name} ended: {why}", 0)
    node = world.nodes.get(name)
    if node is not None:
        world.do(DeleteNode(reason=why, node=name, uid=node.uid))
        world.timers.set(Alarm("clear", name), world.now + world.rules.retry_seconds)


def clear_again(world: World, name: str) -> None:
    """The Node object, or a pod on it, is still there."""
    if name in world.runs:
        return
    node = world.nodes.get(name)
    if node is not None and node.ours:
        clear_node(world, name, "its executor ended")


def on_alarm(world: World, name: str) -> None:
    """A node's time is up: what that means depends on its phase."""
    run = world.runs.get(name)
    if run is None:
        return
    rules = world.rules
    if run.phase == STARTING and any(world.guests(name)):
        # It was Ready before we looked, or its agent was away. A kubelet that is not Ready is
        # Kubernetes' own business; ended by us, its pods would be lost for certain.
        world.timers.set(Alarm("node", name), world.now + rules.start_seconds)
    elif run.phase == STARTING:
        agent = world.ledger.agents.get(run.agent_id)
        if agent is not None:
            _back_off(world, agent)
        stop(world, run, f"{name} was not Ready within {rules.start_seconds:g} s")
    elif run.phase == READY:
        _leave_if_idle(world, run)
    elif run.phase == DRAINING:
        step_drain(world, run)
    elif run.phase == STOPPING:
        stop(world, run, f"{run.why}; asked again")
    elif run.phase == UNREACHABLE:
        _give_up(world, run)


def _give_up(world: World, run: NodeRun) -> None:
    """A node whose agent has been unreachable for long: it leaves if that can hurt nobody.

    Its pods may run on behind a partition, and a pod of a StatefulSet that was deleted here would
    then run twice. So they stay until Mesos says that the agent is gone (an operator may:
    MARK_AGENT_GONE), or its host is back as another agent. If their kubelet is silent as well,
    Kubernetes itself evicts them, and waits for it before it makes a StatefulSet's anew.
    """
    lost = f"Mesos could not reach its agent for {world.rules.unreachable_seconds:g} s"
    if not any(world.guests(run.name)):
        ended(world, run, f"{lost}, and no pod is on it")
        return
    if any(
        other.hostname == run.name and other.id != run.agent_id and other.active
        for other in world.ledger.agents.values()
    ):
        ended(world, run, f"{lost}, and its host is back as another agent")
        return
    world.timers.set(Alarm("node", run.name), world.now + world.rules.start_seconds)
    node = world.nodes.get(run.name)
    if not run.why.startswith(lost):
        run.why = f"{lost}; its pods are kept until Mesos calls it gone (MARK_AGENT_GONE)"
        if node is not None:
            world.tell(node, "AgentUnreachable", run.why, warning=True)


def _useful(world: World, run: NodeRun) -> bool:
    """Whether a pod that waits would fit: kube-scheduler may still come to it."""
    agent = world.ledger.agents.get(run.agent_id)
    return agent is not None and any(
        agent.fits(shape.need) and may_run(world, shape, agent) for shape in world.waiting
    )


def _leave_if_idle(world: World, run: NodeRun) -> None:
    look_idle(world, run)
    rules = world.rules
    if run.idle_since is None or rules.nodes != ON_DEMAND:
        return
    leaves = run.idle_since + rules.idle_seconds
    if world.now < run.idle_since + IDLE_FOR_WAITING and _useful(world, run):
        world.timers.set(Alarm("node", run.name), world.now + rules.retry_seconds)
    elif world.now >= leaves:
        drain(world, run, "idle", f"no pod for {rules.idle_seconds:g} s")
