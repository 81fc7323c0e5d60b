"""The host's mounts, also when Mesos gave this container a mount namespace of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

NSENTER = ("nsenter", "--mount=/proc/1/ns/mnt", "--")


def enter() -> tuple[str, ...]:
    """What goes before a command so that it sees the host's mounts.

    Volumes that a kubelet mounts elsewhere would not reach containerd, which runs on the host.
    """
    try:
        same = Path("/proc/self/ns/mnt").readlink() == Path("/proc/1/ns/mnt").readlink()
    except PermissionError:
        # Then this process may not enter either; it is the host's own namespace, or nothing helps.
        return ()
    return () if same else NSENTER


def unmount_below(directory: str, prefix: Sequence[str]) -> list[str]:
    """Unmount everything strictly below a directory; return what is still mounted."""
    for target in _below(directory, prefix):
        subprocess.run([*prefix, "umount", "--lazy", target], capture_output=True, check=False)
    return _below(directory, prefix)


def _below(directory: str, prefix: Sequence[str]) -> list[str]:
    process = "1" if prefix else "self"
    return mounts_below(Path(f"/proc/{process}/mountinfo").read_text(), directory)


def mounts_below(mountinfo: str, directory: str) -> list[str]:
    """Mount points strictly below a directory, the innermost first."""
    points = []
    for line in mountinfo.splitlines():
        raw = line.split()[4]
        # The kernel writes blank, tab, newline and backslash as octal numbers.
        point = raw.encode().decode("unicode_escape") if "\\" in raw else raw
        if point.startswith(f"{directory}/"):
            points.append(point)
    return points[::-1]
