"""What a lab leaves on this machine: to be empty after it is taken away.

Looks at everything that a host is made of, wherever it could hide: processes, mounts of any mount
namespace, links, control groups, loop devices, and files outside the caches.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

LABS = Path("/var/lib/kubernetes-mesos/labs")
CGROUPS = Path("/sys/fs/cgroup")
NSPAWN = Path("/run/systemd/nspawn")


def leftovers(lab: str) -> list[str]:
    """Everything that still belongs to a lab, one line each."""
    found = [
        *processes(lab),
        *mounts(lab),
        *links(lab),
        *cgroups(lab),
        *loop_devices(lab),
        *files(lab),
    ]
    return sorted(set(found))


def processes(lab: str) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            groups = (process / "cgroup").read_text()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state == "Z":
            continue  # ended; whoever started it has not asked yet
        if f"/kubernetes-mesos/{lab}/" in groups or f"labs/{lab}/" in command:
            yield f"process {process.name}: {command or '?'}"


def mounts(lab: str) -> Iterator[str]:
    for table in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            lines = table.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if f"labs/{lab}/" in line:
                yield f"mount at {line.split()[4]}"


def links(lab: str) -> Iterator[str]:
    shown = subprocess.run(
        ["ip", "-oneline", "link", "show"], capture_output=True, text=True, check=True
    )
    for line in shown.stdout.splitlines():
        if f"km-{lab}" in line or f"vb-{lab}-" in line:
            yield f"link {line.split(':')[1].strip()}"


def cgroups(lab: str) -> Iterator[str]:
    for path in (*CGROUPS.glob(f"*/kubernetes-mesos/{lab}"), CGROUPS / "kubernetes-mesos" / lab):
        if path.exists():
            yield f"control group {path}"


def loop_devices(lab: str) -> Iterator[str]:
    shown = subprocess.run(
        ["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"],
        capture_output=True,
        text=True,
        check=True,
    )
    for line in shown.stdout.splitlines():
        if f"labs/{lab}/" in line:
            yield f"loop device {line}"


def files(lab: str) -> Iterator[str]:
    if (LABS / lab).exists():
        yield f"directory {LABS / lab}"
    for path in NSPAWN.glob(f"*/{lab}-*"):
        yield f"file {path}"
