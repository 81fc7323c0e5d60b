"""A pod's way to its node: promised, launched together with others, running, bound.

``bind`` promises the pod its share and waits for an offer on that agent; binds for one agent are
gathered for a few milliseconds and leave in one ACCEPT, because what is left of an accepted offer
comes back only with the next allocation. When the task runs, the pod is bound; whatever goes wrong
on the way sends the pod back to kube-scheduler's queue, with the reason, and the books are set
right. A pod that is bound already but has no task (km was killed in between, or Mesos lost it)
takes the same way: it is *adopted*.
"""

from __future__ import annotations

from km.actions import Accept, AnswerBind, BindPod, DeletePod, KillTask
from km.events import BindRequested
from km.launches import pod_task, pod_task_id
from km.ledger import Agent, Task
from km.offers import Offer, Piece, TaskStatus, take
from km.placement import NO_AGENT, PHASES, UNSEEN_WHY, too_full
from km.pods import Pod
from km.timers import Alarm
from km.world import READY, Bind, World


def request(world: World, event: BindRequested) -> None:
    """kube-scheduler chose a node: promise the share, or say at once why not."""
    refused = _refusal(world, event)
    if refused:
        answer(world, event.request_id, refused)
        return
    present = world.binds.get(event.uid)
    if present is not None:
        if present.request_id is not None:
            answer(world, present.request_id, "asked for again")
        present.request_id = event.request_id
        return
    pod = world.pods.get(event.uid)
    assert pod is not None
    agent = world.ledger.on_host(event.node)
    assert agent is not None
    bind = promise(world, pod, agent, world.now + world.rules.bind_seconds)
    bind.request_id = event.request_id


def _refusal(world: World, event: BindRequested) -> str:
    """Why a bind is hopeless, or empty."""
    if not world.synced:
        return "km is still reading the state of Mesos and Kubernetes"
    pod = world.pods.get(event.uid)
    if pod is None:
        return f"km does not know pod {event.namespace}/{event.name} yet"
    present = world.binds.get(event.uid)
    if present is not None:
        same = present.node == event.node
        return "" if same else f"{pod.full_name} is on its way to {present.node}"
    if not pod.waits:
        return f"{pod.full_name} is no longer waiting for a node"
    for task in world.ledger.tasks_of(pod.uid):
        return f"task {task.id} of an earlier try is still ending"
    agent, run = world.ledger.on_host(event.node), world.runs.get(event.node)
    if agent is None or run is None or run.phase != READY:
        return f"{event.node} {PHASES.get(run.phase, NO_AGENT) if run else NO_AGENT}"
    if not agent.fits(pod.need):
        return too_full(agent, pod.need)
    return ""


def promise(world: World, pod: Pod, agent: Agent, deadline: float) -> Bind:
    """Set the pod's share aside and queue it for the next offer on its agent."""
    bind = Bind(pod, agent.hostname, agent.id, world.now)
    bind.deadline = deadline
    world.unwait(pod)
    world.binds[pod.uid] = bind
    world.ledger.promise(agent, bind.need)
    world.queues.setdefault(agent.id, {})[pod.uid] = bind
    world.timers.set(Alarm("bind", pod.uid), deadline)
    if agent.held:
        world.timers.sooner(Alarm("flush", agent.id), world.now + world.rules.gather_seconds)
    else:
        world.want_offers(f"{pod.full_name} is promised room on {agent.hostname}")
    return bind


def changed(world: World, bind: Bind, pod: Pod) -> None:
    """A pod changed on its way; until it is launched, so does what is promised to it."""
    bind.pod = pod
    agent = world.ledger.agents.get(bind.agent_id)
    if bind.stage == "promised" and agent is not None and bind.need != pod.need:
        world.ledger.unpromise(agent, bind.need)
        bind.need = pod.need
        world.ledger.promise(agent, bind.need)


def answer(world: World, request_id: int | None, error: str) -> None:
    if request_id is not None:
        why = error or "bound"
        world.do(AnswerBind(reason=why, request_id=request_id, error=error))


# Launching ----------------------------------------------------------------------------------------


def flush(world: World, agent_id: str) -> None:
    """Launch all that waits for this agent from the offers in our hands, one ACCEPT per role."""
    queue = world.queues.get(agent_id)
    agent = world.ledger.agents.get(agent_id)
    if not queue or agent is None:
        return
    run = world.run_of(agent)
    if run is None or agent.executor_info is None:
        for bind in list(queue.values()):
            fail(world, bind, f"{agent.hostname} {NO_AGENT} any more")
        return
    by_role: dict[str, list[Offer]] = {}
    for held in agent.held.values():
        by_role.setdefault(held.offer.role, []).append(held.offer)
    for offers in by_role.values():
        _launch(world, agent, offers, list(queue.values()))
    if queue:
        world.want_offers(f"{len(queue)} pods wait for more of {agent.hostname}")


def _launch(world: World, agent: Agent, offers: list[Offer], binds: list[Bind]) -> None:
    """Cut as many of the binds as fit out of offers of one role, and accept those."""
    pieces: tuple[Piece, ...] = tuple(piece for offer in offers for piece in offer.pieces)
    if len(offers) > 1:
        pieces = tuple(sorted(pieces, key=lambda piece: not piece.reserved))
    info = agent.executor_info
    assert info is not None
    infos = []
    names = []
    for bind in binds:
        taken = take(pieces, bind.need)
        if taken is None:
            continue
        resources, pieces = taken
        bind.task_id = pod_task_id(bind.pod.uid, world.number())
        bind.stage = "launched"
        infos.append(pod_task(bind.pod, agent, bind.task_id, info, resources))
        names.append(bind.pod.full_name)
        _move_to_used(world, agent, bind)
    if not infos:
        return
    for offer in offers:
        world.ledger.release(offer.id)
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    world.do(
        Accept(
            reason=f"{len(names)} pods on {agent.hostname}: {shown}",
            offer_ids=tuple(offer.id for offer in offers),
            agent_id=agent.id,
            task_infos=tuple(infos),
        )
    )
    if world.waiting:
        world.want_offers(f"pods wait and {agent.hostname} may have more")


def _move_to_used(world: World, agent: Agent, bind: Bind) -> None:
    uid = bind.pod.uid
    world.queues[agent.id].pop(uid, None)
    if not world.queues[agent.id]:
        del world.queues[agent.id]
    agent.promised = agent.promised - bind.need
    task = Task(bind.task_id, agent.id, uid, bind.need, world.now, limits=bind.pod.limits)
    world.ledger.run_task(task)


# What became of it --------------------------------------------------------------------------------


def task_runs(world: World, task: Task) -> None:
    """The kernel grants the share: bind the pod, unless it runs there already."""
    bind = world.binds.get(task.uid)
    if bind is None or bind.task_id != task.id or bind.stage != "launched":
        return
    if bind.adopts:
        task.bound = True
        world.counters["pods.adopted"] += 1
        _forget(world, bind)
        return
    bind.stage = "binding"
    _post(world, bind)


def _post(world: World, bind: Bind) -> None:
    pod = bind.pod
    world.do(
        BindPod(
            reason=f"task {bind.task_id} runs on {bind.node}",
            uid=pod.uid,
            namespace=pod.namespace,
            name=pod.name,
            node=bind.node,
        )
    )


def bound(world: World, uid: str) -> None:
    """The API server took the Binding."""
    bind = world.binds.get(uid)
    if bind is None or bind.stage != "binding":
        return
    task = world.ledger.tasks.get(bind.task_id)
    if task is not None:
        task.bound = True
    world.counters["pods.bound"] += 1
    world.rejected.pop(uid, None)
    answer(world, bind.request_id, "")
    _forget(world, bind)


def binding_failed(world: World, uid: str, message: str, code: int | None) -> None:
    """The Binding was refused, or nobody knows: then it is asked for again until the deadline."""
    bind = world.binds.get(uid)
    if bind is None or bind.stage != "binding":
        return
    if code is not None and 400 <= code < 500 and code != 429:
        fail(world, bind, f"the API server refused the binding: {message}")
    else:
        world.timers.set(Alarm("post", uid), world.now + min(world.rules.retry_seconds, 1.0))


def post_again(world: World, uid: str) -> None:
    bind = world.binds.get(uid)
    if bind is not None and bind.stage == "binding":
        _post(world, bind)


def launch_failed(world: World, action: Accept, message: str) -> None:
    """An ACCEPT did not reach the master: the pods wait again, as if never launched."""
    for info in action.task_infos:
        task = world.ledger.tasks.get(str(info["task_id"]["value"]))
        if task is None:
            continue
        world.ledger.end_task(task)
        bind = world.binds.get(task.uid)
        if bind is not None and bind.task_id == task.id:
            fail(world, bind, f"Mesos did not take the launch: {message}")


def task_ended(world: World, task: Task, status: TaskStatus) -> None:
    """Mesos says that a pod's task is no more; the books know already."""
    bind = world.binds.get(task.uid)
    said = status.message or status.reason or status.state
    if bind is not None and bind.task_id == task.id:
        fail(world, bind, f"task {task.id} ended before it ran: {status.state}: {said}")
        return
    pod = world.pods.get(task.uid)
    if task.killing or pod is None or pod.finished or not pod.node:
        return
    # The pod runs on what nobody grants any more. Its kubelet is alive (else the whole node
    # goes), so it ends in its own time and its owner replaces it.
    why = f"its Mesos task ended: {status.state}: {said}"
    world.counters["pods.deleted"] += 1
    world.tell(pod, "TaskLost", why, warning=True)
    delete_pod(world, pod, why, None)


def fail(world: World, bind: Bind, why: str) -> None:
    """Give up on a bind: the share is free again, the pod waits again, its task (if any) ends."""
    world.counters["binds.failed"] += 1
    agent = world.ledger.agents.get(bind.agent_id)
    if agent is not None:
        agent.nudged = ""
    if bind.stage == "promised" and agent is not None:
        world.ledger.unpromise(agent, bind.need)
    task = world.ledger.tasks.get(bind.task_id)
    answer(world, bind.request_id, why)
    _forget(world, bind)
    if task is not None:
        kill(world, task, f"{bind.pod.full_name}: {why}")
    pod = world.pods.get(bind.pod.uid)
    if pod is None:
        return
    if bind.adopts:
        if not (pod.finished or pod.deleting):
            _not_adopted(world, pod, why)
    else:
        world.rejected[pod.uid] = why
        _waits_again(world, pod)


def _waits_again(world: World, pod: Pod) -> None:
    """A pod is back in the queue: what was enough for it before may not be now."""
    world.note_waiting(pod)
    if pod.uid in world.waiting.get(pod.shape, ()):
        world.want_offers(f"{pod.full_name} waits again")
        world.plan_soon()


def _not_adopted(world: World, pod: Pod, why: str) -> None:
    message = f"it runs on {pod.node} without a Mesos task, and none could be launched: {why}"
    world.tell(pod, "TaskMissing", message, warning=True)
    delete_pod(world, pod, message, None)


def _forget(world: World, bind: Bind) -> None:
    uid = bind.pod.uid
    world.binds.pop(uid, None)
    queue = world.queues.get(bind.agent_id)
    if queue is not None:
        queue.pop(uid, None)
        if not queue:
            del world.queues[bind.agent_id]
    world.timers.clear(Alarm("bind", uid))
    world.timers.clear(Alarm("post", uid))


def expire(world: World, uid: str) -> None:
    """A bind's time is up."""
    bind = world.binds.get(uid)
    if bind is None:
        return
    waited = f"within {world.now - bind.started_at:.0f} s"
    if bind.stage == "binding":
        _leave_unconfirmed(world, bind)
    elif bind.stage == "launched":
        fail(world, bind, f"task {bind.task_id} did not come to run {waited}")
    else:
        _not_offered(world, bind, waited)


def _not_offered(world: World, bind: Bind, waited: str) -> None:
    agent = world.ledger.agents.get(bind.agent_id)
    if agent is not None and agent.held:
        world.ledger.unpromise(agent, bind.need)
        why = f"{too_full(agent, bind.need)}; no more came {waited}"
        world.ledger.promise(agent, bind.need)
        fail(world, bind, why)
        return
    if agent is not None:
        agent.was_not_offered(bind.need, world.now)
    fail(world, bind, f"no offer of {bind.node} came {waited} ({UNSEEN_WHY})")


def _leave_unconfirmed(world: World, bind: Bind) -> None:
    """The Binding may have happened: keep the task until the watch tells, then decide."""
    answer(world, bind.request_id, "the API server did not answer in time")
    uid, task_id = bind.pod.uid, bind.task_id
    _forget(world, bind)
    pod = world.pods.get(uid)
    if pod is not None:
        _waits_again(world, pod)
    world.timers.set(Alarm("confirm", task_id), world.now + world.rules.settle_seconds)


def confirm(world: World, task_id: str) -> None:
    """By now the watch has told whether the Binding happened."""
    task = world.ledger.tasks.get(task_id)
    if task is not None and not task.bound and task.uid not in world.binds:
        kill(world, task, "its pod was not bound")


# Ending -------------------------------------------------------------------------------------------


def kill(world: World, task: Task, why: str) -> None:
    """End a task, and ask again until Mesos says that it ended."""
    task.killing += 1
    world.do(KillTask(reason=why, task_id=task.id, agent_id=task.agent_id))
    pause = min(world.rules.retry_seconds * 2 ** (task.killing - 1), 300.0)
    world.timers.set(Alarm("kill", task.id), world.now + pause)


def kill_again(world: World, task_id: str) -> None:
    task = world.ledger.tasks.get(task_id)
    if task is not None:
        kill(world, task, "it was told to end before and has not")


def delete_pod(world: World, pod: Pod, why: str, grace: int | None) -> None:
    world.do(
        DeletePod(
            reason=why, uid=pod.uid, namespace=pod.namespace, name=pod.name, grace_seconds=grace
        )
    )
