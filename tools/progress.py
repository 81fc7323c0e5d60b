"""Long steps told while they run: what is done, how long it has taken, what is left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

TICK = 30.0
"""Seconds between two lines about a step that is still running."""


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(0.4), duration(59), duration(61), duration(600)
    ('0.4 s', '59 s', '1 min 1 s', '10 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 ", " ")
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def estimate(seconds: float) -> str:
    """A time as one would guess it: to the minute where there are minutes.

    >>> estimate(5), estimate(100), estimate(-3)
    ('about 5 s', 'about 2 min', 'any moment now')
    """
    if seconds <= 0:
        return "any moment now"
    return f"about {duration(round(seconds / 60) * 60 if seconds > 90 else round(seconds))}"


@dataclass
class Steps:
    """The steps of one set-up, each with the seconds it is expected to take."""

    expected: Mapping[str, float]
    out: TextIO = field(default_factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    tick: float = TICK
    finished: set[str] = field(default_factory=set)

    def left(self, current: str | None = None, spent: float = 0) -> float:
        """Expected seconds until everything is done."""
        rest = sum(s for name, s in self.expected.items() if name not in self.finished)
        return rest - min(spent, self.expected.get(current or "", 0))

    def say(self, text: str) -> None:
        print(text, file=self.out, flush=True)

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        """Announce a step, tell of it while it lasts, and say how long it took."""
        place = f"[{len(self.finished) + 1}/{len(self.expected)}]"
        rest = f"; {estimate(self.left())} left in all" if len(self.expected) > 1 else ""
        self.say(f"{place} {what}, {estimate(self.expected.get(name, 0))}{rest}")
        start, done = self.clock(), threading.Event()
        ticker = threading.Thread(target=self._tell, args=(name, start, done), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            done.set()
            ticker.join()
        self.finished.add(name)
        self.say(f"      done in {duration(self.clock() - start)}")

    def _tell(self, name: str, start: float, done: threading.Event) -> None:
        while not done.wait(self.tick):
            spent = self.clock() - start
            rest = self.expected.get(name, 0) - spent
            hope = f"{estimate(rest)} left of this step" if rest > 0 else "longer than expected"
            total = estimate(self.left(name, spent))
            self.say(f"      … {duration(spent)} so far, {hope}, {total} left in all")
