"""Carries out `nodes.plan`: sums up what waits, starts what was chosen, rolls changes through."""

from __future__ import annotations

from collections import Counter

from km import explaining
from km.ledger import Agent
from km.lifecycle import drain, start, start_here
from km.nodes import Candidate, Demand, plan
from km.offering import decline
from km.placement import may_run
from km.pods import Shape
from km.resources import Resources
from km.timers import Alarm
from km.world import DRAINING, READY, STARTING, STOPPING, Tried, World


def run_plan(world: World) -> None:
    """Choose agents to start nodes on, start them, give back the offers that were not chosen."""
    if not world.waiting or not world.synced:
        return
    existing, starting, agents = _candidates(world)

    def runs_there(shape: Shape, name: str) -> bool:
        agent = world.ledger.on_host(name)
        return agent is not None and may_run(world, shape, agent) and _one_role(world, shape, agent)

    demands = _demands(world)
    choices, unplaced = plan(
        demands,
        existing=existing,
        starting=starting,
        agents=agents,
        may_run=runs_there,
        siblings=_siblings(world),
        tried=lambda shape, name: shape in world.tried and name in world.tried[shape].names,
    )
    _note_tried(world, demands, existing, started=bool(choices))
    for choice in choices:
        agent = world.ledger.on_host(choice.name)
        if agent is not None:
            start(world, agent, choice.reason)
    explaining.note(world, unplaced)
    _give_back(world, "no pod that waits can go there" if unplaced else "no more nodes are needed")


def _one_role(world: World, shape: Shape, agent: Agent) -> bool:
    """Whether one role is offered enough for a pod, and for a node besides where there is none."""
    need = shape.need if world.run_of(agent) is not None else shape.need + world.node_overhead()
    return agent.one_share_covers(need)


def _candidates(world: World) -> tuple[list[Candidate], list[Candidate], list[Candidate]]:
    existing: list[Candidate] = []
    starting: list[Candidate] = []
    for run in world.runs.values():
        agent = world.ledger.agents.get(run.agent_id)
        if agent is None or not world.usable(run):
            continue
        candidate = Candidate(run.name, agent.free, world.labels(agent))
        (existing if run.phase == READY else starting).append(candidate)
    agents: list[Candidate] = []
    overhead = world.node_overhead()
    for agent_id in dict.fromkeys(world.ledger.offers.values()):
        agent = world.ledger.agents[agent_id]
        if world.run_of(agent) is not None or start_here(world, agent):
            continue
        room = agent.offered() - overhead
        if room.covers(Resources(cpus=1, mem=1)):
            agents.append(Candidate(agent.hostname, room, world.labels(agent)))
    return existing, starting, agents


def _demands(world: World) -> list[Demand]:
    """Waiting pods by shape; pods of DaemonSets never ask for a node."""
    demands: list[Demand] = []
    patience = world.rules.unschedulable_patience
    since = world.last_ready
    world.tried = {shape: tried for shape, tried in world.tried.items() if shape in world.waiting}
    for shape, group in world.waiting.items():
        early = shape in world.tried and world.now < world.tried[shape].next_at
        by_priority: Counter[int] = Counter()
        refused: Counter[int] = Counter()
        for uid, pod in group.items():
            if pod.daemon:
                continue
            by_priority[pod.priority] += 1
            told = world.unschedulable_since.get(uid)
            if told is not None and max(told, since) + patience <= world.now and not early:
                refused[pod.priority] += 1
        demands.extend(
            Demand(shape, count, priority, refused[priority])
            for priority, count in by_priority.items()
        )
    if any(uid in world.unschedulable_since for group in world.waiting.values() for uid in group):
        world.timers.sooner(Alarm("plan"), world.now + patience)
    return demands


def _note_tried(
    world: World, demands: list[Demand], existing: list[Candidate], *, started: bool
) -> None:
    """Remember where pods were refused, and be more patient the more often that was so.

    kube-scheduler has reasons that km can not know (volumes, affinity between pods): other agents
    may suit, or none may, and then nodes must not be started one after another for ever.
    """
    rules = world.rules
    for demand in demands:
        if not demand.refused:
            continue
        waiting = len(world.waiting[demand.shape])
        tried = world.tried.setdefault(demand.shape, Tried(rules.unschedulable_patience))
        tried.names.update(candidate.name for candidate in existing)
        if not started:
            continue
        if waiting < tried.count:  # it helped
            tried.pause = rules.unschedulable_patience
        tried.count, tried.next_at = waiting, world.now + tried.pause
        tried.pause = min(2 * tried.pause, rules.unschedulable_patience_most)


def _siblings(world: World) -> dict[tuple[str, str], int]:
    """Where siblings of waiting pods are already, for the shapes that care."""
    caring = {shape.siblings for shape in world.waiting if shape.siblings}
    found: Counter[tuple[str, str]] = Counter()
    if caring:
        for name in world.runs:
            for pod in world.pods_on(name).values():
                if pod.shape.siblings in caring:
                    found[pod.shape.siblings, name] += 1
    return found


def _give_back(world: World, why: str) -> None:
    """Offers of agents that stay without a node go back."""
    offers = [
        offer_id
        for offer_id, agent_id in world.ledger.offers.items()
        if world.ledger.agents[agent_id].hostname not in world.runs
    ]
    if offers:
        decline(world, offers, why)


def roll(world: World) -> None:
    """Drain the next node that was started with another version, if all others are well.

    A node that an operator cordoned stays as it is: its successor would take pods.
    """
    version = world.rules.node_version
    if not version or not world.synced:
        return
    old = sorted(run.name for run in world.runs.values() if run.version != version)
    if not old:
        return
    world.timers.set(Alarm("roll"), world.now + world.rules.retry_seconds)
    if any(run.phase in (STARTING, DRAINING, STOPPING) for run in world.runs.values()):
        return
    for name in old:
        run = world.runs[name]
        if run.phase == READY and not world.cordoned_by_operator(name):
            drain(
                world, run, "change", f"it runs version {run.version or 'unknown'}, not {version}"
            )
            return
