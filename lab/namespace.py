"""Mounts that only one host can see.

A host's disk and root are mounted in a mount namespace of the host's own. They go by themselves
when its last process ends, however that happens, and no other host's namespace holds a copy of
them: systemd-nspawn cannot always leave its old root behind (pivot_root fails where this
machine's own root is an initial ramdisk), and such a copy would keep the disk in use.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from lab.commands import run
from lab.errors import LabError

CLONE_NEWNS = 0x00020000

# Python has these calls from 3.12 on.
_libc = ctypes.CDLL(None, use_errno=True)


def create() -> None:
    """Give this process mounts of its own: changes are seen by it and its children alone."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    run("mount", "--make-rprivate", "/")


def enter(pid: int) -> None:
    """See the mounts that another process sees.

    Raises:
        LabError: it has ended.
    """
    try:
        handle = os.open(Path(f"/proc/{pid}/ns/mnt"), os.O_RDONLY)
    except FileNotFoundError as error:
        raise LabError(f"process {pid} has ended") from error
    try:
        _check(_libc.setns(handle, CLONE_NEWNS), "setns")
    finally:
        os.close(handle)


def _check(result: int, call: str) -> None:
    if result != 0:
        raise LabError(f"{call}: {os.strerror(ctypes.get_errno())}; hosts need root")
