"""Three books are kept, ours, Mesos' and Kubernetes'; here they are made to agree.

At the start all of ours is built from the others'; afterwards each GET_STATE and each list of pods
is compared with it. What is missing in Mesos is asked for by name first (RECONCILE), because a
master that was just elected does not know all agents yet; only a definite answer changes anything.
Differences are repaired only when they are older than ``settle_seconds``, and counted:

=============================  =====================================================
difference                     repair
=============================  =====================================================
task without pod               the task is killed
pod on our node without task   a task is launched for it (adopted), or it is deleted
pod larger than its task       put back to the task's size, or evicted
task of ours we did not know   taken over, if its pod or node is there
executor without node task     shut down
Node object without executor   deleted, with its pods
=============================  =====================================================
"""

from __future__ import annotations

from km import resizing
from km.actions import ListMesos, Reconcile, ShutdownExecutor
from km.binding import kill, promise, task_runs
from km.events import MesosListed
from km.launches import parse_task_id
from km.ledger import Agent, Task
from km.lifecycle import clear_node, observe, unreachable
from km.offers import ExecutorRecord, MesosState, TaskRecord, TaskStatus
from km.pods import Pod
from km.timers import Alarm
from km.world import UNREACHABLE, NodeRun, World


def ask_state(world: World, reason: str) -> None:
    """Ask for GET_STATE now, and again after the usual time."""
    rules = world.rules
    world.do(ListMesos(reason=reason))
    pause = rules.list_interval + rules.list_interval_per_agent * len(world.ledger.agents)
    world.timers.set(Alarm("list"), world.now + pause)


def absorb(world: World, event: MesosListed) -> list[TaskStatus]:
    """Take in what the master knows; states of tasks that we were not told of are returned."""
    state = event.state
    for record in state.agents:
        agent = world.ledger.describe(record)
        world.ledger.observe_others(agent, record.others, event.asked_at)
        run = world.run_of(agent)
        if run is not None and agent.draining:
            observe(world, run)
    _drop_agents(world, state, event.asked_at)
    for executor in state.executors:
        _take_executor(world, executor, event.asked_at)
    listed: set[str] = set()
    news: list[TaskStatus] = []
    for task in state.tasks:
        listed.add(task.task_id)
        known = world.ledger.tasks.get(task.task_id)
        if known is None:
            _take_task(world, task, event.asked_at)
        elif known.state != task.state and _later(known.state, task.state):
            news.append(TaskStatus(task_id=task.task_id, state=task.state, agent_id=task.agent_id))
    _drop_executors(world, state)
    for agent in world.ledger.agents.values():
        world.note_nodeless(agent)
    if world.synced:
        _ask_about_missing(world, listed, event.asked_at)
    return news


def _later(known: str, told: str) -> bool:
    """Whether a state in a list (which may be older than the last update) says something new."""
    if "TASK_UNREACHABLE" in (known, told):
        return True
    if told == "TASK_KILLING":
        return True
    return known in ("TASK_STAGING", "TASK_STARTING") and told == "TASK_RUNNING"


def _drop_agents(world: World, state: MesosState, asked_at: float) -> None:
    """Agents that the master does not list and that hold nothing of ours."""
    present = {record.id for record in state.agents} | state.recovering
    for agent in list(world.ledger.agents.values()):
        empty = not agent.held and agent.executor_info is None and not agent.tasks
        if empty and agent.id not in present and agent.heard_of_at < asked_at:
            world.forget_agent(agent)


def _drop_executors(world: World, state: MesosState) -> None:
    """Executors without a node whose end was not told: the master does not list them any more."""
    live = {executor.agent_id for executor in state.executors}
    for record in state.agents:
        agent = world.ledger.agents[record.id]
        orphan = agent.executor_info is not None and world.run_of(agent) is None
        if orphan and record.active and agent.id not in live:
            for task in world.ledger.end_executor(agent):
                world.note_ended(task.id)


def _take_executor(world: World, record: ExecutorRecord, asked_at: float) -> None:
    agent = world.ledger.agents.get(record.agent_id)
    if agent is None:
        agent = world.ledger.agent(record.agent_id, record.executor_id.removeprefix("km-"))
    if agent.executor_info is not None or world.recently_ended(record.executor_id, asked_at):
        return
    world.ledger.run_executor(agent, record.info, record.resources)


def _take_task(world: World, record: TaskRecord, asked_at: float) -> None:
    if world.recently_ended(record.task_id, asked_at):
        return
    kind, subject = parse_task_id(record.task_id)
    agent = world.ledger.agents.get(record.agent_id)
    if agent is None:
        hostname = subject if kind == "node" else record.executor_id.removeprefix("km-")
        agent = world.ledger.agent(record.agent_id, hostname)
    task = Task(
        record.task_id,
        agent.id,
        subject if kind == "pod" else "",
        record.resources,
        world.now - world.rules.settle_seconds,
        limits=record.limits,
    )
    task.state = record.state
    world.note_number(_number(task))
    world.ledger.run_task(task)
    world.counters["tasks.taken_over"] += 1
    if kind == "node":
        _take_node(world, agent, task, record)


def _take_node(world: World, agent: Agent, task: Task, record: TaskRecord) -> None:
    """A node that ran before we did: go on with it."""
    name = agent.hostname
    if name in world.runs:
        return
    run = NodeRun(name, agent.id, record.executor_id, task.id, world.now)
    run.why = "it ran before km did"
    world.runs[name] = run
    world.nodeless.pop(agent.id, None)
    world.timers.set(Alarm("node", name), world.now + world.rules.start_seconds)
    if record.state == "TASK_UNREACHABLE":
        unreachable(world, run)
    else:
        observe(world, run)


def _ask_about_missing(world: World, listed: set[str], asked_at: float) -> None:
    """Tasks of ours that the master did not list: ask by name, and believe only the answer."""
    before = asked_at - world.rules.settle_seconds
    missing = tuple(
        (task.id, task.agent_id)
        for task in world.ledger.tasks.values()
        if task.id not in listed and task.launched_at <= before
    )
    if missing:
        world.counters["differences.task_unlisted"] += len(missing)
        world.do(Reconcile(reason="Mesos does not list these tasks", tasks=missing))


# Explicit and implicit reconciliation -------------------------------------------------------------


def begin(world: World) -> None:
    """Ask for every task by name, again and again until answered.

    After each (re)subscription, and when a new term has its books: it had no tasks to name before.
    """
    world.unconfirmed = dict.fromkeys(world.ledger.tasks)
    world.reconcile_pause = world.rules.reconcile_first
    explicit(world)
    world.timers.set(Alarm("implicit"), world.now + world.rules.implicit_interval)


def explicit(world: World) -> None:
    """Ask for the tasks whose state has not been confirmed since the subscription."""
    tasks = tuple(
        (task_id, world.ledger.tasks[task_id].agent_id)
        for task_id in world.unconfirmed
        if task_id in world.ledger.tasks
    )
    world.unconfirmed = {task_id: None for task_id, _ in tasks}
    if not tasks or not world.connected:
        return
    world.do(Reconcile(reason=f"{len(tasks)} tasks to be confirmed", tasks=tasks))
    world.timers.set(Alarm("explicit"), world.now + world.reconcile_pause)
    world.reconcile_pause = min(world.reconcile_pause * 2, world.rules.reconcile_most)


def implicit(world: World) -> None:
    """Ask for everything: finds tasks that we do not know."""
    if world.connected:
        world.do(Reconcile(reason="all tasks, as a matter of routine", tasks=()))
    world.timers.set(Alarm("implicit"), world.now + world.rules.implicit_interval)


# Mesos against Kubernetes -------------------------------------------------------------------------


def compare(world: World) -> None:
    """Go through all tasks, pods, executors and nodes; at the start and now and then."""
    if not world.synced:
        return
    for task in list(world.ledger.tasks.values()):
        compare_task(world, task)
    for agent in list(world.ledger.agents.values()):
        _compare_executor(world, agent)
    for name in list(world.nodes):
        compare_node(world, name)
    for name in list(world.runs):
        for pod in list(world.pods_on(name).values()):
            compare_pod(world, pod)
    world.timers.set(Alarm("compare"), world.now + world.rules.list_interval)


def compare_task(world: World, task: Task) -> None:
    """A pod's task whose pod is not there, or is somewhere else."""
    if task.killing or task.uid in world.binds or not world.synced:
        return
    agent = world.ledger.agents.get(task.agent_id)
    if not task.uid:
        run = world.run_of(agent) if agent else None
        if run is None or run.task_id != task.id:
            _repair_task(world, task, "no node belongs to it")
        return
    pod = world.pods.get(task.uid)
    if pod is None or pod.finished:
        _repair_task(world, task, "its pod is gone" if pod is None else f"its pod {pod.phase}")
    elif agent is not None and pod.node == agent.hostname:
        if _number(task) < max(_number(other) for other in world.ledger.tasks_of(pod.uid)):
            _repair_task(world, task, "its pod has a later task")
        else:
            task.bound = True
    elif pod.node:
        _repair_task(world, task, f"its pod is on {pod.node}")
    elif Alarm("confirm", task.id) not in world.timers:
        _repair_task(world, task, "its pod was never bound")


def _number(task: Task) -> int:
    """Task ids end in a number that only grows, also from one km to the next."""
    return int(task.id.rpartition(".")[2])


def _repair_task(world: World, task: Task, why: str) -> None:
    if world.now - task.launched_at >= world.rules.settle_seconds or task.bound:
        world.counters["differences.task_without_pod"] += 1
        kill(world, task, why)


def compare_pod(world: World, pod: Pod) -> None:
    """A pod that runs on our node without a task."""
    if not world.synced or not pod.node or pod.finished or pod.mirror or pod.uid in world.binds:
        return
    run = world.runs.get(pod.node)
    if run is None or run.phase == UNREACHABLE or pod.deleting:
        return
    for task in world.ledger.tasks_of(pod.uid):
        if task.agent_id == run.agent_id and not task.killing:
            task.bound = True
            if task.state == "TASK_RUNNING":
                task_runs(world, task)
            resizing.compare(world, pod, task)
            return
    agent = world.ledger.agents.get(run.agent_id)
    if agent is None or agent.executor_info is None:
        return
    world.counters["differences.pod_without_task"] += 1
    promise(world, pod, agent, world.now + world.rules.adopt_seconds)


def _compare_executor(world: World, agent: Agent) -> None:
    """An executor whose node task is gone: nothing of it can be used again."""
    if agent.executor_info is None or world.run_of(agent) is not None:
        return
    name = str(agent.executor_info["executor_id"]["value"])
    if Alarm("orphan", agent.id) in world.timers:
        return
    world.timers.set(Alarm("orphan", agent.id), world.now + world.rules.settle_seconds)
    world.counters["differences.executor_without_node"] += 1
    world.do(ShutdownExecutor(reason="it has no node task", executor_id=name, agent_id=agent.id))


def compare_node(world: World, name: str) -> None:
    """A Node object that says it is ours and has no executor."""
    node = world.nodes[name]
    if not node.ours or name in world.runs:
        return
    agent_id = node.provider_id.rpartition("/")[2]
    if agent_id in world.recovering or Alarm("clear", name) in world.timers:
        return
    world.counters["differences.node_without_executor"] += 1
    clear_node(world, name, "its executor is gone")
