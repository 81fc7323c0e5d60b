"""How Kubernetes uses Mesos: when nodes start and leave, what they and pods are counted with."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stacks.metal_settings import Strict
from stacks.problems import wrong
from stacks.sharing_settings import RoleNames

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")

SHORTEST_HOLD = 0.1
"""km gathers launches for some hundredths of a second; an offer has to last for that."""

LONGEST_HOLD = 60.0
"""Nobody else gets what is held."""


def in_seconds(value: str) -> float:
    """Read a duration as Kubernetes writes it: ``1m30s``."""
    parts = PART.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise wrong("a duration: numbers with ms, s, m or h", "write for example 90s or 1m30s")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def check_idle(value: str) -> str:
    if in_seconds(value) < 1:
        raise wrong("1s or more", "write for example 5m; nodes that never leave: every-agent")
    return value


def check_hold(value: str) -> str:
    if not SHORTEST_HOLD <= in_seconds(value) <= LONGEST_HOLD:
        raise wrong("100ms to 1m", "write for example 5s: others have their turn after it")
    return value


class DefaultRequests(Strict):
    """What a pod without requests is counted with in Mesos."""

    cpus: float = Field(default=0.01, ge=0.001, allow_inf_nan=False)
    """Processors, if its containers request none."""

    memory_mb: int = Field(default=32, ge=1)
    """Memory, in MiB, if they request none."""


class NodeOverhead(Strict):
    """What a node takes before the first pod: kubelet, kube-proxy, flanneld and km's minion."""

    cpus: float = Field(default=0.1, ge=0.01, allow_inf_nan=False)
    """Processors."""

    memory_mb: int = Field(default=192, ge=128)
    """Memory, in MiB."""


class Kubernetes(Strict):
    """How Kubernetes uses Mesos."""

    nodes: Literal["on-demand", "every-agent"] = "on-demand"
    """Start a node when pods need one, or one on every agent at once."""

    roles: RoleNames = ("*",)
    """The Mesos roles whose offers pods use."""

    idle_timeout: Annotated[str, AfterValidator(check_idle)] = "5m"
    """How long a node may be without pods before it leaves (on-demand)."""

    offer_hold: Annotated[str, AfterValidator(check_hold)] = "5s"
    """The longest time an offer is held while pods wait."""

    default_requests: DefaultRequests = DefaultRequests()
    """What a pod without requests is counted with in Mesos."""

    node_overhead: NodeOverhead = NodeOverhead()
    """What a node takes itself; when it changes, nodes are drained and started anew one by one."""
