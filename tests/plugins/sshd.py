"""A real sshd on loopback, of a test's own: throw-away keys, any free port."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from tests.control_plane import free_port
from tests.plugins.project import wait_for

SSHD = Path("/usr/sbin/sshd")


@dataclass(frozen=True)
class SshServer:
    """A real sshd on loopback, into which `root` gets with `key`."""

    port: int
    key: Path
    host_key: str
    """Public, as `hostKey` wants it."""

    log: Path

    def connection(self, **other: object) -> str:
        """A Python expression: the arguments of this connection, for a program."""
        given = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "root",
            "private_key": self.key.read_text(),
            "host_key": self.host_key,
            "dial_error_limit": 2,
            **other,
        }
        known = {name: value for name, value in given.items() if value is not None}
        return f"remote.ConnectionArgs(**{known!r})"

    def logins(self) -> int:
        return self.log.read_text().count("Accepted publickey")


def no_sshd() -> str | None:
    """Why there can be none on this machine, or None."""
    if SSHD.exists() and os.geteuid() == 0:
        return None
    return "needs root and openssh-server: apt-get install openssh-server"


@contextmanager
def ssh_server(directory: Path) -> Iterator[SshServer]:
    keys = {}
    for name in ("host", "client"):
        keys[name] = asyncssh.generate_private_key("ssh-ed25519")
        keys[name].write_private_key(directory / name)
        (directory / name).chmod(0o600)
    (directory / "authorized").write_bytes(keys["client"].export_public_key())
    Path("/run/sshd").mkdir(exist_ok=True)  # where a privileged sshd locks itself in
    port, log = free_port(), directory / "log"
    options = {
        "ListenAddress": "127.0.0.1",
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "yes",
        "AcceptEnv": "GREETING",
        "SetEnv": f"HOME={directory}",  # what root's own .bashrc does is none of our business
        "Subsystem": "sftp internal-sftp",
    }
    config = directory / "config"
    config.write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    command = [SSHD, "-D", "-p", str(port), "-f", config, "-E", log]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    public = keys["host"].export_public_key().decode().strip()
    wait_for(lambda: log.exists() and "listening" in log.read_text(), what="sshd")
    try:
        yield SshServer(port, directory / "client", public, log)
    finally:
        child.terminate()
        child.wait()
