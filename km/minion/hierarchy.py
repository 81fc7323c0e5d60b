"""Makes, empties and removes the cgroups that ``cgroups.plan`` decided on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from km.minion.cgroups import V2_CONTROLLERS, CgroupError, Mount, Tree, levels

POLL = 0.02
"""Seconds between looks at processes that were killed."""


def prepare(tree: Tree) -> None:
    """Make every cgroup of the tree in every hierarchy. Safe to repeat.

    Raises:
        CgroupError: the kernel refused, with what it refused.
    """
    for mount in tree.mounts:
        wanted = dict.fromkeys((tree.home, tree.pods))
        try:
            for path in wanted:
                _make(mount, path, tree.version)
        except OSError as error:
            raise CgroupError(
                f"cannot make cgroup {mount.point}{tree.pods}: {error}; "
                "is the hierarchy writable, and free of processes in its inner groups?"
            ) from error


def _make(mount: Mount, path: str, version: int) -> None:
    above = mount.point
    for level in levels(path):
        if version == 2:
            _enable(above)
        here = mount.point + level
        Path(here).mkdir(exist_ok=True)
        if "cpuset" in mount.controllers:
            _inherit_cpuset(above, here)
        above = here


def _enable(directory: str) -> None:
    """Hand every controller that the kubelet wants on to the children of a v2 cgroup."""
    available = Path(directory, "cgroup.controllers").read_text().split()
    enabled = Path(directory, "cgroup.subtree_control").read_text().split()
    for controller in V2_CONTROLLERS:
        if controller in available and controller not in enabled:
            Path(directory, "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit_cpuset(above: str, here: str) -> None:
    """A new v1 cpuset has no CPU and no memory node, and no process may enter it."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not Path(here, name).read_text().strip():
            Path(here, name).write_text(Path(above, name).read_text())


def join(tree: Tree) -> None:
    """Move this process, and so every later child of it, to where the node lives.

    Also in the hierarchies beside Mesos': systemd would count the node to the agent's unit.
    """
    for mount in tree.ours:
        Path(mount.point + tree.home, "cgroup.procs").write_text(str(os.getpid()))


def leave(tree: Tree) -> None:
    """Move this process, if it lives in the tree, back to where it was started."""
    for mount, origin in zip(tree.mounts, tree.origins, strict=True):
        with contextlib.suppress(OSError):
            inside = Path(mount.point + tree.home, "cgroup.procs").read_text().split()
            if mount in tree.ours and str(os.getpid()) in inside:
                Path(origin, "cgroup.procs").write_text(str(os.getpid()))


def pod_processes(tree: Tree) -> set[int]:
    """Every process of every pod."""
    return _below(tree.mounts, tree.pods)


def all_processes(tree: Tree) -> set[int]:
    """Every process of the node but this one. What Mesos put beside it is Mesos' to end."""
    return pod_processes(tree) | _below(tree.ours, tree.path)


def _below(mounts: Iterable[Mount], path: str) -> set[int]:
    found: set[int] = set()
    for mount in mounts:
        for directory, _, _ in os.walk(mount.point + path):
            with contextlib.suppress(OSError):
                found.update(map(int, Path(directory, "cgroup.procs").read_text().split()))
    return found - {0, os.getpid()}


async def terminate(tree: Tree, seconds: float) -> None:
    """Ask the first process of every container to end, and wait for all others as well.

    Signalling only the init process of a container lets it end its children in its own order.
    """
    signalled: set[int] = set()
    end = asyncio.get_running_loop().time() + seconds
    while found := pod_processes(tree):
        for pid in found - signalled:
            if _is_init(pid):
                _signal(pid, signal.SIGTERM)
        signalled |= found
        if asyncio.get_running_loop().time() > end:
            return
        await asyncio.sleep(POLL)


async def kill(tree: Tree, seconds: float) -> set[int]:
    """Kill every process of pods and node; return those that would not go."""
    end = asyncio.get_running_loop().time() + seconds
    while found := all_processes(tree):
        _thaw(tree)
        for pid in found:
            _signal(pid, signal.SIGKILL)
        if asyncio.get_running_loop().time() > end:
            return found
        await asyncio.sleep(POLL)
    return set()


async def remove(mounts: Iterable[Mount], path: str, seconds: float) -> list[str]:
    """Remove a cgroup and everything below; return the directories that would not go."""
    left = [mount.point + path for mount in mounts]
    end = asyncio.get_running_loop().time() + seconds
    while True:
        # A cgroup stays busy for some milliseconds after its last process is gone.
        left = [directory for directory in left if not _remove_tree(directory)]
        if not left or asyncio.get_running_loop().time() > end:
            return left
        await asyncio.sleep(POLL)


def _remove_tree(top: str) -> bool:
    for directory, _, _ in os.walk(top, topdown=False):
        # Busy, or gone meanwhile: what is left shows in the end.
        with contextlib.suppress(OSError):
            Path(directory).rmdir()
    return not Path(top).exists()


def _thaw(tree: Tree) -> None:
    """A frozen (paused) container does not even die."""
    for mount in tree.mounts:
        if "freezer" in mount.controllers or tree.version == 2:
            name = "cgroup.freeze" if tree.version == 2 else "freezer.state"
            value = "0" if tree.version == 2 else "THAWED"
            for directory, _, _ in os.walk(mount.point + tree.pods):
                with contextlib.suppress(OSError):
                    Path(directory, name).write_text(value)


def _is_init(pid: int) -> bool:
    """Whether a process is number 1 of a PID namespace other than ours."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                numbers = line.split()[1:]
                return len(numbers) > 1 and numbers[-1] == "1"
    return False


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise
