"""A host's disk: an image file of its own, mounted, with the base as the layer below.

A disk of its own gives the host the size that was asked for and not a byte more, gives containerd
and the kubelet a real filesystem (an overlay cannot lie on an overlay), and is removed as one
file. It takes space on this machine only as it is written to.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from lab import mounts
from lab.commands import run, say

GB = 2**30
DATA = {
    "containerd": "/var/lib/containerd",
    "kubelet": "/var/lib/kubelet",
    "data": "/var/lib/kubernetes-mesos",
}
"""Directories of the disk that the host sees directly, and where."""


def attach(directory: Path, base: Path, size_gb: int) -> Path:
    """Make, grow and mount the disk under a host's directory; the root filesystem's path.

    To be called in the host's mount namespace, and with another size only while nothing uses it.

    Raises:
        LabError: a program that it needs failed.
    """
    disk, root = directory / "disk", directory / "root"
    make_image(directory / "disk.img", size_gb)
    for path in (disk, root):
        path.mkdir(exist_ok=True)
    if not mounts.mounted(disk):
        # No barriers: the kernel of this machine outlives the hosts, and etcd and ZooKeeper
        # sync at each write.
        mounts.mount("-o", "loop,discard,barrier=0", str(directory / "disk.img"), str(disk))
    for name in ("upper", "work", *DATA):
        (disk / name).mkdir(exist_ok=True)
    if not mounts.mounted(root):
        layers = f"lowerdir={base},upperdir={disk / 'upper'},workdir={disk / 'work'}"
        mounts.mount("-t", "overlay", "-o", layers, "lab", str(root))
    return root


def detach(directory: Path, seconds: float = 15) -> None:
    """Wait until the kernel has let go of a disk whose host has ended."""
    mounts.unmount_all(directory)
    image = directory / "disk.img"
    deadline = time.monotonic() + seconds
    while image.exists() and (device := _device(image)):
        if time.monotonic() > deadline:
            say(f"{device} still holds {image}; it goes with the last process that uses it")
            return
        time.sleep(0.02)


def _device(image: Path) -> str:
    """The loop device that an image is attached to; empty when there is none."""
    command = ("losetup", "--noheadings", "--output", "NAME", "--associated", str(image))
    return run(*command).strip()


def make_image(image: Path, size_gb: int, content: Path | None = None) -> None:
    """Make a disk, or grow one; a new one is filled with what is in a directory.

    Raises:
        LabError: a program that it needs failed, such as for a content that does not fit.
    """
    filled = ("-d", str(content)) if content else ()
    size = size_gb * GB
    if not image.exists():
        partial = image.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        with partial.open("wb") as file:
            file.truncate(size)
        run("mke2fs", "-q", "-t", "ext4", "-m", "0", "-E", "nodiscard", *filled, str(partial))
        partial.rename(image)
    if image.stat().st_size < size:
        os.truncate(image, size)
        run("e2fsck", "-f", "-p", str(image))
        run("resize2fs", str(image))
