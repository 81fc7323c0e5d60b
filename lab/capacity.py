"""Whether this machine is large enough for what is asked, said before anything is made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab import paths, state
from lab.errors import LabError
from lab.processes import boot_id
from lab.spec import HostSpec, LabSpec, Size

GB = 2**30


def lab_refusals(spec: LabSpec) -> Iterator[str]:
    """Why there is no room for a whole lab: processors, memory, disk.

    What the lab holds already is part of what it asks for. A lab of which nothing is new and
    nothing grows has its room, whatever else has filled the machine since.
    """
    before = {host.name: host.spec for host in state.hosts(spec.lab)}
    if not any(_is_more(size, before.get(size.name)) for size in spec.hosts):
        return
    who = f"lab {spec.lab}"
    memory = sum(size.memory_mb for size in spec.hosts)
    disk = sum(size.disk_gb for size in spec.hosts)
    yield from _lack_of_processors(max(spec.hosts, key=lambda size: size.cpus))
    yield from _lack_of_memory(who, memory, _held_memory(besides_lab=spec.lab))
    yield from _lack_of_disk(who, disk * GB - _used_disk(spec.lab))


def check_host(spec: HostSpec) -> None:
    """Room for one more host, or for one that grows.

    Raises:
        LabError: not enough processors, memory or disk.
    """
    who = f"host {spec.name}"
    sizes = {host.name: int(host.spec["disk_gb"]) for host in state.hosts(spec.lab)}
    sizes[spec.name] = spec.disk_gb
    refusals = [
        *_lack_of_processors(spec),
        *_lack_of_memory(who, spec.memory_mb, _held_memory(besides_host=(spec.lab, spec.name))),
        *_lack_of_disk(who, sum(sizes.values()) * GB - _used_disk(spec.lab)),
    ]
    if refusals:
        raise LabError(refusals[0])


def _is_more(size: Size, before: dict[str, Any] | None) -> bool:
    keys = ("cpus", "memory_mb", "disk_gb")
    return before is None or any(getattr(size, key) > before[key] for key in keys)


def _lack_of_processors(host: HostSpec | Size) -> Iterator[str]:
    processors = os.cpu_count() or 1
    if host.cpus > processors:
        yield (
            f"host {host.name}: cpus: {host.cpus:g} asked, this machine has {processors}; "
            "ask for less"
        )


def _lack_of_memory(who: str, asked: int, held: dict[str, int]) -> Iterator[str]:
    total = _total_memory_mb()
    if asked + sum(held.values()) <= total:
        return
    others = ", ".join(f"{name} {size} MB" for name, size in held.items()) or "nobody else"
    yield (
        f"{who}: memory_mb: {asked} MB asked, this machine has {total} MB in all and running "
        f"hosts hold {sum(held.values())} MB ({others}); ask for less, or take a lab down"
    )


def _lack_of_disk(who: str, asked: int) -> Iterator[str]:
    where = next(path for path in (paths.LABS, *paths.LABS.parents) if path.is_dir())
    free = shutil.disk_usage(where).free
    if asked > free:
        yield (
            f"{who}: disk_gb: the hosts of this lab may still fill {asked / GB:.1f} GB, "
            f"{where} has {free / GB:.1f} GB free; ask for less, or make room"
        )


def _held_memory(
    besides_lab: str | None = None, besides_host: tuple[str, str] | None = None
) -> dict[str, int]:
    """MB that each host may use which runs or is being made, as `<lab>/<host>`."""
    return {
        f"{lab}/{host.name}": int(host.spec["memory_mb"])
        for lab in state.labs()
        for host in state.readable_hosts(lab)
        if lab != besides_lab and (lab, host.name) != besides_host and _holds(lab, host)
    }


def _holds(lab: str, host: state.Host) -> bool:
    if host.process is not None:
        return host.lives()
    # Recorded and about to start, unless whoever made it went with an earlier boot.
    network = state.readable_network(lab)
    return network is not None and network.boot == boot_id()


def _used_disk(lab: str) -> int:
    """Bytes that the lab's disks occupy already; they grow as they are written to."""
    images = state.lab_path(lab).glob("hosts/*/disk.img")
    return sum(image.stat().st_blocks * 512 for image in images)


def _total_memory_mb() -> int:
    line = Path("/proc/meminfo").read_text().splitlines()[0]
    return int(line.split()[1]) // 1024
