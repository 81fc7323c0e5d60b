"""What tells one host from another: name, address, machine id, keys, who may log in.

Written into the root filesystem before the host starts, and only where it differs, so that a
restarted host keeps whatever else was written since.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from lab.commands import run
from lab.spec import HostSpec
from lab.state import Network

HOST_KEY = Path("etc/ssh/ssh_host_ed25519_key")

NETWORK_UNIT = """\
[Match]
Name={interfaces}

[Network]
Address={address}/{bits}
Gateway={gateway}
LinkLocalAddressing=no
IPv6AcceptRA=no
LLMNR=no
"""

FILES = Path(__file__).parent / "files/host"
"""Laid over the root of every host that is a container."""


def digest(spec: HostSpec, network: Network) -> str:
    """Changes with whatever a running host takes over only by a restart."""
    parts = [address(spec, network), str(network.network), spec.name, spec.host_key, spec.user]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def address(spec: HostSpec, network: Network) -> str:
    """The host's address: its index in the lab's network."""
    return str(network.network[spec.index])


def write(root: Path, spec: HostSpec, network: Network, interfaces: str = "") -> None:
    """Make a root filesystem this host's own.

    Args:
        root: where it is mounted.
        spec: what the host is.
        network: of its lab.
        interfaces: the links of a whole machine; without it the host is a container, whose link
            has one name, and which gets what makes a container look like a machine.
    """
    own = address(spec, network)
    if not interfaces:
        run("cp", "--recursive", "--preserve=mode,links", f"{FILES}/.", str(root))
    _put(root / "etc/hostname", spec.name + "\n")
    _put(root / "etc/machine-id", _machine_id(spec) + "\n", mode=0o444)
    unit = NETWORK_UNIT.format(
        interfaces=interfaces or "host0",
        address=own,
        bits=network.network.prefixlen,
        gateway=network.gateway,
    )
    _put(root / "etc/systemd/network/10-host0.network", unit)
    _write_hosts(root / "etc/hosts", f"{own} {spec.name}")
    _put(root / HOST_KEY, spec.host_key, mode=0o600)
    _put(root / f"{HOST_KEY}.pub", public_key(root / HOST_KEY) + "\n")
    authorize(root, spec)


def authorize(root: Path, spec: HostSpec) -> None:
    """Let the holder of the authorized key in, as root or as a user with sudo."""
    if spec.user != "root":
        _make_user(root, spec.user)
    uid, gid, home = _account(root, spec.user)
    keys = root / home.lstrip("/") / ".ssh/authorized_keys"
    _put(keys, spec.authorized_key + "\n", mode=0o600)
    keys.parent.chmod(0o700)
    for path in (keys, keys.parent):
        os.chown(path, uid, gid)


def public_key(private: Path) -> str:
    """The public half of a key: type and base64, without a comment."""
    return " ".join(run("ssh-keygen", "-y", "-f", str(private)).split()[:2])


def _machine_id(spec: HostSpec) -> str:
    return hashlib.sha256(f"{spec.lab}/{spec.name}".encode()).hexdigest()[:32]


def _write_hosts(path: Path, line: str) -> None:
    """The host's own name. Recipes add the others, which has to survive a restart."""
    present = path.read_text() if path.exists() else ""
    if line not in present.splitlines():
        _put(path, f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{line}\n")


def _make_user(root: Path, user: str) -> None:
    if not any(line.startswith(f"{user}:") for line in _passwd(root)):
        run("chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", user)
    _put(root / f"etc/sudoers.d/{user}", f"{user} ALL=(ALL) NOPASSWD:ALL\n", mode=0o440)


def _account(root: Path, user: str) -> tuple[int, int, str]:
    line = next(line for line in _passwd(root) if line.startswith(f"{user}:"))
    _, _, uid, gid, _, home, _ = line.split(":")
    return int(uid), int(gid), home


def _passwd(root: Path) -> list[str]:
    return (root / "etc/passwd").read_text().splitlines()


def _put(path: Path, text: str, mode: int = 0o644) -> None:
    if path.exists() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.touch(mode=mode)
    partial.chmod(mode)
    partial.write_text(text)
    partial.rename(path)
