"""Everything that runs in a stack is killed in turn, under load, and no pod notices.

Not tried: a clock that jumps, since lab hosts share the kernel's; the core's test for it is
`test_numbers_of_tasks_grow_also_when_the_clock_went_back`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.pods import api_of
from km.objects import VERSION_LABEL
from tests.integration.checkout import Checkout
from tests.integration.cluster import (
    framework_of,
    lives_of,
    output,
    pod_tasks_of,
    state_of,
    wait_for,
)
from tests.integration.load import (
    AWAY_AT_ONCE,
    LABELS,
    STEADY,
    Visitors,
    is_ready,
    jobs,
    make_steady,
)
from tests.km.batch import Batch
from tests.leftovers import leftovers

pytestmark = [pytest.mark.lab, pytest.mark.integration, pytest.mark.slow]

AGENTS = ["agent-1", "agent-2"]
UNITS = {"zookeeper", "mesos-master", "etcd", "kube-apiserver", "kube-controller-manager"}
UNITS |= {"km-scheduler", "mesos-agent", "containerd"}
MINION_NOTES = "/var/lib/kubernetes-mesos/minion/state.json"
NONE = {"metadata": {"uid": ""}}
RECOVERY_S = 120
ROLL_S = 240


@dataclass
class Stack:
    """A stack at work, and what must not change about it."""

    checkout: Checkout
    api: httpx.Client
    master: str
    batch: Batch
    visitors: dict[str, Visitors]
    lives: dict[str, tuple[str, int]] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> list[dict[str, Any]]:
        return self.api.get(path, timeout=5).raise_for_status().json()["items"]

    def pods(self) -> list[dict[str, Any]]:
        """Those that stay."""
        listed = self.get("/api/v1/pods")
        return [pod for pod in listed if not pod["metadata"]["name"].startswith("visitor-")]

    def remember(self) -> None:
        """What runs now is to run on as it is."""
        self.lives = lives_of(self.pods())
        tasks = pod_tasks_of(framework_of(state_of(self.master)))
        self.tasks = {name: tasks[name] for name in self.lives}

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {node["metadata"]["name"]: node for node in self.get("/api/v1/nodes")}

    def steady(self) -> list[dict[str, Any]]:
        return [p for p in self.pods() if p["metadata"].get("labels", {}).items() >= LABELS.items()]

    def agrees(self) -> bool:
        """Whether Mesos and Kubernetes know the same pods, and nothing is left over."""
        state = state_of(self.master)
        ours = framework_of(state)
        pods = {
            pod["metadata"]["uid"]
            for pod in self.get("/api/v1/pods")
            if pod["spec"].get("nodeName") and pod["status"]["phase"] in ("Pending", "Running")
        }
        tasks = [task["id"].split(".")[1] for task in ours["tasks"] if task["id"][:4] == "pod."]
        nodes = [task["id"].split(".")[1] for task in ours["tasks"] if task["id"][:5] == "node."]
        return (
            sorted(tasks) == sorted(pods)
            and sorted(nodes) == sorted(self.nodes())
            and not ours["unreachable_tasks"]
            and not state["orphan_tasks"]
        )

    def works(self, since: float, jobs_before: int) -> bool:
        """Whether pods asked for since then run on every node, and jobs go on."""
        return (
            all(visitors.last > since for visitors in self.visitors.values())
            and len(self.batch.finished) > jobs_before + 5
            and all(map(is_ready, self.pods()))
            and self.agrees()
        )

    def wait_until_it_works(self) -> float:
        """Seconds until everything works again."""
        since, done = time.monotonic(), len(self.batch.finished)

        def works() -> bool:
            with contextlib.suppress(httpx.HTTPError, OSError, ValueError):
                return self.works(since, done)
            return False

        wait_for("everything works again", works, RECOVERY_S)
        return time.monotonic() - since

    def must_be_unharmed(self) -> None:
        """No pod was lost or restarted, no task replaced."""
        ours = framework_of(state_of(self.master))
        assert lives_of(self.pods()) == self.lives
        assert self.tasks.items() <= pod_tasks_of(ours).items()
        assert {
            name: visitors.lost for name, visitors in self.visitors.items() if visitors.lost
        } == {}

    def on(self, host: str, command: str) -> str:
        return self.checkout.on_host(host, command)

    def pid(self, host: str, process: str) -> int:
        """The id that a process has on its host; 0 while it does not run."""
        if process in UNITS:
            return int(self.on(host, f"systemctl show --property=MainPID --value {process}"))
        if process == "km minion":
            return int(json.loads(self.on(host, f"cat {MINION_NOTES}"))["pid"])
        return int(self.on(host, f"bash -c 'pgrep --exact {process} || echo 0'"))

    def send(self, host: str, process: str, number: signal.Signals) -> int:
        pid = self.pid(host, process)
        assert pid, f"{process} does not run on {host}"
        self.on(host, f"kill -{number.name} {pid}")
        return pid


@pytest.fixture(scope="module")
def stack(checkout: Checkout) -> Iterator[Stack]:
    checkout.run("make setup")
    checkout.run("make up")
    master = output(checkout, "mesos_url")
    kubeconfig = Path(checkout.run("make -s kubeconfig").output.strip())
    batch = jobs(checkout, master.removeprefix("http://"), AGENTS)
    with contextlib.ExitStack() as work:
        api = work.enter_context(api_of(kubeconfig))
        visitors = {name: Visitors(api, name) for name in AGENTS}
        made = Stack(checkout, api, master, batch, visitors)
        for one in (batch, *visitors.values()):
            work.enter_context(one.at_work())
        wait_for("both nodes", lambda: all(one.last for one in visitors.values()))
        make_steady(api)
        wait_for("steady pods", lambda: len(made.pods()) > STEADY)
        made.wait_until_it_works()
        made.remember()
        yield made
    lab = checkout.lab()["lab"]
    checkout.run("make down")
    assert leftovers(lab) == []


@pytest.mark.parametrize(
    ("host", "process"),
    [
        ("control-1", "zookeeper"),
        ("control-1", "mesos-master"),
        ("control-1", "etcd"),
        ("control-1", "kube-apiserver"),
        ("control-1", "kube-controller-manager"),
        ("control-1", "kube-scheduler"),
        ("control-1", "km-scheduler"),
        ("agent-1", "mesos-agent"),
        ("agent-1", "containerd"),
        ("agent-1", "kubelet"),
        ("agent-1", "kube-proxy"),
        ("agent-1", "flanneld"),
    ],
)
def test_a_killed_process_costs_no_pod(stack: Stack, host: str, process: str) -> None:
    killed = stack.send(host, process, signal.SIGKILL)
    wait_for(f"another {process}", lambda: stack.pid(host, process) not in (0, killed))

    print(f"{process}: {stack.wait_until_it_works():.1f} s")
    stack.must_be_unharmed()


@pytest.mark.parametrize(
    ("unit", "seconds"), [("kube-apiserver", 150), ("etcd", 150), ("mesos-master", 150)]
)
def test_an_outage_costs_no_pod(stack: Stack, unit: str, seconds: float) -> None:
    stack.on("control-1", f"systemctl stop {unit}")
    time.sleep(seconds)
    stack.on("control-1", f"systemctl start {unit}")

    print(f"{unit}: {stack.wait_until_it_works():.1f} s")
    stack.must_be_unharmed()


def test_a_leader_that_stalls_gives_way_and_costs_no_pod(stack: Stack) -> None:
    stalled = stack.send("control-1", "km-scheduler", signal.SIGSTOP)
    time.sleep(12)
    stack.on("control-1", f"kill -CONT {stalled}")
    wait_for("another km", lambda: stack.pid("control-1", "km-scheduler") not in (0, stalled))

    print(f"stalled km: {stack.wait_until_it_works():.1f} s")
    stack.must_be_unharmed()


def test_a_control_host_that_loses_power_costs_no_pod(stack: Stack) -> None:
    os.kill(stack.checkout.host("control-1")["pid"], signal.SIGKILL)
    wait_for("the host is dead", lambda: not stack.checkout.host("control-1")["lives"])
    time.sleep(5)
    stack.checkout.run(f"python3 -m lab up --lab {stack.checkout.lab()['lab']}")

    print(f"control host: {stack.wait_until_it_works():.1f} s")
    stack.must_be_unharmed()
    assert len({agent["hostname"] for agent in state_of(stack.master)["slaves"]}) == len(AGENTS)


def test_a_killed_minion_costs_its_own_pods_and_no_others(stack: Stack) -> None:
    """The executor is the node: Kubernetes replaces its pods at once."""
    before, smoke = stack.pods(), "busybox"
    (spared,) = {pod["spec"]["nodeName"] for pod in before if pod["metadata"]["name"] == smoke}
    (host,) = set(AGENTS) - {spared}
    node = stack.nodes()[host]["metadata"]["uid"]
    stack.send(host, "km minion", signal.SIGKILL)
    wait_for("the node is gone", lambda: stack.nodes().get(host, NONE)["metadata"]["uid"] != node)
    wait_for("all steady pods", lambda: len(lives_of(stack.steady())) == STEADY)

    print(f"km minion: {stack.wait_until_it_works():.1f} s")
    lives = lives_of(stack.pods())
    elsewhere = {name for name, life in stack.lives.items() if lives.get(name) == life}
    expected = {pod["metadata"]["name"] for pod in before if pod["spec"]["nodeName"] == spared}
    assert {name.partition("/")[2] for name in elsewhere} == expected
    assert stack.visitors[spared].lost == []
    stack.visitors[host].lost.clear()
    stack.remember()


def test_a_change_goes_through_the_nodes_one_by_one_and_honours_budgets(stack: Stack) -> None:
    """Another km: running executors and their pods go on until their node's turn comes."""
    for visitors in stack.visitors.values():
        visitors.stop()
    old, lost = stack.nodes(), stack.batch.lost
    source = stack.checkout.directory / "km" / "__init__.py"
    source.write_text(source.read_text() + "# Another version.\n")
    stack.checkout.run("make up")
    stack.must_be_unharmed()

    drained, fewest = set[str](), STEADY
    end = time.monotonic() + ROLL_S
    while not (changed(old, stack.nodes()) and len(drained) == len(old)):
        assert time.monotonic() < end, f"only {drained} of {set(old)} had their turn"
        cordoned = {name for name, node in stack.nodes().items() if "unschedulable" in node["spec"]}
        assert len(cordoned) <= 1, "one node at a time"
        drained |= cordoned
        fewest = min(fewest, sum(map(is_ready, stack.steady())))
        time.sleep(0.2)

    wait_for("all steady pods", lambda: sum(map(is_ready, stack.steady())) == STEADY)
    wait_for("all agree", stack.agrees)
    assert fewest >= STEADY - AWAY_AT_ONCE
    assert stack.batch.lost == lost, "jobs of others were left alone"


def changed(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> bool:
    """Whether no node is as it was."""
    versions = {node["metadata"]["labels"][VERSION_LABEL] for node in old.values()}
    return all(
        node["metadata"]["labels"].get(VERSION_LABEL) not in {None, *versions}
        for node in new.values()
    )
