"""Work on a stack: pods that stay, pods that come and go, and jobs of a framework not ours."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.integration.checkout import ROOT, Checkout
from tests.km.batch import Batch

IMAGE = "docker.io/library/busybox:1.35"
PODS = "/api/v1/namespaces/default/pods"
STEADY = 20
LABELS = {"app": "steady"}
AWAY_AT_ONCE = 4
"""How many of the steady pods their disruption budget spares."""

EXECUTOR = ("tests/km/executor.py", "tests/km/job_executor.py")
JOBS_HOME = "opt/jobs"
COMMAND = f"cd /{JOBS_HOME} && exec python3 -m tests.km.job_executor"
JOBS = 100_000
JOB_S = 1.0


def pod_spec(**more: Any) -> dict[str, Any]:
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["sleep", "infinity"],
        "resources": {"requests": {"cpu": "20m", "memory": "16Mi"}},
    }
    return {"terminationGracePeriodSeconds": 0, "containers": [container], **more}


def make_steady(api: httpx.Client) -> None:
    """A Deployment, spread over the nodes, with a disruption budget."""
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": LABELS},
    }
    deployment = {
        "metadata": {"name": "steady"},
        "spec": {
            "replicas": STEADY,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": pod_spec(topologySpreadConstraints=[spread]),
            },
        },
    }
    budget = {
        "metadata": {"name": "steady"},
        "spec": {"maxUnavailable": AWAY_AT_ONCE, "selector": {"matchLabels": LABELS}},
    }
    apps, policy = "/apis/apps/v1/namespaces/default", "/apis/policy/v1/namespaces/default"
    api.post(f"{apps}/deployments", json=deployment).raise_for_status()
    api.post(f"{policy}/poddisruptionbudgets", json=budget).raise_for_status()


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


class Visitors:
    """Pods that come to one node, run for a moment and go, one after another."""

    def __init__(self, api: httpx.Client, node: str) -> None:
        self._api, self.node = api, node
        self._stopping = threading.Event()
        self.last = 0.0
        """When the last one that became Ready had been asked for."""
        self.lost: list[str] = []
        """Those that ended without being told to."""

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Visitors]:
        thread = threading.Thread(target=self._come_and_go, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join(30)

    def stop(self) -> None:
        self._stopping.set()

    def _come_and_go(self) -> None:
        number = 0
        while not self._stopping.wait(1):
            number += 1
            name, asked = f"visitor-{self.node}-{number}", time.monotonic()
            if self._create(name) and self._wait(name):
                self.last = asked
            self._ask("DELETE", f"{PODS}/{name}")

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """One answer of the API server, asked again until there is one."""
        while not self._stopping.is_set():
            with contextlib.suppress(httpx.TransportError):
                answer = self._api.request(method, path, timeout=3, **more)
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
            self._stopping.wait(0.5)
        return None

    def _create(self, name: str) -> bool:
        spec = pod_spec(nodeSelector={"kubernetes.io/hostname": self.node})
        answer = self._ask("POST", PODS, json={"metadata": {"name": name}, "spec": spec})
        return answer is not None and answer.status_code in (201, 409)

    def _wait(self, name: str) -> bool:
        while answer := self._ask("GET", f"{PODS}/{name}"):
            if answer.status_code == 404 or answer.json()["status"].get("phase") == "Failed":
                self.lost.append(name)
                return False
            if is_ready(answer.json()):
                return True
            self._stopping.wait(0.3)
        return False


def jobs(checkout: Checkout, master: str, agents: list[str]) -> Batch:
    """A few jobs at a time on agents that get the executor of those jobs."""
    for agent in agents:
        home = Path(f"/proc/{checkout.init_of(agent)}/root/{JOBS_HOME}")
        for name in EXECUTOR:
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / name)
    seconds = [JOB_S] * JOBS
    return Batch(master, role="batch", jobs=seconds, command=COMMAND, at_once=3, mem=16)
