"""How long a stack takes to come up and to find nothing to do, and what it weighs at rest."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUPS = Path("/sys/fs/cgroup")
OURS = "kubernetes-mesos"
IN_MEMORY = (("total_rss", "total_mapped_file"), ("anon", "file_mapped"))
"""What control groups call it, version 1 and 2: a process's own memory, and programs' files."""
RUNS = 3


def measure(stack: str) -> Iterator[tuple[str, str]]:
    """Times in seconds: minimum, median and maximum of three runs; memory in MB."""
    make("down", stack)
    cold, down = [], []
    for _ in range(RUNS):
        cold.append(make("up", stack))
        down.append(make("down", stack))
    yield "destroyed to answered nslookup (make up), s", spread(cold)
    yield "make down, s", spread(down)
    make("up", stack)
    yield "make up with nothing to do, s", spread([make("up", stack) for _ in range(RUNS)])
    yield (
        "make preview with nothing to do, s",
        spread([make("preview", stack) for _ in range(RUNS)]),
    )
    time.sleep(30)  # at rest: start-up garbage is collected
    yield "memory of the whole stack at rest, MB", f"{memory(stack):.0f}"


def make(target: str, stack: str) -> float:
    started = time.monotonic()
    subprocess.run(
        ["make", target, f"STACK={stack}"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - started


def spread(values: list[float]) -> str:
    return f"{min(values):.1f} / {statistics.median(values):.1f} / {max(values):.1f}"


def memory(stack: str) -> float:
    """What every process of the lab has in memory: its own, and the programs it runs from."""
    listed = subprocess.run(
        ["python3", "-m", "lab", "list"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    (lab,) = [lab["lab"] for lab in json.loads(listed) if lab["owner"] == f"{ROOT}:{stack}"]
    return in_memory(memory_stat(lab)) / 2**20


def memory_stat(lab: str, groups: Path = GROUPS) -> str:
    """A lab's memory as the kernel counts it, on control groups of version 1 or 2."""
    first = groups / "memory" / OURS / lab / "memory.stat"
    return (first if first.exists() else groups / OURS / lab / "memory.stat").read_text()


def in_memory(stat: str) -> int:
    """Bytes, out of a control group's memory.stat."""
    parts = dict(line.split() for line in stat.splitlines())
    (names,) = [names for names in IN_MEMORY if set(names) <= parts.keys()]
    return sum(int(parts[name]) for name in names)
