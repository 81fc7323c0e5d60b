"""Files that are either there in full or not at all, and locks between set-ups."""

from __future__ import annotations

import fcntl
import glob
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def appearing(target: Path, mode: int = 0o755) -> Iterator[Path]:
    """A temporary file beside `target` that takes its place when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _part_of(target)
    try:
        yield part
        part.chmod(mode)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def write(target: Path, text: str, mode: int = 0o644) -> None:
    """Write a file at once; nobody else can read it before it has its mode."""
    with appearing(target, mode) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)


def link(target: Path, to: str) -> None:
    """A symbolic link, also in the place of another one."""
    part = _part_of(target)
    part.symlink_to(to)
    part.replace(target)


def _part_of(target: Path) -> Path:
    """A name that no other process writes to; what killed ones left under theirs is removed."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        pid = left.name.rsplit(".", 2)[1]
        if pid == str(os.getpid()) or not Path("/proc", pid).exists():
            left.unlink(missing_ok=True)
    return target.with_name(f".{target.name}.{os.getpid()}.part")


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock that ends with this process; `waiting` is called once if another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
