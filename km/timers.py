"""Alarms by name, in virtual or real time: nothing here reads a clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple


class Alarm(NamedTuple):
    """What an alarm is about: a kind of work and, mostly, whom it concerns."""

    kind: str
    subject: str = ""


class Timers:
    """A set of alarms. Setting one again moves it; order is by time, then by setting."""

    def __init__(self) -> None:
        self._when: dict[Alarm, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Alarm]] = []
        self._count = 0

    def set(self, alarm: Alarm, when: float) -> None:
        """Ring at ``when``, and not at the time set before."""
        self._count += 1
        self._when[alarm] = (when, self._count)
        heapq.heappush(self._heap, (when, self._count, alarm))

    def sooner(self, alarm: Alarm, when: float) -> None:
        """Ring at ``when`` unless it rings before that already."""
        present = self._when.get(alarm)
        if present is None or when < present[0]:
            self.set(alarm, when)

    def clear(self, alarm: Alarm) -> None:
        self._when.pop(alarm, None)

    def __contains__(self, alarm: Alarm) -> bool:
        return alarm in self._when

    def next(self) -> float | None:
        """When the earliest alarm rings."""
        heap = self._heap
        while heap:
            when, count, alarm = heap[0]
            if self._when.get(alarm) == (when, count):
                return when
            heapq.heappop(heap)
        return None

    def due(self, now: float) -> Iterator[Alarm]:
        """Take out the alarms that ring, one by one; alarms set meanwhile count as well."""
        while (when := self.next()) is not None and when <= now:
            _, _, alarm = heapq.heappop(self._heap)
            del self._when[alarm]
            yield alarm
