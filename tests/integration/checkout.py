"""A fresh checkout of the project in a directory of its own, used as a new user would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a command printed, how it ended, and how long it took in seconds."""

    output: str
    code: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """The project in `directory`, with state of its own; only the caches are shared."""

    directory: Path
    state: Path
    stack: str = "local"

    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PULUMI", "MAKE"))}
        return {**inherited, "KUBERNETES_MESOS_STATE": str(self.state)}

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a shell command in the checkout, as the leader of a session of its own."""
        return subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, command: str, *, timeout: float = 900, check: bool = True) -> Run:
        """Run a shell command in the checkout; with `check`, failing is the test's failure."""
        started = time.monotonic()
        process = self.start(command)
        output, _ = process.communicate(timeout=timeout)
        ran = Run(output=output, code=process.returncode, seconds=time.monotonic() - started)
        print(f"$ {command}  [{ran.code}, {ran.seconds:.1f} s]\n{output}")
        if check:
            assert ran.code == 0, f"{command} ended with {ran.code}:\n{output}"
        return ran

    def lab(self) -> dict[str, Any]:
        """The stack's lab as `python3 -m lab list` describes it."""
        listed = json.loads(self.run("python3 -m lab list").output)
        owner = f"{self.directory}:{self.stack}"
        (mine,) = [lab for lab in listed if lab["owner"] == owner]
        return dict(mine)

    def host(self, name: str) -> dict[str, Any]:
        """One of the lab's hosts, as the lab describes it."""
        (found,) = [host for host in self.lab()["hosts"] if host["name"] == name]
        return dict(found)

    def init_of(self, name: str) -> int:
        """A host's first process, as this machine numbers it."""
        pid = self.host(name)["pid"]
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def on_host(self, name: str, command: str) -> str:
        """Run a command on one of the lab's hosts, as somebody at its console would."""
        return self.run(f"nsenter --target {self.init_of(name)} --all -- {command}").output

    def shell(self, command: str, *, timeout: float = 300, check: bool = True) -> Run:
        """Run a command in the shell that `make env` gives, with this stack's kubeconfig."""
        prepared = f'eval "$(make -s env STACK={self.stack})" && {command}'
        return self.run(prepared, timeout=timeout, check=check)


def fresh_checkout(target: Path) -> Checkout:
    """Copy what git tracks or would track, as a clone of the committed tree would hold it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    directory = target / "kubernetes-mesos"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists() or (ROOT / name).is_symlink():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
    return Checkout(directory=directory, state=target / "state")
