"""The kubelet's configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from km.minion.kubelet import RESOLVED, Machine, command, configuration, memory_total, reserved
from km.minion.kubelet import resolv_conf as choose
from km.minion.settings import Settings, parse_settings
from km.minion.tasks import MEBIBYTE, NodeTask, Share, parse_task
from tests.km.minion.one_agent import NODE, task
from tests.km.minion.test_settings import GIVEN

MACHINE = Machine(
    cpus=8,
    memory=16_000 * MEBIBYTE,
    resolv_conf="/etc/resolv.conf",
    open_files=2**20,
    oom_score=-999,
)
EXECUTOR = Share(cpus=0.11, memory=193 * MEBIBYTE)


def node(**resources: float) -> NodeTask:
    data = {**NODE, "agent_resources": {**NODE["agent_resources"], **resources}}  # type: ignore[dict-item]
    parsed = parse_task(task("node.here.1", data))
    assert isinstance(parsed, NodeTask)
    return parsed


def configured(machine: Machine = MACHINE, **settings: Any) -> dict[str, Any]:
    return configuration(
        parse_settings({**GIVEN, **settings}, "x"),
        node(),
        machine=machine,
        cgroup_root="/mesos/abc/pods",
        executor=EXECUTOR,
    )


def test_pods_live_in_the_cgroup_that_the_minion_holds() -> None:
    found = configured()

    assert found["cgroupRoot"] == "/mesos/abc/pods"
    assert found["cgroupDriver"] == "cgroupfs"
    assert found["enforceNodeAllocatable"] == []
    assert (found["failCgroupV1"], found["failSwapOn"]) == (False, False)


def test_nobody_calls_the_kubelet_unknown() -> None:
    found = configured()

    assert found["authentication"] == {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": "/c"},
    }
    assert found["authorization"] == {"mode": "Webhook"}


def test_serving_certificate_by_file_or_by_the_cluster() -> None:
    by_file = configured(serving_certificate="/s.crt", serving_key="/s.key")

    assert (by_file["tlsCertFile"], by_file["tlsPrivateKeyFile"]) == ("/s.crt", "/s.key")
    assert "serverTLSBootstrap" not in by_file
    assert configured()["serverTLSBootstrap"] is True
    assert "tlsCertFile" not in configured()


def test_what_the_node_task_says() -> None:
    found = configured()

    assert found["clusterDNS"] == ["10.10.10.10"]
    assert found["clusterDomain"] == "cluster.local"
    assert found["providerID"] == "mesos://f/a"


def test_without_disk_isolation_nothing_measures_disks() -> None:
    found = configured(local_storage_capacity_isolation=False)

    assert found["evictionHard"] == {"memory.available": "100Mi"}
    assert found["imageGCHighThresholdPercent"] == 100
    assert "nodefs.available" in configured()["evictionHard"]
    assert "imageGCHighThresholdPercent" not in configured()


def test_a_host_that_allows_less_gets_less() -> None:
    poor = dataclasses.replace(MACHINE, open_files=4096, oom_score=0)

    assert (configured(poor)["maxOpenFiles"], configured(poor)["oomScoreAdj"]) == (4096, 0)
    assert (configured()["maxOpenFiles"], configured()["oomScoreAdj"]) == (1_000_000, -999)


@pytest.mark.parametrize(
    ("agent", "cpu", "mebibytes"),
    [
        pytest.param({"cpus": 8, "mem": 12000}, "110m", 4000 + 193 - 100, id="a part"),
        pytest.param({"cpus": 4, "mem": 2048}, "4110m", 13952 + 193 - 100, id="less"),
        pytest.param({"cpus": 16, "mem": 32000}, "0m", 0, id="more than there is"),
        pytest.param({"cpus": 7.9995, "mem": 12000}, "111m", 4093, id="never too much for pods"),
    ],
)
def test_pods_get_what_the_agent_offers_less_the_node_itself(
    agent: dict[str, float], cpu: str, mebibytes: int
) -> None:
    assert reserved(MACHINE, node(**agent), EXECUTOR) == {
        "cpu": cpu,
        "memory": str(mebibytes * MEBIBYTE),
    }


def test_command_line() -> None:
    settings: Settings = parse_settings(GIVEN, "x")

    assert command(settings, node(), "/state/kubelet.json") == [
        "/opt/kubernetes-mesos/bin/kubelet",
        "--config=/state/kubelet.json",
        "--kubeconfig=/k",
        "--root-dir=/var/lib/kubelet",
        "--hostname-override=here",
        "--node-ip=10.90.7.21",
        "--node-labels=k8s.mesosphere.io/attribute-rack=r1",
    ]
    assert not any(
        "label" in flag for flag in command(settings, dataclasses.replace(node(), labels={}), "/c")
    )


@pytest.mark.parametrize(
    ("servers", "resolved", "path"),
    [
        (["127.0.0.53"], True, RESOLVED),
        (["127.0.0.53"], False, "/etc/resolv.conf"),
        (["127.0.0.1", "9.9.9.9"], True, "/etc/resolv.conf"),
        ([], True, "/etc/resolv.conf"),
    ],
)
def test_pods_never_ask_a_stub_on_loopback(servers: list[str], resolved: bool, path: str) -> None:
    assert choose(servers, resolved=resolved) == path


def test_memory_of_the_machine() -> None:
    assert memory_total("MemTotal:       16384 kB\nMemFree: 1 kB\n") == 16 * MEBIBYTE
    with pytest.raises(ValueError, match="no MemTotal"):
        memory_total("")
