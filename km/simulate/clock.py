"""A clock that jumps from one thing to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Clock:
    """Virtual time in seconds, and what is to be done when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, seconds: float, call: Callable[..., object], *args: Any) -> None:
        """Do something later; things due at one moment happen in the order they were set."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + seconds, self._count, call, args))

    def step(self, until: float) -> bool:
        """Do the next thing that is due by ``until``; False when there is none."""
        if not self._heap or self._heap[0][0] > until:
            self.now = max(self.now, until)
            return False
        self.now, _, call, args = heapq.heappop(self._heap)
        self.steps += 1
        call(*args)
        return True
