"""How full agents get when more pods wait than fit: km in its simulator, and first fit.

``python3 -m bench.utilisation [AGENTS]`` prints a line each. Counted is what pods have, of cpus or
memory whichever is scarcer; not what nodes take themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from km.resources import NOTHING, Resources
from km.simulate.scenario import Plan, Scenario

SEEDS = range(1, 4)
PODS_PER_AGENT = 200
"""Three times what an agent of 16 cpus takes of these sizes."""

FIXED = Resources.of(cpus=3, mem=3072)
"""A node of M3s and of Kubernetes on DC/OS unless set: a task of this size, whatever is in it."""


def played(agents: int, seed: int) -> Scenario:
    """A day at full demand on which nothing goes wrong and nobody else is there."""
    plan = Plan(
        agents=agents, pods=agents * PODS_PER_AGENT, others=0, jobs=0, ending=0.0, accidents=0,
        seed=seed, calm=60,
    )  # fmt: skip
    scenario = Scenario(plan)
    scenario.play()
    return scenario


def share(needs: Iterable[Resources], total: Resources) -> float:
    """The part of what there is that pods have."""
    used = sum(needs, NOTHING)
    return max(used.cpus / total.cpus, used.mem / total.mem)


def first_fit(needs: Sequence[Resources], rooms: list[Resources]) -> list[Resources]:
    """The pods that find a place, each on the first node with room, in the order they come."""
    placed = []
    for need in needs:
        for index, room in enumerate(rooms):
            if room.covers(need):
                rooms[index] = room - need
                placed.append(need)
                break
    return placed


def measure(agents: int, seed: int) -> dict[str, float]:
    scenario = played(agents, seed)
    pods = list(scenario.cluster.pods.values())
    needs, total = [pod.need for pod in pods], scenario.master.total
    overhead = scenario.rules.executor + scenario.rules.node_task
    agent = next(iter(scenario.master.agents.values())).total
    whole = [agent - overhead for _ in range(agents)]
    fixed = [FIXED for _ in range(agents * agent.times(FIXED, sys.maxsize))]
    return {
        "km": share((pod.need for pod in pods if pod.node), total),
        "first fit, a node as large as its agent": share(first_fit(needs, whole), total),
        "first fit, nodes of 3 cpus and 3 GiB": share(first_fit(needs, fixed), total),
    }


def main(agents: int) -> None:
    found = [measure(agents, seed) for seed in SEEDS]
    for figure in found[0]:
        values = sorted(one[figure] for one in found)
        print(f"{figure}: {values[0]:.1%} to {values[-1]:.1%} of {agents} agents")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
