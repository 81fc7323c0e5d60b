"""Why no node is started for pods that wait, in words: for the status page and for their events.

kube-scheduler only says that there are no nodes; what keeps agents from becoming one, Mesos and km
know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from heapq import nsmallest

from km.ledger import Agent
from km.lifecycle import start_here
from km.placement import PHASES, may_run, too_full
from km.pods import Pod, Shape
from km.timers import Alarm
from km.world import READY, Unplaced, World

SHOWN = 3
"""So many agents get a reason of their own: those with most room."""

AGAIN = 30.0
"""A reason is not looked for again sooner."""

CHECKS = 20_000
"""So many agents are looked at in one go; shapes that are left have their turn next time."""

TOLD_AFTER = 10.0
"""A pod is told when kube-scheduler has found no node for it for so long."""

TOLD_AGAIN = 600.0
"""And again, if the reason has become another one, not sooner than this."""

AT_ONCE, PAUSE = 50, 5.0
"""So many pods are told at once, and the next after so many seconds."""


def note(world: World, unplaced: Iterable[Shape]) -> None:
    """Keep for each of these shapes why no agent takes its pods, and tell the pods."""
    known, world.unplaced = world.unplaced, {}
    left = max(1, CHECKS // (len(world.ledger.agents) or 1))
    for shape in unplaced:
        before = known.get(shape)
        if left > 0 and (before is None or before.at + AGAIN <= world.now):
            left -= 1
            before = Unplaced(reason(world, shape), world.now)
        if before is not None:
            world.unplaced[shape] = before
    tell(world)


def tell(world: World) -> None:
    """One event a pod, and another only when the reason has become another one."""
    if Alarm("tell") in world.timers:
        return
    left = AT_ONCE
    for shape, why in world.unplaced.items():
        kind = _kind(why.reason)
        for pod in world.waiting.get(shape, {}).values():
            if not _is_due(world, pod, kind):
                continue
            world.told[pod.uid] = (world.now, kind)
            world.tell(pod, "NoNodeStarted", why.reason, warning=True)
            left -= 1
            if left == 0:
                world.timers.set(Alarm("tell"), world.now + PAUSE)
                return


def _is_due(world: World, pod: Pod, kind: str) -> bool:
    since = world.unschedulable_since.get(pod.uid)
    if pod.daemon or since is None or since + TOLD_AFTER > world.now:
        return False
    told = world.told.get(pod.uid)
    return told is None or (told[1] != kind and told[0] + TOLD_AGAIN <= world.now)


def _kind(words: str) -> str:
    """The reason without its numbers, which change all the time."""
    return re.sub(r"[0-9.]+", "#", words)


def reason(world: World, shape: Shape) -> str:
    """``0/3 agents: a-1 is too small: it has 2 of 64 cpus; a-2 is wanted back: …``."""
    agents = world.ledger.agents.values()
    suited = [agent for agent in agents if may_run(world, shape, agent)]
    nearest = nsmallest(SHOWN, suited, key=lambda a: (-a.free.cpus, -a.free.mem, a.hostname))
    nearest.sort(key=lambda agent: agent.hostname)  # that order is no news
    parts = [_obstacle(world, shape, agent) for agent in nearest]
    if len(suited) > len(parts):
        parts.append(f"and {len(suited) - len(parts)} more")
    if len(suited) < len(agents):
        parts.append(
            f"{len(agents) - len(suited)} do not suit its selector, affinity or tolerations"
        )
    return f"0/{len(agents)} agents: {'; '.join(parts)}" if parts else "Mesos has no agents"


def _obstacle(world: World, shape: Shape, agent: Agent) -> str:
    """What keeps a pod from this agent, which it may use."""
    name, need, run = agent.hostname, shape.need, world.run_of(agent)
    own = world.node_overhead()
    if run is None and (why := start_here(world, agent)):
        return why
    if run is not None and run.phase != READY:
        return f"{name} {PHASES[run.phase]}"
    if run is not None and not world.usable(run):
        return f"{name} is cordoned"
    if not (agent.total - own).covers(need):
        return f"{name} is too small: it has {(agent.total - own).shortfall(need)} for pods"
    room = agent.free if run is not None else agent.free - own
    if not room.covers(need):
        holders = agent.holders()
        return f"{name} offers {room.shortfall(need)}{', ' + holders if holders else ''}"
    if not agent.one_share_covers(need):
        return too_full(agent, need)
    if run is not None:
        return f"{name} has room, and kube-scheduler does not take it"
    if agent.held and (shape.apart or shape.spread):
        return f"{name} has room, but not for another pod of the same kind (spread, anti-affinity)"
    return f"{name} has room and is not offered"
