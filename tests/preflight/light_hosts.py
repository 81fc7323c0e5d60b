"""Real sshd processes on loopback addresses: hosts that cost three megabytes each.

They share this machine's files, so all of them give the same facts; what differs is the way in.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.ssh import Login

SSHD = Path("/usr/sbin/sshd")
Before = Callable[[int], Sequence[str | Path]]

CONFIG = """\
ListenAddress {address}:{port}
HostKey {host_key}
AuthorizedKeysFile {authorized}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
LogLevel ERROR
SetEnv HOME={home} {variables}
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class LightHosts:
    """What all of them have in common, and where each listens."""

    key: Path
    host_key: str
    addresses: tuple[str, ...]
    port: int
    servers: tuple[int, ...]
    """Process ids."""

    def busy(self) -> float:
        """Seconds of a processor that the servers took, with all that ran on them and has ended."""
        stats = [Path(f"/proc/{pid}/stat").read_text() for pid in self.servers]
        ticks = [sum(map(int, stat.rpartition(")")[2].split()[11:15])) for stat in stats]
        return sum(ticks) / os.sysconf("SC_CLK_TCK")

    def login(self, index: int = 0) -> Login:
        return Login(
            address=self.addresses[index],
            port=self.port,
            user="root",
            key=self.key,
            host_key=self.host_key,
        )


@contextlib.contextmanager
def light_hosts(
    directory: Path, count: int, before: Before = lambda _: [], variables: str = ""
) -> Iterator[LightHosts]:
    """Start ``count`` servers; stop them at the end.

    Args:
        directory: Where their files go.
        count: How many.
        before: Words of a command that starts the server of a number in its own way.
        variables: What sessions have in their environment, as in ``NAME=value``.
    """
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    directory.mkdir(exist_ok=True)
    key, host_key = new_key(directory / "key"), new_key(directory / "host_key")
    port = free_port()
    addresses = tuple(f"127.0.{1 + index // 250}.{1 + index % 250}" for index in range(count))
    servers = [
        start_server(directory, address, port, key, host_key, before(index), variables)
        for index, address in enumerate(addresses)
    ]
    try:
        for address in addresses:
            wait_for(address, port)
        public = " ".join(host_key.with_suffix(".pub").read_text().split()[:2])
        yield LightHosts(
            key=key,
            host_key=public,
            addresses=addresses,
            port=port,
            servers=tuple(server.pid for server in servers),
        )
    finally:
        for server in servers:
            server.kill()
        for server in servers:
            server.wait()


def new_key(path: Path, kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path], check=True)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(address: str, port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def start_server(
    directory: Path,
    address: str,
    port: int,
    key: Path,
    host_key: Path,
    before: Sequence[str | Path] = (),
    variables: str = "",
) -> subprocess.Popen[bytes]:
    config = directory / f"sshd-{address}.conf"
    config.write_text(
        CONFIG.format(
            address=address,
            port=port,
            host_key=host_key,
            authorized=key.with_suffix(".pub"),
            # Not this machine's ~/.bashrc: what it does takes longer than all questions.
            home=directory,
            variables=variables,
        )
    )
    return subprocess.Popen([*before, SSHD, "-D", "-f", config], stderr=subprocess.DEVNULL)
