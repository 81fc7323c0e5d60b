"""Which nodes could take a pod, and how well: km's answers to kube-scheduler.

kube-scheduler has already applied its own rules to the nodes it asks about; what is added is what
only Mesos knows: how much of the agent is free. Each rejection has a reason in words. The answer
comes from the books at once; kube-scheduler's loop is serial and must never wait for us.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from km.ledger import Agent
from km.objects import Taint
from km.pods import Pod, Shape
from km.resources import Resources
from km.rules import ON_DEMAND
from km.world import DRAINING, STARTING, STOPPING, UNREACHABLE, World

NO_AGENT = "is not a node that km runs"
TOO_FULL = "Mesos has offered too little of its agent"
UNSEEN_WHY = "a quota, or other frameworks"
"""Why something may be free and not offered to us; the books do not tell which."""

DETAILED = 10
"""So many nodes get a reason of their own in one answer."""
PHASES = {
    STARTING: "is still starting",
    DRAINING: "is being drained",
    STOPPING: "is being shut down",
    UNREACHABLE: "has an agent that Mesos can not reach",
}


def filter_nodes(
    world: World, pod: Pod, names: Iterable[str]
) -> tuple[tuple[str, ...], dict[str, str], dict[str, str]]:
    """Split nodes into those that fit, those too full (with reason), those out of the question."""
    need, ready = pod.need, world.ready
    cpus, mem = need.cpus, need.mem
    more = bool(need.disk or need.gpus or need.ports)
    fits: list[str] = []
    rest: list[str] = []
    for name in names:  # hundreds for each pod of a large cluster
        agent = ready.get(name)
        if agent is None:
            rest.append(name)
            continue
        free = agent.free
        enough = free.cpus >= cpus and free.mem >= mem and (not more or free.covers(need))
        if enough and (not agent.shares or agent.fits(need)):
            fits.append(name)
        else:
            rest.append(name)
    return tuple(fits), *_reasons(world, need, rest)


def _reasons(
    world: World, need: Resources, names: Iterable[str]
) -> tuple[dict[str, str], dict[str, str]]:
    failed: dict[str, str] = {}
    unresolvable: dict[str, str] = {}
    for name in names:
        agent = world.ready.get(name)
        if agent is None:
            run = world.runs.get(name)
            unresolvable[name] = f"{name} {PHASES.get(run.phase, NO_AGENT) if run else NO_AGENT}"
        elif not agent.total.covers(need):
            unresolvable[name] = f"{name} is too small: it has {agent.total.shortfall(need)}"
        else:
            agent.nudged = ""  # kube-scheduler has to be told when there is room again
            # Kubernetes counts equal reasons; hundreds of different ones help nobody.
            failed[name] = too_full(agent, need) if len(failed) < DETAILED else TOO_FULL
    return failed, unresolvable


def too_full(agent: Agent, need: Resources) -> str:
    """``agent-2 offered 0.5 of 1 cpus, held by spark``."""
    short = agent.free.shortfall(need)
    if agent.unseen and not (agent.free + agent.unseen).shortfall(need):
        return f"{agent.hostname} offered {short}, and no offer of more came ({UNSEEN_WHY})"
    if not agent.one_share_covers(need):
        most = max(agent.shares.values(), key=lambda share: (share.cpus, share.mem))
        roles = " and ".join(sorted(agent.shares))
        return (
            f"{agent.hostname} offered {short or most.shortfall(need)}, because its offers are"
            f" split over roles {roles} and a pod's task is of one role"
        )
    holders = agent.holders()
    return f"{agent.hostname} offered {short}{', ' + holders if holders else ''}"


def summary(failed: Mapping[str, str], unresolvable: Mapping[str, str], asked: int) -> str:
    """Kubernetes' own form, ``0/3: reason; reason``, with at most three reasons."""
    reasons = [*failed.values(), *unresolvable.values()]
    shown = "; ".join(reasons[:3])
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return f"{asked - len(reasons)}/{asked}: {shown}{more}" if reasons else f"{asked}/{asked} fit"


def prioritize_nodes(world: World, pod: Pod, names: Iterable[str]) -> dict[str, int]:
    """0 to 10 per node: an offer in our hands saves the pod a wait.

    On demand, fuller nodes score higher as well, so that others become idle and leave.
    """
    scores: dict[str, int] = {}
    ready, need = world.ready, pod.need
    pack = world.rules.nodes == ON_DEMAND
    at_hand = 5 if pack else 10
    for name in names:
        agent = ready.get(name)
        score = 0
        if agent is not None:
            for held in agent.held.values():
                if held.offer.resources.covers(need):
                    score = at_hand
                    break
            if pack:
                score += fullness(agent)
        scores[name] = score
    return scores


def fullness(agent: Agent) -> int:
    """How much of the scarcer of cpus and memory is not free: 0 empty, 5 full."""
    free, total = agent.free, agent.total
    if total.cpus <= 0 or total.mem <= 0:
        return 0
    least = min(free.cpus * 5 // total.cpus, free.mem * 5 // total.mem)
    return 5 - max(least, 0)


def allowed(shape: Shape, name: str, labels: Mapping[str, str], taints: Iterable[Taint]) -> bool:
    """Kubernetes' hard rules about a node as such: selector, affinity, names and taints."""
    if shape.nodes and name not in shape.nodes:
        return False
    if any(labels.get(key) != value for key, value in shape.selector):
        return False
    if shape.affinity and not any(
        all(requirement.matches(labels) for requirement in term) for term in shape.affinity
    ):
        return False
    return all(
        taint.effect == "PreferNoSchedule"
        or any(toleration.tolerates(taint) for toleration in shape.tolerations)
        for taint in taints
    )


def may_run(world: World, shape: Shape, agent: Agent) -> bool:
    """Whether the agent's node (or the one it would be) is allowed for pods of this shape."""
    node = world.nodes.get(agent.hostname)
    # A node that is starting has Kubernetes' own taints, which go away by themselves.
    taints = [t for t in node.taints if not t.key.startswith("node.kubernetes.io/")] if node else ()
    if not (shape.selector or shape.affinity or shape.nodes or taints):
        return True
    return allowed(shape, agent.hostname, world.labels(agent), taints)
