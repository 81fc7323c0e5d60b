"""Hosts for tests, made through the command line as the program makes them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.leftovers import leftovers

ROOT = Path(__file__).parents[2]


@dataclass
class Lab:
    """One lab of a test, with a key of its own."""

    name: str
    keys: Path
    network: dict[str, str] = field(default_factory=dict)

    def run(
        self, *command: str, spec: dict[str, Any] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "lab", *command],
            cwd=ROOT,
            input=json.dumps(spec) if spec is not None else "",
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def network_up(self, **given: Any) -> dict[str, str]:
        spec = {"lab": self.name, "network": None, "owner": f"{ROOT}:test", **given}
        self.network = json.loads(self.run("network", "up", spec=spec).stdout)
        return self.network

    def spec(self, name: str, index: int, **given: Any) -> dict[str, Any]:
        return {
            "lab": self.name,
            "name": name,
            "index": index,
            "cpus": 1,
            "memory_mb": 512,
            "disk_gb": 2,
            "authorized_key": self.key("operator", public=True),
            "host_key": self.key(name),
            "base": "bookworm",
            "roles": [],
            **given,
        }

    def host_up(self, name: str, index: int, **given: Any) -> str:
        done = self.run("host", "up", spec=self.spec(name, index, **given))
        return str(json.loads(done.stdout)["address"])

    def host_down(self, name: str) -> None:
        self.run("host", "down", spec={"lab": self.name, "name": name})

    def key(self, name: str, *, public: bool = False) -> str:
        path = self.keys / name
        if not path.exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path]
            subprocess.run(command, check=True)
        return (path.with_suffix(".pub") if public else path).read_text()

    def ssh(self, name: str, address: str, command: str, *, user: str = "root") -> str:
        """Run a command on a host whose key has to be the one that it was given."""
        known = self.keys / "known_hosts"
        known.write_text(f"{address} {self.key(name, public=True)}")
        options = [
            "-o", f"UserKnownHostsFile={known}",
            "-o", "StrictHostKeyChecking=yes",
            "-o", "BatchMode=yes",
            "-i", str(self.keys / "operator"),
        ]  # fmt: skip
        done = subprocess.run(
            ["ssh", *options, f"{user}@{address}", command],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def listed(self) -> dict[str, Any] | None:
        labs = json.loads(self.run("list").stdout)
        return next((lab for lab in labs if lab["lab"] == self.name), None)

    def supervisor(self, name: str) -> int:
        listed = self.listed()
        assert listed
        return int(next(host["pid"] for host in listed["hosts"] if host["name"] == name))


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[Callable[[], Lab]]:
    """Makes labs that are gone after the test, without a trace."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    made: list[Lab] = []

    def make() -> Lab:
        keys = tmp_path / f"keys-{len(made)}"
        keys.mkdir()
        made.append(Lab(name=f"t{secrets.token_hex(3)}", keys=keys))
        return made[-1]

    yield make
    for lab in made:
        lab.run("down", "--lab", lab.name)
        assert leftovers(lab.name) == []


@pytest.fixture
def lab(new_lab: Callable[[], Lab]) -> Lab:
    return new_lab()
