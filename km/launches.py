"""What is launched, in Mesos' own words: ExecutorInfo, the node's task, the pods' tasks."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from km.ledger import Agent
from km.objects import VERSION_LABEL, labels_of_agent
from km.pods import Limits, Pod
from km.resources import scalar
from km.rules import Rules

RESERVED_LABELS = ("kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch")
"""The kubelet sets these itself."""

KUBELET_LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")
"""Those of Kubernetes' own that km has for it."""


LIMIT_LABEL = "limit."
"""How the labels begin that tell a task's limits (``limit.mem``) where the task has none itself."""


def executor_id(hostname: str) -> str:
    return f"km-{hostname}"


def node_task_id(hostname: str, number: int) -> str:
    return f"node.{hostname}.{number}"


def pod_task_id(uid: str, number: int) -> str:
    return f"pod.{uid}.{number}"


def parse_task_id(task_id: str) -> tuple[str, str]:
    """``("pod", uid)``, ``("node", hostname)``, or ``("", "")`` for what km never launched."""
    kind, _, rest = task_id.partition(".")
    subject, _, number = rest.rpartition(".")
    if kind in ("pod", "node") and subject and number.isdigit():
        return kind, subject
    return "", ""


def executor_info(
    rules: Rules, framework_id: str, hostname: str, resources: list[dict[str, Any]]
) -> dict[str, Any]:
    """The minion. Mesos wants the very same text at each launch, so nothing in it may change."""
    return {
        "type": "CUSTOM",
        "executor_id": {"value": executor_id(hostname)},
        "framework_id": {"value": framework_id},
        "name": "kubelet",
        "command": {"value": rules.minion_command},
        "resources": resources,
        "shutdown_grace_period": {"nanoseconds": round(rules.executor_grace * 1e9)},
    }


def node_labels(rules: Rules, agent: Agent) -> dict[str, str]:
    """What km adds to a node's labels: attributes, fault domain, settings, version."""
    labels = labels_of_agent(agent.hostname, agent.attributes, agent.region, agent.zone)
    for label in RESERVED_LABELS:
        del labels[label]
    labels.update(rules.labels_of(agent.hostname))
    if rules.node_version:
        labels[VERSION_LABEL] = rules.node_version
    return labels


def kubelet_may_set(label: str) -> bool:
    """Whether a kubelet starts with this label; the others km adds when the node is there.

    It takes few of Kubernetes' own: no ``node-role.kubernetes.io/…``, for example.
    """
    domain = label.rpartition("/")[0]
    if not re.search(r"(^|\.)(kubernetes|k8s)\.io$", domain):
        return True
    return label in KUBELET_LABELS or bool(
        re.search(r"(^|\.)(kubelet|node)\.kubernetes\.io$", domain)
    )


def node_task(
    rules: Rules,
    framework_id: str,
    agent: Agent,
    *,
    number: int,
    info: Mapping[str, Any],
    resources: list[dict[str, Any]],
) -> dict[str, Any]:
    """The task that makes an executor a node."""
    data = {
        "kind": "node",
        "node": agent.hostname,
        "cluster_dns": rules.cluster_dns,
        "cluster_domain": rules.cluster_domain,
        "provider_id": f"mesos://{framework_id}/{agent.id}",
        "labels": {k: v for k, v in node_labels(rules, agent).items() if kubelet_may_set(k)},
        "agent_resources": agent.total.as_dict(),
    }
    return {
        "name": f"node {agent.hostname}",
        "task_id": {"value": node_task_id(agent.hostname, number)},
        "agent_id": {"value": agent.id},
        "executor": info,
        "resources": resources,
        "data": _encoded(data),
    }


def pod_task(
    pod: Pod,
    agent: Agent,
    task_id: str,
    info: Mapping[str, Any],
    resources: list[dict[str, Any]],
) -> dict[str, Any]:
    """The task that is a pod's share of its node."""
    data = {
        "kind": "pod",
        "uid": pod.uid,
        "namespace": pod.namespace,
        "name": pod.name,
        "resources": {"cpus": scalar(pod.need.cpus), "mem": scalar(pod.need.mem)},
        "limits": {"mem": None if pod.limits.mem is None else scalar(pod.limits.mem)},
    }
    task: dict[str, Any] = {
        "name": pod.full_name,
        "task_id": {"value": task_id},
        "agent_id": {"value": agent.id},
        "executor": info,
        "resources": resources,
        "labels": {
            "labels": [
                {"key": "namespace", "value": pod.namespace},
                {"key": "pod", "value": pod.name},
            ]
        },
        "data": _encoded(data),
    }
    bound = limits(pod.limits)
    if agent.takes_limits:
        task["limits"] = bound
    else:  # read again by the next km
        task["labels"]["labels"] += [
            {"key": f"{LIMIT_LABEL}{kind}", "value": str(limit["value"])}
            for kind, limit in bound.items()
        ]
    return task


def limits(bound: Limits) -> dict[str, Any]:
    """A task's limits; no limit is infinite, which JSON can only say as text."""
    return {
        kind: {"value": "Infinity" if amount is None else scalar(amount)}
        for kind, amount in (("cpus", bound.cpus), ("mem", bound.mem))
    }


def _encoded(data: Mapping[str, Any]) -> str:
    return base64.b64encode(json.dumps(data, separators=(",", ":")).encode()).decode()
