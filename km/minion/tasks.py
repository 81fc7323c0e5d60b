"""What km scheduler asks of a node, read from Mesos' TaskInfo. Pure."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MEBIBYTE = 2**20


class TaskError(Exception):
    """A TaskInfo that no node can run: one line with the place and the value."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Part of a machine. CPUs in cores, memory in bytes; no limit is an infinite one."""

    cpus: float = 0.0
    memory: float = 0.0
    cpu_limit: float = 0.0
    memory_limit: float = 0.0

    def __add__(self, other: Share) -> Share:
        return Share(
            cpus=self.cpus + other.cpus,
            memory=self.memory + other.memory,
            cpu_limit=self.cpu_limit + other.cpu_limit,
            memory_limit=self.memory_limit + other.memory_limit,
        )


@dataclass(frozen=True, kw_only=True)
class NodeTask:
    """Start the processes of a Kubernetes node."""

    task_id: str
    node: str
    cluster_dns: str
    cluster_domain: str
    provider_id: str
    labels: dict[str, str]
    agent_cpus: float
    """What the Mesos agent offers at most, this node's own processes included."""
    agent_memory: float
    share: Share


@dataclass(frozen=True, kw_only=True)
class PodTask:
    """Make room for a pod; the kubelet runs it once it is bound."""

    task_id: str
    pod: str
    """``namespace/name``."""
    uid: str
    share: Share


def parse_task(info: Mapping[str, Any]) -> NodeTask | PodTask:
    """Read one TaskInfo.

    Raises:
        TaskError: its data is not what km scheduler writes.
    """
    task_id = str(info["task_id"]["value"])
    try:
        data = json.loads(base64.b64decode(info["data"], validate=True))
        kind = data["kind"]
        if kind == "node":
            return _node(task_id, info, data)
        if kind == "pod":
            return PodTask(
                task_id=task_id,
                pod=f"{data['namespace']}/{data['name']}",
                uid=str(data["uid"]),
                share=task_share(info, data.get("limits") or {}),
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TaskError(
            f"task {task_id}: data is not what km scheduler writes: {type(error).__name__} {error}"
        ) from error
    raise TaskError(f"task {task_id}: data.kind is {kind!r}; allowed: node, pod")


def _node(task_id: str, info: Mapping[str, Any], data: Mapping[str, Any]) -> NodeTask:
    return NodeTask(
        task_id=task_id,
        node=str(data["node"]),
        cluster_dns=str(data["cluster_dns"]),
        cluster_domain=str(data["cluster_domain"]),
        provider_id=str(data["provider_id"]),
        labels={str(key): str(value) for key, value in (data.get("labels") or {}).items()},
        agent_cpus=float(data["agent_resources"]["cpus"]),
        agent_memory=float(data["agent_resources"]["mem"]) * MEBIBYTE,
        share=task_share(info, {}),
    )


def task_share(info: Mapping[str, Any], pod_limits: Mapping[str, Any]) -> Share:
    """A task's requests and limits.

    A limit is the TaskInfo's, else the pod's own: an agent without Mesos' cgroup isolators, so
    every one on cgroup v2, drops a task that has limits, and km has to say them in the data.
    """
    granted = resources(info.get("resources", ()))
    limits = {**pod_limits, **(info.get("limits") or {})}
    return Share(
        cpus=granted.cpus,
        memory=granted.memory,
        cpu_limit=max(granted.cpus, number(limits.get("cpus"))),
        memory_limit=max(granted.memory, number(limits.get("mem")) * MEBIBYTE),
    )


def resources(listed: Iterable[Mapping[str, Any]]) -> Share:
    """Sum Mesos' list of resources, whatever their role or reservation."""
    total = {"cpus": 0.0, "mem": 0.0}
    for resource in listed:
        if resource.get("name") in total and "scalar" in resource:
            total[resource["name"]] += float(resource["scalar"]["value"])
    memory = total["mem"] * MEBIBYTE
    return Share(cpus=total["cpus"], memory=memory, cpu_limit=total["cpus"], memory_limit=memory)


def kill_grace(kill: Mapping[str, Any]) -> float | None:
    """How many seconds a KILL grants its task; None when it does not say."""
    policy = kill.get("kill_policy") or {}
    grace = policy.get("grace_period")
    return None if grace is None else float(grace.get("nanoseconds", 0)) / 1e9


def number(value: Any) -> float:
    """A limit as a bare number or as Mesos' Value.Scalar; none is infinite, as is "Infinity"."""
    if isinstance(value, Mapping):
        value = value.get("value")
    return math.inf if value is None else float(value)
