"""Mounting, and finding every mount again to take it away."""

from __future__ import annotations

import re
import time
from pathlib import Path

from lab.commands import run, succeeds
from lab.errors import LabError


def mounted(path: Path) -> bool:
    """Whether something is mounted exactly there."""
    return path in below(path)


def below(path: Path) -> list[Path]:
    """Every mount point at or below a path, deepest first."""
    found = [point for point in _points() if point == path or path in point.parents]
    return list(reversed(found))


def mount(*arguments: str) -> None:
    run("mount", *arguments)


def unmount_all(path: Path, seconds: float = 10) -> None:
    """Unmount everything at and below a path.

    Raises:
        LabError: something keeps it busy for longer than `seconds`.
    """
    deadline = time.monotonic() + seconds
    for point in below(path):
        while not succeeds(["umount", str(point)]):
            if not mounted(point):
                break
            if time.monotonic() > deadline:
                raise LabError(f"{point} stays busy: `fuser -vm {point}` tells who uses it")
            time.sleep(0.05)


def _points() -> list[Path]:
    """Mount points in the order they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [Path(_unescape(line.split()[4])) for line in lines]


def _unescape(text: str) -> str:
    """Blanks and the like are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
