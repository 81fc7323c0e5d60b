"""What ``facts.sh`` says about a host, as plain values. Pure: text in, values out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


class AnswerError(ValueError):
    """The answer of a host ended before its last line, or answers something else."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A TCP port somebody listens on. ``program`` and ``unit`` are ``-`` when not known."""

    port: int
    program: str
    unit: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One host as it was at ``time`` (seconds, the host's own clock)."""

    sudo: str
    """``root`` (no need), ``ok``, ``password`` (asked for one), ``refused`` or ``missing``."""

    user: str
    hostname: str
    machine_id: str
    arch: str
    kernel: str
    cpus: int
    memory_mb: int
    disk_mb: int
    """Free where ``/var/lib`` lies."""

    cgroup: str
    systemd: bool
    os_id: str
    os_version: str
    os_name: str
    time: float

    cluster: str | None = None
    """Content of ``/etc/kubernetes-mesos/cluster``: the cluster the host belongs to."""

    control: tuple[str, ...] = ()
    """Addresses of the control hosts that it was told of, in their order."""

    installed: Mapping[str, str] = field(default_factory=dict)
    """``kubeadm``, ``kubernetes`` or ``mesos`` → the path that shows it."""

    listeners: tuple[Listener, ...] = ()
    recipes: frozenset[str] = frozenset()
    """Recipes that have left a manifest on the host."""

    drift: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Recipe → what of it is not as the recipe left it, one sentence each."""

    repaired: Mapping[str, str] = field(default_factory=dict)
    """Recipe → the repair it was last asked for, as ``drift.py`` words it."""

    unreachable: Mapping[str, str] = field(default_factory=dict)
    """``address:port`` of another host → why it cannot be reached from here."""


def parse(answer: str) -> Facts:
    """Read an answer.

    Raises:
        AnswerError: the last line is missing, so the script did not reach its end; or facts are,
            or are none.
    """
    lines = [line.split("\t") for line in answer.splitlines() if line]
    if not lines or lines[-1] != ["end"]:
        raise AnswerError(f"the answer ends after {len(lines)} lines: {answer[-200:]!r}")
    try:
        return _facts(lines)
    except (LookupError, ValueError) as error:
        raise AnswerError(f"the answer is not understood ({error!r}): {answer[:200]!r}") from error


def _facts(lines: list[list[str]]) -> Facts:
    single = {key: values for key, *values in lines}
    os_id, os_version, os_name = _padded(single["os"], 3)
    return Facts(
        sudo=single["sudo"][0],
        user=single["user"][0],
        hostname=_first(single, "hostname"),
        machine_id=_first(single, "machine_id"),
        arch=_first(single, "arch"),
        kernel=_first(single, "kernel"),
        cpus=int(_first(single, "cpus") or 0),
        memory_mb=int(_first(single, "memory_mb") or 0),
        disk_mb=int(_first(single, "disk_mb") or 0),
        cgroup=_first(single, "cgroup"),
        systemd=_first(single, "systemd") == "yes",
        os_id=os_id,
        os_version=os_version,
        os_name=os_name,
        time=float(_first(single, "time")),
        cluster=single["cluster"][0] if "cluster" in single else None,
        control=tuple(_first(single, "control").split()),
        installed={values[0]: values[1] for values in _all(lines, "installed")},
        listeners=tuple(
            Listener(port=int(port), program=program, unit=unit)
            for port, program, unit in _all(lines, "port")
        ),
        recipes=frozenset(values[0] for values in _all(lines, "recipe")),
        drift=_grouped(_all(lines, "drift")),
        repaired=dict(_all(lines, "repaired")),
        unreachable=dict(_all(lines, "unreachable")),
    )


def _all(lines: list[list[str]], key: str) -> Iterator[list[str]]:
    return (values for name, *values in lines if name == key)


def _first(single: Mapping[str, list[str]], key: str) -> str:
    return _padded(single.get(key, []), 1)[0]


def _padded(values: list[str], length: int) -> list[str]:
    return [*values, *[""] * (length - len(values))][:length]


def _grouped(pairs: Iterator[list[str]]) -> dict[str, tuple[str, ...]]:
    grouped: dict[str, tuple[str, ...]] = {}
    for recipe, text in pairs:
        grouped[recipe] = (*grouped.get(recipe, ()), text)
    return grouped
