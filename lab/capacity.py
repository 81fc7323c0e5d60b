"""Whether this machine is large enough for what is asked, said before anything is made."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab import paths, state
from lab.errors import LabError
from lab.spec import HostSpec, NetworkSpec

GB = 2**30


def check_lab(spec: NetworkSpec) -> None:
    """Room for a whole lab, when it said how large it will be.

    Raises:
        LabError: not enough memory or disk.
    """
    if spec.memory_mb:
        _check_memory(f"lab {spec.lab}", spec.memory_mb, _held_memory(besides_lab=spec.lab))
    if spec.disk_gb:
        _check_disk(f"lab {spec.lab}", spec.disk_gb * GB - _used_disk(spec.lab))


def check_host(spec: HostSpec) -> None:
    """Room for one more host, or for one that grows.

    Raises:
        LabError: not enough processors, memory or disk.
    """
    processors = os.cpu_count() or 1
    if spec.cpus > processors:
        raise LabError(
            f"host {spec.name}: cpus: {spec.cpus:g} asked, this machine has {processors}"
        )
    held = _held_memory(besides_host=(spec.lab, spec.name))
    _check_memory(f"host {spec.name}", spec.memory_mb, held)
    sizes = {host.name: int(host.spec["disk_gb"]) for host in state.hosts(spec.lab)}
    sizes[spec.name] = spec.disk_gb
    _check_disk(f"host {spec.name}", sum(sizes.values()) * GB - _used_disk(spec.lab))


def _check_memory(who: str, asked: int, held: dict[str, int]) -> None:
    total = _total_memory_mb()
    if asked + sum(held.values()) <= total:
        return
    others = ", ".join(f"{name} {size} MB" for name, size in held.items()) or "nobody else"
    raise LabError(
        f"{who}: memory_mb: {asked} MB asked, this machine has {total} MB in all and running "
        f"hosts hold {sum(held.values())} MB ({others}); ask for less, or take a lab down"
    )


def _check_disk(who: str, asked: int) -> None:
    where = next(path for path in (paths.LABS, *paths.LABS.parents) if path.is_dir())
    free = shutil.disk_usage(where).free
    if asked > free:
        raise LabError(
            f"{who}: disk_gb: the hosts of this lab may still fill {asked / GB:.1f} GB, "
            f"{where} has {free / GB:.1f} GB free; ask for less, or make room"
        )


def _held_memory(
    besides_lab: str | None = None, besides_host: tuple[str, str] | None = None
) -> dict[str, int]:
    """MB that each running host may use, as `<lab>/<host>`."""
    return {
        f"{lab}/{host.name}": int(host.spec["memory_mb"])
        for lab in state.labs()
        for host in state.hosts(lab)
        if lab != besides_lab and (lab, host.name) != besides_host and host.lives()
    }


def _used_disk(lab: str) -> int:
    """Bytes that the lab's disks occupy already; they grow as they are written to."""
    images = state.lab_path(lab).glob("hosts/*/disk.img")
    return sum(image.stat().st_blocks * 512 for image in images)


def _total_memory_mb() -> int:
    line = Path("/proc/meminfo").read_text().splitlines()[0]
    return int(line.split()[1]) // 1024
