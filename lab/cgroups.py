"""One branch of every control group hierarchy for each host: its sizes, and all its processes.

On cgroup v1 each controller is a hierarchy of its own, and a program that is in the host's branch
of one may sit elsewhere in another; so creating, killing and removing go through all of them.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError

ROOT = Path("/sys/fs/cgroup")
OURS = "kubernetes-mesos"
PERIOD_US = 100_000


def hierarchies() -> list[Path]:
    """Where each control group hierarchy of this machine is mounted."""
    if (ROOT / "cgroup.procs").exists():
        return [ROOT]
    # cpu is often a link to cpu,cpuacct: each hierarchy once, under its real name.
    found = (path for path in ROOT.iterdir() if not path.is_symlink())
    return sorted(path for path in found if (path / "cgroup.procs").exists())


def create(lab: str, host: str) -> list[Path]:
    """The host's branch in every hierarchy, made where it is missing."""
    branches = []
    for hierarchy in hierarchies():
        branch = hierarchy
        for part in (OURS, lab, host):
            _enable_controllers(branch)
            branch = branch / part
            branch.mkdir(exist_ok=True)
            _inherit_cpuset(branch)
        branches.append(branch)
    return branches


def limit(lab: str, host: str, cpus: float, memory_mb: int) -> None:
    """Set what all processes of a host may use together.

    Raises:
        LabError: the kernel refused, such as a memory limit below what is in use.
    """
    quota = int(cpus * PERIOD_US)
    memory = memory_mb * 2**20
    if hierarchies() == [ROOT]:
        unified = ROOT / OURS / lab / host
        _write(unified / "cpu.max", f"{quota} {PERIOD_US}", f"host {host}: {cpus} cpus")
        _write(unified / "memory.max", str(memory), f"host {host}: {memory_mb} MB of memory")
        return
    cpu = ROOT / "cpu" / OURS / lab / host
    _write(cpu / "cpu.cfs_period_us", str(PERIOD_US), f"host {host}: cpus")
    _write(cpu / "cpu.cfs_quota_us", str(quota), f"host {host}: {cpus} cpus")
    branch = ROOT / "memory" / OURS / lab / host
    _write(branch / "memory.limit_in_bytes", str(memory), f"host {host}: {memory_mb} MB of memory")


def remove(lab: str, host: str | None = None, seconds: float = 30) -> None:
    """Kill every process of a host (or of all hosts of a lab) and remove its branches.

    Raises:
        LabError: a process did not die within `seconds`.
    """
    parts = [OURS, lab] + ([host] if host else [])
    branches = [path for h in hierarchies() if (path := h.joinpath(*parts)).is_dir()]
    _kill(branches, time.monotonic() + seconds)
    for branch in branches:
        _remove_tree(branch, time.monotonic() + seconds)
        _remove_empty_parents(branch.parent)


def members(lab: str, host: str | None = None) -> set[int]:
    """The ids of all processes in a host's (or lab's) branches."""
    parts = [OURS, lab] + ([host] if host else [])
    return {pid for h in hierarchies() for pid in _processes(h.joinpath(*parts))}


def labs() -> set[str]:
    """Every lab that has a branch somewhere."""
    ours = (h / OURS for h in hierarchies())
    return {path.name for parent in ours if parent.is_dir() for path in _children(parent)}


def _enable_controllers(branch: Path) -> None:
    """On cgroup v2 a controller works in a child only when its parent hands it down."""
    control = branch / "cgroup.subtree_control"
    if not control.exists():
        return
    for controller in (branch / "cgroup.controllers").read_text().split():
        try:
            control.write_text(f"+{controller}")
        except OSError:
            # Some cannot be handed down (cpu with realtime processes): limit() tells if it matters.
            continue


def _inherit_cpuset(branch: Path) -> None:
    """On cgroup v1 nothing can join a cpuset before its processors and memory nodes are set."""
    clone = branch / "cgroup.clone_children"
    if not (branch / "cpuset.cpus").exists() or not clone.exists():
        return
    clone.write_text("1")
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (branch / name).read_text().strip():
            (branch / name).write_text((branch.parent / name).read_text())


def _write(path: Path, value: str, what: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise LabError(
            f"{what}: the kernel refused {value} for {path}: {error.strerror}"
        ) from error


def _children(branch: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(branch) if entry.is_dir()]
    except FileNotFoundError:
        return []


def _tree(branch: Path) -> Iterator[Path]:
    """The branch and everything below it, deepest first."""
    for child in _children(branch):
        yield from _tree(child)
    yield branch


def _processes(branch: Path) -> Iterator[int]:
    for group in _tree(branch):
        try:
            yield from map(int, (group / "cgroup.procs").read_text().split())
        except OSError:
            continue  # it was removed while we looked


def _kill(branches: list[Path], deadline: float) -> None:
    while left := {pid for branch in branches for pid in _processes(branch)}:
        if time.monotonic() > deadline:
            raise LabError(f"processes {sorted(left)} of {branches[0]} do not die; look at them")
        _thaw(branches)
        for pid in left:
            # 0 is a process of another pid namespace; it dies with the one that we see.
            if pid > 0:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        time.sleep(0.02)


def _thaw(branches: list[Path]) -> None:
    """A frozen process does not even die. Mesos freezes what it is about to kill."""
    for branch in branches:
        for group in _tree(branch):
            state = group / "freezer.state"
            if state.exists() and state.read_text().strip() != "THAWED":
                state.write_text("THAWED")


def _remove_tree(branch: Path, deadline: float) -> None:
    for group in list(_tree(branch)):
        while True:
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise LabError(f"{group} cannot be removed: {error.strerror}") from error
                time.sleep(0.02)
            else:
                break


def _remove_empty_parents(branch: Path) -> None:
    while branch.name and branch.parent != ROOT.parent and OURS in branch.parts:
        try:
            branch.rmdir()
        except OSError:
            return  # another host or lab still has a branch there
        branch = branch.parent
