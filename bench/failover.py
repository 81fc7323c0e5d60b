"""How soon another km leads, and how soon km is back at Mesos: real masters, km and API server.

``python3 -m bench.failover [TIMES]`` prints one line a figure: median and longest of so many times.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.control_plane import control_plane
from tests.km.km_process import Km, Stage
from tests.km.test_scheduler_on_real_mesos import one_agent, tasks
from tests.mesos_cluster import mesos_cluster, wait_until

RESTART_S = 1.0
"""RestartSec of km's unit."""


@contextmanager
def stage() -> Iterator[Stage]:
    """A control plane and a Mesos without anything in it."""
    with ExitStack() as running:
        directory = Path(running.enter_context(tempfile.TemporaryDirectory()))
        kube = running.enter_context(control_plane(directory / "kubernetes"))
        mesos = running.enter_context(mesos_cluster(directory))
        made = Stage(directory, kube, mesos)
        running.callback(made.close)
        yield made


def knows_the_leader(km: Km) -> bool:
    return bool(km.status().get("leader"))


def has_left(km: Km, master: str | None) -> bool:
    """Whether km is subscribed to another master than this one."""
    return km.status()["mesos"]["master"] not in (master, None)


def binds(made: Stage, km: Km, name: str) -> None:
    """A pod gets its node: km and kube-scheduler are at work."""
    made.pod(name)
    km.wait(lambda: name in made.bound())


def to_the_standby(times: int) -> Iterator[float]:
    """Seconds from the leader's death until the standby has done its first work."""
    with stage() as made:
        leader = one_agent(made)
        for number in range(times):
            standby = made.km(leader.master, f"standby-{number}")
            standby.wait(partial(knows_the_leader, standby))
            began = time.monotonic()
            leader.stop(signal.SIGKILL)
            standby.wait_ready()
            binds(made, standby, f"pod-{number}")
            yield time.monotonic() - began
            leader = standby


def to_its_successor(times: int) -> Iterator[float]:
    """Seconds from the death of the only km until the one that its unit starts has done work."""
    with stage() as made:
        km = one_agent(made)
        for number in range(times):
            began = time.monotonic()
            km.stop(signal.SIGKILL)
            time.sleep(RESTART_S)
            km.start()
            km.wait_ready()
            binds(made, km, f"pod-{number}")
            yield time.monotonic() - began


def to_the_next_master(times: int) -> Iterator[float]:
    """Seconds from the election of another master until km is subscribed to it."""
    with stage() as made:
        zookeeper = made.mesos.start_zookeeper()
        for name in ("master-1", "master-2"):
            made.mesos.start_master(name, zk=zookeeper)
        made.mesos.start_agent(master=zookeeper)
        made.mesos.wait_for_agents(1, 40)
        km = made.km(zookeeper)
        km.wait_ready()
        km.wait(lambda: any(task.startswith("node.") for task in tasks(made)))
        for _ in range(times):
            old = made.mesos.leader()
            (leader,) = (m for m in made.mesos.masters.values() if m.address == old)
            leader.stop()
            wait_until(made.mesos.leader, 40, "another master")
            began = time.monotonic()
            km.wait(partial(has_left, km, old))
            yield time.monotonic() - began
            leader.start()
            made.mesos.wait_for_agents(1, 40)


FIGURES: dict[str, tuple[Callable[[int], Iterator[float]], float]] = {
    "leading km killed, until the standby has bound a pod": (to_the_standby, 20),
    "only km killed, until its successor has bound a pod": (to_its_successor, 20),
    "another master elected, until km is subscribed to it": (to_the_next_master, 5),
}


def main(times: int) -> None:
    print(f"load {os.getloadavg()[0]:.1f}")
    for figure, (measure, target) in FIGURES.items():
        taken = list(measure(times))
        print(
            f"{figure}: {statistics.median(taken):.1f} s (median of {times}, "
            f"longest {max(taken):.1f} s, target {target:g} s)",
            flush=True,
        )
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
