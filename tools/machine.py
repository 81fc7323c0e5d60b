"""What this machine has to bring itself, named all at once with the command that installs it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.errors import ToolsError

OUR_SWITCH = "KUBERNETES_MESOS_INSTALL"
SYSTEM_PATH = "/usr/sbin:/sbin"
MINIMUM_PYTHON = (3, 11)


@dataclass(frozen=True, kw_only=True)
class Need:
    """One thing from the distribution: where it shows, and the Debian package that brings it."""

    package: str
    purpose: str
    command: str | None = None
    file: str | None = None
    """A pattern below /; used where the package has no command of its own."""

    optional: bool = False
    """Without it some tests are skipped and say so; not every distribution has it as a package."""

    service: str | None = None
    """What the package would run from then on; only the program is wanted."""


NEEDS = (
    Need(package="python3-venv", purpose="set-up", file="usr/lib/python3*/ensurepip/__init__.py"),
    Need(package="gcc", purpose="building", command="gcc"),
    Need(package="g++", purpose="building", command="g++"),
    Need(package="binutils", purpose="building", command="strip"),
    Need(package="libc6-dev", purpose="building", file="usr/include/stdio.h"),
    Need(package="git", purpose="building", command="git"),
    Need(package="openssh-client", purpose="lab", command="ssh-keygen"),
    Need(package="mmdebstrap", purpose="lab", command="mmdebstrap"),
    Need(
        package="debian-archive-keyring",
        purpose="lab",
        file="usr/share/keyrings/debian-archive-keyring.gpg",
    ),
    Need(package="systemd-container", purpose="lab", command="systemd-nspawn"),
    Need(package="iproute2", purpose="lab", command="ip"),
    Need(package="iptables", purpose="lab", command="iptables"),
    Need(package="nftables", purpose="lab", command="nft"),
    Need(package="e2fsprogs", purpose="lab", command="mkfs.ext4"),
    Need(package="libcurl4", purpose="tests", file="usr/lib/*/libcurl.so.4"),
    Need(package="libapr1", purpose="tests", file="usr/lib/*/libapr-1.so.0"),
    Need(package="libsvn1", purpose="tests", file="usr/lib/*/libsvn_delta-1.so.1"),
    Need(package="libsasl2-2", purpose="tests", file="usr/lib/*/libsasl2.so.2"),
    Need(package="libsasl2-modules", purpose="tests", file="usr/lib/*/sasl2/libcrammd5.so"),
    Need(package="default-jre-headless", purpose="tests", command="java"),
    Need(package="libzookeeper-java", purpose="tests", file="usr/share/java/zookeeper.jar"),
    Need(package="shellcheck", purpose="tests", command="shellcheck"),
    Need(package="openssh-server", purpose="tests", command="sshd", service="ssh"),
    Need(package="qemu-system-x86", purpose="slow tests", command="qemu-system-x86_64"),
    Need(package="chromium", purpose="tests", command="chromium", optional=True),
    Need(package="chromium-driver", purpose="tests", command="chromedriver", optional=True),
)
"""Mesos' libraries, Java and ZooKeeper are for tests that run masters without a lab, sshd for those
that log in to loopback, Chromium is for the test that looks at km's status page."""


def missing(purposes: Iterable[str], root: Path = Path("/"), path: str | None = None) -> list[Need]:
    """What these purposes need and this machine does not have."""
    wanted = set(purposes)
    path = f"{path if path is not None else os.environ.get('PATH', '')}:{SYSTEM_PATH}"
    return [
        need
        for need in NEEDS
        if need.purpose in wanted
        and not (
            shutil.which(need.command, path=path)
            if need.command
            else next(root.glob(need.file or ""), None) or _has_module(need)
        )
    ]


def _has_module(need: Need) -> bool:
    """A Python of the operator's own brings venv with it."""
    if need.package != "python3-venv":
        return False
    try:
        import ensurepip  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def command_for(needs: Iterable[Need]) -> list[str]:
    packages = sorted({need.package for need in needs})
    return ["apt-get", "install", "--yes", "--no-install-recommends", *packages]


def is_debian(release: Path = Path("/etc/os-release")) -> bool:
    """Debian, Ubuntu, or one that says it is like them."""
    if not release.exists():
        return False
    text = release.read_text()
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    kinds = f"{lines.get('ID', '')} {lines.get('ID_LIKE', '')}".replace('"', "")
    return bool({"debian", "ubuntu"} & set(kinds.split()))


Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def ensure(
    purposes: Iterable[str],
    *,
    environment: Mapping[str, str] = os.environ,
    is_root: bool | None = None,
    debian: bool | None = None,
    booted: bool = Path("/run/systemd/system").exists(),
    run: Run = subprocess.run,
    find: Callable[[Iterable[str]], list[Need]] = missing,
) -> None:
    """Install what is missing, or say what is and how to get it.

    Root on Debian or Ubuntu: the command is printed and run, unless KUBERNETES_MESOS_INSTALL=no.
    Anyone else is told. A service that comes with a program does not stay; without systemd running
    (not `booted`) none was started. What is optional is tried likewise and never stops anything.
    """
    purposes = tuple(purposes)
    lacking = find(purposes)
    needed = [need for need in lacking if not need.optional]
    wanted = [need for need in lacking if need.optional]
    if not lacking:
        return
    root = os.geteuid() == 0 if is_root is None else is_root
    debian = is_debian() if debian is None else debian
    if not debian or not root or environment.get(OUR_SWITCH) == "no":
        _tell(needed, debian=debian, sudo="" if root else "sudo ")
        return
    # Updated first: a machine that was never used has no lists at all.
    quiet = {**environment, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "--quiet=2"], env=quiet, stdout=sys.stderr, check=False)
    for needs in (needed, wanted):  # apart: one package that is unknown keeps out all others
        if needs:
            command = command_for(needs)
            told = f"Missing on this machine: {_listed(needs)}."
            print(f"{told}\n+ {shlex.join(command)}", file=sys.stderr, flush=True)
            run([*command, "--quiet=2"], env=quiet, stdout=sys.stderr, check=False)
    for service in (need.service for need in lacking if need.service):
        command = ["systemctl", "--quiet", "disable", *(["--now"] if booted else []), service]
        print(f"+ {shlex.join(command)}", file=sys.stderr, flush=True)
        run(command, env=quiet, stdout=sys.stderr, check=False)
    still = find(purposes)
    if any(not need.optional for need in still):
        raise ToolsError(f"Still missing: {_listed(still)}. What apt-get said is above.")
    if still:
        print(f"Left out: {_listed(still)}; what needs it is skipped.", file=sys.stderr)


def _tell(needed: list[Need], *, debian: bool, sudo: str) -> None:
    """Name what has to be installed by hand. What is optional is named by the tests it is for."""
    if not needed:
        return
    told = f"Missing on this machine: {_listed(needed)}."
    how = f"Install them: {sudo}" if debian else "Install them; on Debian: "
    raise ToolsError(f"{told}\n{how}{shlex.join(command_for(needed))}")


def _listed(needs: Iterable[Need]) -> str:
    return ", ".join(f"{need.command or need.package} ({need.purpose})" for need in needs)


def refuse_old_python(version: tuple[int, ...] = sys.version_info[:2]) -> None:
    if version < MINIMUM_PYTHON:
        raise ToolsError(
            f"This is Python {'.'.join(map(str, version))} ({sys.executable}); "
            f"{'.'.join(map(str, MINIMUM_PYTHON))} or later is needed.\n"
            "Install one and name it: make setup PYTHON=python3.11"
        )


def refuse_without_root(stack: str) -> None:
    if os.geteuid():
        raise ToolsError(
            f"Stack {stack} makes its hosts on this machine, and only root can make network "
            "bridges,\nmounts and cgroups. Start it again as root (sudo -E make …), or use a "
            "stack on other machines."
        )
