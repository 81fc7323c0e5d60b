"""Amounts of what Mesos shares: exact sums, differences and comparisons.

Scalars are integers in thousandths (of a cpu, a MiB, a gpu), because Mesos itself rounds to three
decimals (https://mesos.apache.org/documentation/latest/attributes-resources/) and floats would
drift over a hundred thousand pods. Ports are sorted, disjoint ranges with both ends included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]
"""Port ranges ``((low, high), …)``: sorted, disjoint, not touching, ends included."""

SCALARS = ("cpus", "mem", "disk", "gpus")
UNITS = {"cpus": "cpus", "mem": "MiB memory", "disk": "MiB disk", "gpus": "gpus"}


def thousandths(value: float) -> int:
    """A Mesos scalar as an integer, rounded the way Mesos rounds."""
    return round(value * 1000)


def scalar(amount: int) -> float:
    """Thousandths as the number Mesos' JSON carries."""
    return amount / 1000


def number(amount: int) -> str:
    """Thousandths for people: ``1500`` reads ``1.5``, ``2000`` reads ``2``."""
    return f"{amount / 1000:.3f}".rstrip("0").rstrip(".")


def ranges(pairs: Iterable[tuple[int, int]]) -> Ranges:
    """Sort and merge ranges; empty ones (low above high) vanish."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pairs):
        if low > high:
            continue
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def ports(numbers: Iterable[int]) -> Ranges:
    """Single ports as ranges."""
    return ranges((port, port) for port in numbers)


def subtract_ranges(left: Ranges, right: Ranges) -> Ranges:
    """What is in ``left`` and not in ``right``."""
    if left == right:  # mostly: all ports of an agent on both sides
        return ()
    for low, high in right:
        left = tuple(_without(left, low, high))
    return left


def _without(left: Ranges, low: int, high: int) -> Iterator[tuple[int, int]]:
    for first, last in left:
        if last < low or first > high:
            yield (first, last)
            continue
        if first < low:
            yield (first, low - 1)
        if last > high:
            yield (high + 1, last)


def intersect_ranges(left: Ranges, right: Ranges) -> Ranges:
    """What is in both."""
    return subtract_ranges(left, subtract_ranges(left, right))


def describe_ranges(given: Ranges) -> str:
    """``31000-32000, 8080`` as people write ports."""
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in given)


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of everything km hands out. Immutable, hashable, cheap to compare."""

    cpus: int = 0
    """Thousandths of a cpu."""

    mem: int = 0
    """Thousandths of a MiB."""

    disk: int = 0
    """Thousandths of a MiB of the agent's root disk; volumes are never counted."""

    gpus: int = 0
    """Thousandths of a gpu (whole ones only, as Mesos demands)."""

    ports: Ranges = ()
    """Ports of the agent."""

    @classmethod
    def of(
        cls,
        *,
        cpus: float = 0,
        mem: float = 0,
        disk: float = 0,
        gpus: float = 0,
        ports: Iterable[tuple[int, int]] = (),
    ) -> Resources:
        """Build from numbers as people and Mesos write them: cpus, MiB, MiB, gpus, ranges."""
        return cls(
            thousandths(cpus),
            thousandths(mem),
            thousandths(disk),
            thousandths(gpus),
            ranges(ports),
        )

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.cpus + other.cpus,
            self.mem + other.mem,
            self.disk + other.disk,
            self.gpus + other.gpus,
            ranges(self.ports + other.ports) if other.ports else self.ports,
        )

    def __sub__(self, other: Resources) -> Resources:
        """The difference; scalars may fall below zero, which shows an over-commitment."""
        return Resources(
            self.cpus - other.cpus,
            self.mem - other.mem,
            self.disk - other.disk,
            self.gpus - other.gpus,
            subtract_ranges(self.ports, other.ports) if other.ports else self.ports,
        )

    def covers(self, need: Resources) -> bool:
        """Whether all of ``need`` is in here. What is not needed may be short or below zero."""
        return (
            (need.cpus <= self.cpus or need.cpus <= 0)
            and (need.mem <= self.mem or need.mem <= 0)
            and (need.disk <= self.disk or need.disk <= 0)
            and (need.gpus <= self.gpus or need.gpus <= 0)
            and (not need.ports or not subtract_ranges(need.ports, self.ports))
        )

    def times(self, need: Resources, most: int) -> int:
        """How many times ``need`` fits in here, ``most`` at most."""
        if need.ports:
            return min(1, most) if self.covers(need) else 0
        for have, want in (
            (self.cpus, need.cpus),
            (self.mem, need.mem),
            (self.disk, need.disk),
            (self.gpus, need.gpus),
        ):
            if want > 0:
                most = min(most, have // want)
        return max(most, 0)

    def scaled(self, count: int) -> Resources:
        """``count`` times these scalars, without ports."""
        return Resources(self.cpus * count, self.mem * count, self.disk * count, self.gpus * count)

    def at_least_zero(self) -> Resources:
        """The same with scalars below zero raised to zero."""
        if self.cpus >= 0 <= self.mem and self.disk >= 0 <= self.gpus:
            return self
        return Resources(
            max(self.cpus, 0), max(self.mem, 0), max(self.disk, 0), max(self.gpus, 0), self.ports
        )

    def least(self, other: Resources) -> Resources:
        """The smaller of the two, kind by kind."""
        return Resources(
            min(self.cpus, other.cpus),
            min(self.mem, other.mem),
            min(self.disk, other.disk),
            min(self.gpus, other.gpus),
            intersect_ranges(self.ports, other.ports),
        )

    def shortfall(self, need: Resources) -> str:
        """What of ``need`` is missing here: ``0.5 of 1 cpus, 64 of 128 MiB memory``; or empty."""
        missing = [
            f"{number(max(getattr(self, kind), 0))} of {number(getattr(need, kind))} {UNITS[kind]}"
            for kind in SCALARS
            if getattr(need, kind) > max(getattr(self, kind), 0)
        ]
        taken = subtract_ranges(need.ports, self.ports)
        if taken:
            missing.append(f"not port {describe_ranges(taken)}")
        return ", ".join(missing)

    def as_dict(self) -> dict[str, float]:
        """The scalars that are not zero, in Mesos' units."""
        return {kind: scalar(getattr(self, kind)) for kind in SCALARS if getattr(self, kind)}

    def __bool__(self) -> bool:
        return bool(self.cpus or self.mem or self.disk or self.gpus or self.ports)

    def __str__(self) -> str:
        parts = [
            f"{number(getattr(self, kind))} {UNITS[kind]}"
            for kind in SCALARS
            if getattr(self, kind)
        ]
        if self.ports:
            parts.append(f"ports {describe_ranges(self.ports)}")
        return ", ".join(parts) or "nothing"


NOTHING = Resources()
