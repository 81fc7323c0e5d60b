"""Booting a root filesystem with systemd-nspawn, so that it takes itself for a machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from lab import cgroups, disk
from lab.errors import LabError
from lab.paths import STORE, cache
from lab.processes import Process
from lab.spec import HostSpec

ENTER = Path(__file__).parent / "enter.sh"
RUNTIME = Path("/run/systemd/nspawn")
SYSTEM_CALLS = "@keyring bpf perf_event_open @mount @module @raw-io"
"""What containerd, runc and the kubelet call beyond nspawn's own list."""

DEVICES = ("/dev/kmsg", "/dev/fuse")
"""The kubelet reads the kernel's log for out-of-memory kills."""


def machine_name(lab: str, host: str) -> str:
    """A name for one boot of a host, such as ``3f2a-agent-1.9c01d2``: a new one each time.

    nspawn names the host's link after it, and the kernel takes links away some time after the
    last process of their host: a host that boots again at once would find its own name in use.
    """
    return f"{_stem(lab, host)}.{secrets.token_hex(3)}"


def _stem(lab: str, host: str) -> str:
    """What all boots of a host have in common; other labs may have a host of the same name."""
    return f"{lab}-{host}"[:57].rstrip("-")


def check() -> None:
    """What has to be there before a host can be made.

    Raises:
        LabError: naming what is missing and the command that helps.
    """
    if os.geteuid() != 0:
        raise LabError("hosts are made by root; run this with sudo")
    needed = {
        "systemd-nspawn": "systemd-container",
        "ssh-keygen": "openssh-client",
        "mke2fs": "e2fsprogs",
        "losetup": "mount",
        "ip": "iproute2",
    }
    missing = {package for program, package in needed.items() if shutil.which(program) is None}
    if missing:
        raise LabError(f"missing; run: apt-get install {' '.join(sorted(missing))}")


def start(spec: HostSpec, directory: Path, bridge: str) -> Process:
    """Boot a host; it goes on when we end. The root filesystem is at `directory`/root."""
    groups = cgroups.create(spec.lab, spec.name)
    cgroups.limit(spec.lab, spec.name, spec.cpus, spec.memory_mb)
    return launch(_command(spec, directory, bridge), groups, directory)


def launch(
    command: Sequence[str], groups: Sequence[Path], directory: Path, links: Sequence[int] = ()
) -> Process:
    """Start a host's first process, inside of its control groups; it goes on when we end.

    Args:
        command: what to run; what it prints goes to `directory`/console.log.
        groups: the host's control groups.
        directory: the host's own.
        links: open files that it keeps.
    """
    with (directory / "console.log").open("w") as console:
        child = subprocess.Popen(
            [str(ENTER), *map(str, groups), "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            cwd="/",
            pass_fds=links,
        )
    return Process.of(child.pid)


def stop(process: Process | None, seconds: float = 30) -> None:
    """Shut a host down in order, as its power button would."""
    if process is None or not process.lives():
        return
    os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while process.lives() and time.monotonic() < deadline:
        time.sleep(0.05)


def forget(lab: str, host: str, root: Path) -> None:
    """Remove what nspawn keeps outside the root and leaves when it is killed."""
    for boot in (RUNTIME / "propagate").glob(f"{_stem(lab, host)}.*"):
        shutil.rmtree(boot, ignore_errors=True)
    root.with_name(f".#{root.name}.lck").unlink(missing_ok=True)
    if root.exists():
        found = root.stat()
        lock = RUNTIME / "locks" / f"inode-{found.st_dev}:{found.st_ino}"
        lock.unlink(missing_ok=True)


def _command(spec: HostSpec, directory: Path, bridge: str) -> list[str]:
    binds = [f"--bind={directory / 'disk' / name}:{where}" for name, where in disk.DATA.items()]
    if not spec.base.endswith("-plain"):
        binds.append(f"--bind-ro={cache()}:{STORE}")
    return [
        "systemd-nspawn",
        "--settings=no",
        "--register=no",
        "--keep-unit",
        "--boot",
        f"--directory={directory / 'root'}",
        f"--machine={machine_name(spec.lab, spec.name)}",
        f"--hostname={spec.name}",
        f"--network-bridge={bridge}",
        "--capability=all",
        # Not what happens to hold where this was started: containerd and etcd open many files.
        "--rlimit=NOFILE=1024:1048576",
        f"--system-call-filter={SYSTEM_CALLS}",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--console=pipe",
        *[f"--bind={device}" for device in DEVICES],
        *binds,
    ]
