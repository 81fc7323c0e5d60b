"""What to write into a cgroup so that it holds a share of the machine. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

from km.minion.tasks import MEBIBYTE, Share

CPU_PERIOD = 100_000
"""Microseconds; the kernel's and Kubernetes' own default."""
SMALLEST_MEMORY = 16 * MEBIBYTE
"""Without pods: enough for the empty cgroups that the kubelet makes, too little to run in."""
LARGEST_SHARES = 262_144
BREATH = 32 * MEBIBYTE
"""Left above what is in use while a limit goes down: a pod that ended may still hold memory for
a moment, and its neighbours, who do nothing wrong, must not be killed for it."""


def cpu_shares(cpus: float) -> int:
    """Version 1 ``cpu.shares``: 1024 a CPU, as Mesos and Kubernetes count."""
    return min(max(int(cpus * 1024), 2), LARGEST_SHARES)


def cpu_weight(cpus: float) -> int:
    """Version 2 ``cpu.weight`` by runc's formula, so that pods and node are in proportion."""
    return 1 + (cpu_shares(cpus) - 2) * 9999 // (LARGEST_SHARES - 2)


def cpu_max(limit: float) -> str:
    """Version 2 ``cpu.max``."""
    if math.isinf(limit) or limit <= 0:
        return f"max {CPU_PERIOD}"
    return f"{max(int(limit * CPU_PERIOD), 1000)} {CPU_PERIOD}"


def memory_limit(share: Share) -> int | None:
    """Bytes; None: no limit. Never so low that an empty cgroup could not exist."""
    if math.isinf(share.memory_limit):
        return None
    return max(int(share.memory_limit), SMALLEST_MEMORY)


def held(pods: Iterable[Share], *, ceiling: float | None) -> Share:
    """What all pods may use together.

    Args:
        pods: one share a task.
        ceiling: bytes that pods without a memory limit may go up to, all together; None: such a
            pod counts with its request, and can use more only where others use less.
    """
    total = Share()
    for pod in pods:
        unlimited = math.isinf(pod.memory_limit) and ceiling is None
        total += dataclasses.replace(pod, memory_limit=pod.memory) if unlimited else pod
    if ceiling is not None and math.isinf(total.memory_limit):
        total = dataclasses.replace(total, memory_limit=max(ceiling, total.memory))
    return total


def cpu_files(version: int, share: Share, *, quota: bool) -> dict[str, str]:
    """File names and values of the cpu controller.

    Args:
        version: of the cgroups, 1 or 2.
        share: what the cgroup holds.
        quota: also hold it to its CPU limit. Only on version 2: on version 1 a parent's quota
            makes the kernel refuse any child's that is larger, if only by rounding, and the
            kubelet could not start a pod; there each pod's own quota has to do.
    """
    if version == 1:
        return {"cpu.shares": str(cpu_shares(share.cpus))}
    files = {"cpu.weight": str(cpu_weight(share.cpus))}
    if quota:
        files["cpu.max"] = cpu_max(share.cpu_limit)
    return files


def unreclaimable(current: int, statistics: str) -> int:
    """Bytes of a v2 cgroup that no limit could push out: all but file cache and spare slab.

    Args:
        current: ``memory.current``.
        statistics: ``memory.stat``.
    """
    values = dict(line.split(None, 1) for line in statistics.splitlines() if " " in line)
    spare = ("active_file", "inactive_file", "slab_reclaimable")
    return max(current - sum(int(values.get(name, 0)) for name in spare), 0)


def next_limit(wanted: int, held: int) -> int:
    """How far a memory limit may go down at once: never below what cannot be given back.

    Lower, and version 2 kills pods at once and version 1 refuses. The rest follows as they exit.
    """
    return wanted if wanted >= held else held + BREATH
