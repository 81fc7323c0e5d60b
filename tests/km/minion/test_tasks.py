"""What a TaskInfo asks of a node."""

from __future__ import annotations

import math
from typing import Any

import pytest

from km.minion.tasks import MEBIBYTE, NodeTask, PodTask, Share, TaskError, parse_task, resources
from tests.km.minion.one_agent import NODE, pod_data, scalars, task


def pod_share(limit: float | None = None, **more: Any) -> Share:
    parsed = parse_task(task("t", pod_data("a", limit), cpus=0.5, mem=64, **more))
    assert isinstance(parsed, PodTask)
    return parsed.share


def test_a_node_task() -> None:
    parsed = parse_task(task("node.here.1", NODE, cpus=0.01, mem=1))

    assert parsed == NodeTask(
        task_id="node.here.1",
        node="here",
        cluster_dns="10.10.10.10",
        cluster_domain="cluster.local",
        provider_id="mesos://f/a",
        labels={"k8s.mesosphere.io/attribute-rack": "r1"},
        agent_cpus=4,
        agent_memory=2048 * MEBIBYTE,
        share=Share(cpus=0.01, memory=MEBIBYTE, cpu_limit=math.inf, memory_limit=math.inf),
    )


@pytest.mark.parametrize(
    ("limit", "info", "cpus", "memory"),
    [
        pytest.param(None, {}, math.inf, math.inf, id="none"),
        pytest.param(100, {}, math.inf, 100, id="the pod's, where Mesos takes none"),
        pytest.param(100, {"mem": {"value": 200}}, math.inf, 200, id="the task's before the pod's"),
        pytest.param(None, {"mem": {"value": "Infinity"}}, math.inf, math.inf, id="infinite"),
        pytest.param(None, {"cpus": {"value": 1.5}}, 1.5, math.inf, id="cpus only"),
        pytest.param(10, {"cpus": {"value": 0.1}}, 0.5, 64, id="never below what was granted"),
    ],
)
def test_limits(limit: float | None, info: dict[str, Any], cpus: float, memory: float) -> None:
    share = pod_share(limit, limits=info)

    assert (share.cpus, share.memory) == (0.5, 64 * MEBIBYTE)
    assert (share.cpu_limit, share.memory_limit) == (cpus, memory * MEBIBYTE)


def test_resources_are_summed_over_roles_and_reservations() -> None:
    listed = [
        *scalars(cpus=1, mem=10, disk=5),
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 20}, "reservations": [{}]},
        {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}]}},
    ]

    assert resources(listed).memory == 30 * MEBIBYTE
    assert resources(listed).cpus == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("not json", "task t: data is not what km scheduler writes"),
        ("[]", "task t: data is not what km scheduler writes"),
        ({"kind": "pod"}, "KeyError 'namespace'"),
        ({"kind": "cat"}, "data.kind is 'cat'; allowed: node, pod"),
        ({**NODE, "agent_resources": {"cpus": "many"}}, "ValueError"),
        ({**NODE, "labels": [1]}, "AttributeError"),
    ],
)
def test_data_of_someone_else_is_one_clear_error(data: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        parse_task(task("t", data))


def test_a_task_without_data_or_with_data_that_is_no_base64() -> None:
    with pytest.raises(TaskError, match="KeyError 'data'"):
        parse_task({"task_id": {"value": "t"}})
    with pytest.raises(TaskError, match="task t: "):
        parse_task({"task_id": {"value": "t"}, "data": "%%%"})
