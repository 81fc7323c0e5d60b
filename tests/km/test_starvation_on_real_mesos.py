"""Pods that can never run cost other frameworks nothing: on a real Mesos."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.km.batch import Batch
from tests.km.km_process import Km, Stage
from tests.km.overseer import held
from tests.km.shared_mesos import AGENT_CPUS, AGENTS, OVERHEAD_CPUS, two_nodes
from tests.mesos_cluster import ask, wait_until

SHARE_S = 5.0
IDLE = len(AGENTS) * (AGENT_CPUS - OVERHEAD_CPUS)
CLAIM = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "nowhere"}}]}
BESIDE_NOBODY = {
    "affinity": {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"app": "nobody"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }
}


def test_the_time_is_counted_from_the_registration_as_mesos_has_it() -> None:
    listed = [{"framework_info": {"name": "x"}, "registered_time": {"nanoseconds": 2_500_000_000}}]
    assert registered_at(listed, "x") == 2.5
    assert registered_at(listed, "y") is None


def registered_at(listed: list[dict[str, Any]], name: str) -> float | None:
    """When a framework registered, by the clock of this machine."""
    for one in listed:
        if one["framework_info"]["name"] == name:
            return int(one["registered_time"]["nanoseconds"]) / 1e9
    return None


class Watch:
    """Notes, in a thread of its own, when a framework registers and when it has its share.

    avmesos itself tells of its registration only seconds later.
    """

    def __init__(self, master: str, name: str) -> None:
        self.taken: float | None = None
        self._master, self._name = master, name
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        end = time.time() + 40
        while time.time() < end:
            listed = ask(self._master, "GET_FRAMEWORKS")["get_frameworks"].get("frameworks", [])
            began = registered_at(listed, self._name)
            if began is not None and held(self._master, self._name) >= 0.9 * IDLE:
                self.taken = time.time() - began
                return
            time.sleep(0.05)


def holds_nothing(km: Km, seconds: float) -> None:
    """km's offers are let go within moments, however often one looks."""
    end, looks = time.monotonic() + seconds, []
    while time.monotonic() < end:
        looks.append(km.status()["offers_held"])
        time.sleep(0.1)
    assert sum(map(bool, looks)) <= len(looks) // 10, looks


@pytest.mark.parametrize("spec", [CLAIM, BESIDE_NOBODY], ids=["claim", "affinity"])
def test_a_pod_that_never_fits_starves_nobody(stage: Stage, spec: dict[str, Any]) -> None:
    km = two_nodes(stage)
    stage.pod("never", **spec)
    km.wait(lambda: km.status()["pending"])
    time.sleep(7)  # as long as something is held for a pod that is new
    holds_nothing(km, 6)
    watch = Watch(km.master, "waiting")
    with Batch(km.master, name="waiting", role="batch", keeps=True).at_work():
        wait_until(lambda: watch.taken is not None, 40, "90 % of what is idle")

    assert watch.taken is not None
    print(f"90 % of idle resources given to a new framework after {watch.taken:.2f} s")
    assert watch.taken < SHARE_S
    assert "never" not in stage.bound()
