"""Ports that agents offer: ranges that do not touch what the hosts' own programs listen on."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator

from stacks.problems import wrong

RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")

TAKEN = {
    22: "SSH",
    2181: "ZooKeeper",
    2379: "etcd",
    2380: "etcd",
    2381: "etcd",
    2888: "ZooKeeper",
    3888: "ZooKeeper",
    5050: "mesos-master",
    5051: "mesos-agent",
    6443: "kube-apiserver",
    6444: "haproxy",
    10248: "kubelet",
    10249: "kube-proxy",
    10250: "kubelet",
    10251: "km",
    10256: "kube-proxy",
    10257: "kube-controller-manager",
    10259: "kube-scheduler",
    10262: "km",
}
"""What listens on a host that is control host and agent at once."""


def bounds(text: str) -> tuple[int, int]:
    """Read ``31000-32000`` or ``443``."""
    match = RANGE.fullmatch(text)
    low = int(match[1]) if match else 0
    high = int(match[2] or low) if match else 0
    if not 1 <= low <= high <= 65535:
        raise wrong("ports from 1 to 65535, as 31000-32000 or 443", f"correct {text!r}")
    return low, high


def check_ports(values: tuple[str, ...]) -> tuple[str, ...]:
    ranges = sorted(map(bounds, values))
    for (_, high), (low, _) in pairwise(ranges):
        if low <= high:
            raise wrong("each port once", f"name port {low} in one range only")
    for low, high in ranges:
        if own := next((port for port in TAKEN if low <= port <= high), None):
            raise wrong(
                "ports that nothing of the cluster itself listens on",
                f"leave out {own}, which is {TAKEN[own]}'s",
            )
    return values


AgentPorts = Annotated[tuple[str, ...], AfterValidator(check_ports)]
