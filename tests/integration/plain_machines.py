"""Machines as people own them: Debian, systemd, sshd, a user with sudo and a key; nothing of ours.

They are lab hosts on a network of their own, without the lab's cache and without a mirror: what a
stack puts on them comes over SSH.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from lab import cgroups
from tests.lab.conftest import Lab
from tests.leftovers import leftovers

USER = "ops"
FIRST_INDEX = 11
CPUS = 2
MEMORY_MB = 1536
DISK_GB = 10
EXAMPLE_KEY = "~/.ssh/id_ed25519"
"""What `stacks/Pulumi.metal.yaml` names as the operator's key."""


@dataclass(frozen=True, kw_only=True)
class PlainMachines:
    """Some machines, by name, and what their owner can do to them."""

    lab: Lab
    names: Sequence[str]
    base: str
    memory_mb: int
    _supervisors: dict[str, int] = field(default_factory=dict)

    def address(self, name: str) -> str:
        network = self.lab.network["network"].rpartition(".")[0]
        return f"{network}.{FIRST_INDEX + self.names.index(name)}"

    @property
    def key(self) -> Path:
        """The operator's private key."""
        self.lab.key("operator")
        return self.lab.keys / "operator"

    def host_key(self, name: str) -> str:
        """What the machine's SSH server proves itself with: kind and base64."""
        return " ".join(self.lab.key(name, public=True).split()[:2])

    def install_anew(self, *names: str) -> None:
        """Make machines as they are after their first boot; they keep their host keys."""
        self.key  # noqa: B018 - made before several ask for it at once
        with ThreadPoolExecutor() as threads:
            list(threads.map(self._install, names))

    def _install(self, name: str) -> None:
        self.lab.host_down(name)
        self.start(name)

    def forget_host_key(self, name: str) -> None:
        """Let a machine make itself another host key when it is installed anew."""
        for path in self.lab.keys.glob(f"{name}*"):
            path.unlink()

    def start(self, name: str) -> None:
        """Switch a machine on; one that was killed has what was on its disk."""
        index = FIRST_INDEX + self.names.index(name)
        self._supervisors.pop(name, None)
        sizes = {"cpus": CPUS, "memory_mb": self.memory_mb, "disk_gb": DISK_GB}
        self.lab.host_up(name, index, base=self.base, user=USER, **sizes)

    def kill(self, name: str) -> None:
        """End a machine as a power cut would."""
        cgroups.remove(self.lab.name, name)
        deadline = time.monotonic() + 20
        while self._answers(name):
            assert time.monotonic() < deadline, f"{name} survived"
            time.sleep(0.2)

    def _answers(self, name: str) -> bool:
        try:
            socket.create_connection((self.address(name), 22), timeout=1).close()
        except OSError:
            return False
        return True

    def run(self, name: str, script: str) -> str:
        """Run a script on a machine, as root at its console would."""
        done = subprocess.run(
            ["nsenter", "--target", self._init(name), "--all", "--", "bash", "-s"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{name}: {script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _init(self, name: str) -> str:
        """The machine's first process; the lab is asked again only when it has another one."""
        if name not in self._supervisors:
            self._supervisors[name] = self.lab.supervisor(name)
        supervisor = self._supervisors[name]
        return Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0]

    def stack_file(self, example: str) -> str:
        """Fill in the operator's key, and addresses of those machines that the example names."""
        hosts = yaml.safe_load(example)["config"]["kubernetes-mesos:cluster"]["hosts"]
        filled = example.replace(f"key: {EXAMPLE_KEY}", f"key: {self.key}\n      bundle: true")
        for machine in hosts["machines"]:
            filled = filled.replace(machine["address"], self.address(machine["name"]))
        return filled


@contextmanager
def plain_machines(
    directory: Path,
    names: Sequence[str],
    *,
    base: str = "bookworm-plain",
    memory_mb: int = MEMORY_MB,
) -> Iterator[PlainMachines]:
    """Make machines; whatever happens, they are gone afterwards, without a trace."""
    lab = Lab(name=f"t{secrets.token_hex(3)}", keys=directory)
    machines = PlainMachines(lab=lab, names=tuple(names), base=base, memory_mb=memory_mb)
    try:
        lab.network_up()
        machines.install_anew(*names)
        yield machines
    finally:
        lab.run("down", "--lab", lab.name)
        assert leftovers(lab.name) == []
