"""Base root filesystems: Debian as hosts find it on their first boot.

Each is built once by mmdebstrap into CACHE/base/<name>-<digest of what it is made of>, and is
the read-only lower layer of every host. Nothing but sshd and the network starts by itself:
what a host runs is the business of its recipes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import apt
from lab.commands import say
from lab.errors import LabError
from lab.paths import cache

FILES = Path(__file__).parent / "files/base"

MACHINE = [
    "ca-certificates",
    "dbus",
    "iproute2",
    "kmod",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "systemd",
    "systemd-sysv",
    "udev",
]
"""What any machine has that a person installed with an SSH server."""

CLUSTER = [
    "conntrack",
    "containerd",
    "curl",
    "default-jre-headless",
    "e2fsprogs",
    "ethtool",
    "haproxy",
    "ipset",
    "iptables",
    "iputils-ping",
    "less",
    "libapr1",
    "libaprutil1",
    "libcurl4",
    "libsasl2-2",
    "libsasl2-modules",
    "libssl3",
    "libstdc++6",
    "libsvn1",
    "libzookeeper-java",  # without the package zookeeper, which wants a Java with a display
    "mount",
    "nftables",
    "runc",
    "socat",
    "util-linux",
    "zlib1g",
]
"""What the cluster's recipes would install from the distribution's packages."""

KERNEL = ["initramfs-tools", "linux-image-cloud-amd64"]
"""What a whole machine boots by itself."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """What a base filesystem is made of; any difference makes it another one."""

    release: str
    variant: str
    packages: tuple[str, ...]


BASES = {
    "bookworm": Base(release="bookworm", variant="minbase", packages=(*MACHINE, *CLUSTER)),
    "bookworm-plain": Base(release="bookworm", variant="important", packages=tuple(MACHINE)),
    "trixie-plain": Base(release="trixie", variant="important", packages=tuple(MACHINE)),
    **{
        f"{release}-machine": Base(
            release=release, variant="important", packages=(*MACHINE, *KERNEL)
        )
        for release in ("bookworm", "trixie")
    },
}


def base_path(name: str) -> Path:
    """Where the base of this name lies or will lie.

    Raises:
        LabError: there is no base of this name.
    """
    if name not in BASES:
        raise LabError(f"base: {name!r} is unknown; there are {', '.join(BASES)}")
    return cache() / "base" / f"{name}-{_digest(BASES[name])}"


def ensure_base(name: str) -> Path:
    """The base filesystem, built now when it is not in the cache (about a minute).

    Raises:
        LabError: unknown name, or mmdebstrap failed.
    """
    path = base_path(name)
    if path.is_dir():
        return path
    if os.geteuid() != 0:
        raise LabError(f"base {name}: {path} has to be built by root; run this with sudo")
    if shutil.which("mmdebstrap") is None:
        raise LabError("mmdebstrap is not installed; run: apt-get install mmdebstrap")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f".{path.name}.lock")):
        if not path.is_dir():
            _build(name, BASES[name], path)
    return path


def _digest(base: Base) -> str:
    made_of = [json.dumps(asdict(base), sort_keys=True)]
    made_of += [f"{p.name}\n{p.read_text()}" for p in sorted(FILES.iterdir()) if p.is_file()]
    return hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(name: str, base: Base, path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    say(f"base {name}: {len(base.packages)} packages and what they need, about a minute")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        command = _command(base, partial, Path(scratch))
        log = path.with_name(f"{path.name}.log")
        status = _run_with_progress(command, log, lambda: _progress(name, started, partial))
    if status != 0:
        shutil.rmtree(partial, ignore_errors=True)
        last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise LabError(f"base {name}: mmdebstrap ended with status {status}; {log} says:\n{last}")
    partial.rename(path)
    say(f"base {name}: ready in {time.monotonic() - started:.0f} s: {path}")


def _command(base: Base, target: Path, scratch: Path) -> list[str]:
    options = scratch / "apt.conf"
    options.write_text(apt.acquire_options())
    sources = scratch / "sources.list"
    lines = [source.line() for source in apt.debian_sources(base.release)]
    sources.write_text("".join(f"{line}\n" for line in lines))
    return [
        "mmdebstrap",
        "--mode=root",
        "--format=directory",
        f"--variant={base.variant}",
        f"--include={','.join(base.packages)}",
        f"--aptopt={options}",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        # The postinst of Java wants this directory, although nothing may lie in it.
        '--essential-hook=mkdir -p "$1/usr/share/man/man1"',
        f'--customize-hook={FILES / "customize.sh"} {FILES} "$1"',
        base.release,
        str(target),
        *([str(sources)] if lines else []),
    ]


def _run_with_progress(command: list[str], log: Path, progress: Callable[[], None]) -> int:
    """Run to the end, telling every ten seconds that it still runs; stops with us."""
    with log.open("w") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True
        )
        try:
            while True:
                try:
                    return child.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    progress()
        except BaseException:
            child.send_signal(signal.SIGINT)
            child.wait()
            raise


def _progress(name: str, started: float, partial: Path) -> None:
    status = partial / "var/lib/dpkg/status"
    known = status.read_text(errors="replace") if status.is_file() else ""
    unpacked = known.count("\nStatus: install ok")
    ready = known.count("\nStatus: install ok installed\n")
    say(
        f"base {name}: {time.monotonic() - started:.0f} s, "
        f"{unpacked} packages unpacked, {ready} installed"
    )
