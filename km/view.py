"""What there is to see: plain data for metrics, the status page and ``km status``."""

from __future__ import annotations

from typing import Any

from km.ledger import Agent
from km.lifecycle import start_here
from km.resources import NOTHING, scalar
from km.rules import EVERY_AGENT
from km.world import World


def view(world: World) -> dict[str, Any]:
    """Everything, as JSON would have it. Shapes:

    ``framework_id``, ``connected``, ``suppressed``, ``synced``; ``nodes``: list of agents with
    their node (see `_agent`); ``pods``: waiting and arriving pods with reasons; ``counters``:
    name to number since the start; ``totals``: numbers of now; ``shares``: who holds what of all
    agents together (see `shares`).
    """
    return {
        "framework_id": world.framework_id,
        "connected": world.connected,
        "suppressed": world.suppressed,
        "synced": world.synced,
        "listed": dict(world.listed),
        "nodes": [_agent(world, agent) for agent in world.ledger.agents.values()],
        "pods": [*world.view_waiting(), *_arriving(world)],
        "counters": dict(world.counters),
        "totals": totals(world),
        "shares": shares(world),
    }


def totals(world: World) -> dict[str, int]:
    """Numbers of now, cheap enough for every scrape."""
    phases = {"starting": 0, "ready": 0, "draining": 0, "stopping": 0, "unreachable": 0}
    for run in world.runs.values():
        phases[run.phase] += 1
    return {
        "agents": len(world.ledger.agents),
        "offers_held": len(world.ledger.offers),
        "tasks": len(world.ledger.tasks),
        "pods_waiting": sum(len(group) for group in world.waiting.values()),
        "pods_binding": len(world.binds),
        **{f"nodes_{phase}": count for phase, count in phases.items()},
    }


def shares(world: World) -> list[dict[str, Any]]:
    """Who holds what of all agents together: ``holder``, ``framework``, ``cpus``, ``mem`` (MiB).

    Holders are ``pods`` and ``nodes`` (ours: pods with what is promised to them; executors with
    kubelet, kube-proxy and flanneld), ``others`` (one entry a framework; without a name: offered to
    somebody at the moment, or not told yet) and ``free``. Agents that Mesos does not reach have
    nothing free. Plain integers are summed: every scrape looks at all agents, maybe 10,000.
    """
    pods, nodes, free, unknown = [0, 0], [0, 0], [0, 0], [0, 0]
    others: dict[str, list[int]] = {}
    for agent in world.ledger.agents.values():
        cpus, mem = _of_node(world, agent)
        _add(nodes, cpus, mem)
        used, promised = agent.used, agent.promised
        _add(pods, used.cpus + promised.cpus - cpus, used.mem + promised.mem - mem)
        cpus, mem = agent.others.cpus, agent.others.mem
        for name, amount in agent.others_by.items():
            _add(others.setdefault(name, [0, 0]), amount.cpus, amount.mem)
            cpus, mem = cpus - amount.cpus, mem - amount.mem
        _add(unknown, cpus, mem)
        if agent.active:
            _add(free, agent.free.cpus, agent.free.mem)
    named = [("others", name, sums) for name, sums in sorted(others.items())]
    return [
        {"holder": holder, "framework": name, "cpus": scalar(sums[0]), "mem": scalar(sums[1])}
        for holder, name, sums in (
            ("pods", "", pods),
            ("nodes", "", nodes),
            *named,
            ("others", "", unknown),
            ("free", "", free),
        )
    ]


def _of_node(world: World, agent: Agent) -> tuple[int, int]:
    """Thousandths of cpus and MiB of the executor and the node's own task; zero without a node."""
    executor = agent.executor
    run = world.run_of(agent) if executor else None
    task = world.ledger.tasks.get(run.task_id) if run is not None else None
    own = task.resources if task is not None else NOTHING
    return executor.cpus + own.cpus, executor.mem + own.mem


def _add(sums: list[int], cpus: int, mem: int) -> None:
    if cpus > 0:
        sums[0] += cpus
    if mem > 0:
        sums[1] += mem


def _agent(world: World, agent: Agent) -> dict[str, Any]:
    run = world.run_of(agent)
    return {
        "name": agent.hostname,
        "agent_id": agent.id,
        "active": agent.active,
        "phase": run.phase if run else "",
        "why": _why(world, agent),
        "since": run.started_at if run else None,
        "version": run.version if run else "",
        "total": agent.total.as_dict(),
        "ours": agent.used.as_dict(),
        "promised": agent.promised.as_dict(),
        "free": agent.free.at_least_zero().as_dict(),
        "others": {name: amount.as_dict() for name, amount in agent.others_by.items()},
        "offered": agent.offered().as_dict(),
        "tasks": len(agent.tasks),
        "pods": [pod.full_name for pod in world.pods_on(agent.hostname).values()] if run else [],
    }


def _why(world: World, agent: Agent) -> str:
    """Why the node is in its state, or why the agent is none."""
    run = world.run_of(agent)
    if run is not None:
        cordoned = world.cordoned_by_operator(run.name)
        return run.why or ("an operator cordoned it" if cordoned else "")
    awaited = "an offer that is large enough for a node is awaited"
    return start_here(world, agent) or (
        awaited if world.rules.nodes == EVERY_AGENT else "no pod needs a node here"
    )


def _arriving(world: World) -> list[dict[str, Any]]:
    return [
        {
            "pod": bind.pod.full_name,
            "uid": uid,
            "needs": bind.need.as_dict(),
            "since": bind.pod.created,
            "node": bind.node,
            "reason": f"on its way to {bind.node}: {bind.stage}",
        }
        for uid, bind in world.binds.items()
    ]
