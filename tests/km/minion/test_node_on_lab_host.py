"""A real node: kubelet, kube-proxy, flanneld and containerd on a lab host, under a real agent."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pytest

from tests.control_plane import missing_programs
from tests.km.minion.lab_node import CACHE, MESOS, LabNode, index, lab_node
from tests.km.minion.one_agent import wait_for

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="lab hosts are made by root"),
    pytest.mark.skipif(
        bool(missing_programs())
        or not (MESOS / "mesos-agent").exists()
        or not list((CACHE / "programs/flannel").glob("*/flanneld"))
        or "registry.k8s.io/pause:3.10" not in index(),
        reason="programs or images are missing; run make setup",
    ),
]
SETTLED = 15.0
"""Seconds after which a kubelet has nothing to complain of any more."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabNode]:
    with lab_node(tmp_path_factory.mktemp("lab")) as node:
        yield node


def restarts(node: LabNode) -> list[int]:
    """Of kubelet, kube-proxy and flanneld."""
    return [process["restarts"] for process in node.notes()["processes"]]


def test_the_life_of_a_node(node: LabNode) -> None:
    node.start_node(1)
    found = node.cluster.object("node", "agent-1")
    assert found
    assert found["spec"]["providerID"] == "mesos://framework/agent"
    assert found["metadata"]["labels"]["k8s.mesosphere.io/attribute-rack"] == "r1"
    assert found["status"]["allocatable"]["cpu"] == "1890m"
    assert found["status"]["allocatable"]["memory"] == f"{1500 - 193}Mi"

    node.start_pod("a", "sleep 1000")
    wait_for(lambda: node.phase("a") == "Running", 30)
    before = restarts(node)
    # flanneld ends, and is started again, as long as the node has no podCIDR.
    assert before[:2] == [0, 0]
    node.start_pod("greedy", "sleep 1; tail /dev/zero", mem=32)
    wait_for(lambda: node.phase("greedy") == "Failed", 60)

    assert node.phase("a") == "Running"
    assert restarts(node) == before, "something else than the greedy pod was killed"


def test_a_node_at_rest_logs_no_error(node: LabNode) -> None:
    time.sleep(SETTLED)
    before = len(node.log("kubelet.log").splitlines())
    time.sleep(SETTLED)

    later = node.log("kubelet.log").splitlines()[before:]
    assert [line for line in later if re.match(r"[EF]\d{4} ", line)] == []


def test_a_node_that_is_shut_down_leaves_nothing(node: LabNode) -> None:
    node.framework.shut_down("km-agent-1")
    wait_for(lambda: node.framework.state("node.agent-1.1") == "TASK_KILLED", 20)

    node.wait_until_nothing_is_left(15)


def test_a_killed_minion_leaves_nothing_and_another_node_can_follow(node: LabNode) -> None:
    node.cluster.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    node.cluster.kubectl("delete", "node", "agent-1")
    node.start_node(2)
    node.start_pod("b", "sleep 1000")
    wait_for(lambda: node.phase("b") == "Running", 30)

    node.run(f"kill -9 {node.notes()['pid']}")

    wait_for(lambda: node.framework.state("node.agent-1.2") == "TASK_FAILED", 20)
    node.wait_until_nothing_is_left(20)
