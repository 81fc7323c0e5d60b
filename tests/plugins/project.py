"""Pulumi's own program on a tiny project with a stack of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """How a run of pulumi ended."""

    code: int
    output: str
    """stdout and stderr as they came, without colours."""

    def changes(self) -> dict[str, int]:
        """The summary: {"create": 2, "unchanged": 1, …}, in pulumi's own words."""
        words = "to create|created|to update|updated|to delete|deleted|to replace|replaced"
        found = re.findall(rf"(\d+) ({words}|unchanged)", self.output)
        return {word.removeprefix("to "): int(number) for number, word in found}


class Project:
    """A Pulumi project with one stack in a file backend of its own.

    Making a stack takes a run of pulumi, so a project can begin as a copy of an empty one.
    """

    def __init__(
        self, directory: Path, home: Path, pulumi: Path, like: Project | None = None
    ) -> None:
        self.directory, self.home, self.pulumi = directory, home, pulumi
        if like:
            shutil.copytree(like.directory, directory)
        else:
            (directory / "state").mkdir(parents=True)
        (directory / "Pulumi.yaml").write_text(
            textwrap.dedent(f"""\
            name: scenario
            runtime:
              name: python
              options: {{toolchain: pip, virtualenv: {sys.prefix}}}
            """)
        )
        inherited = {
            k: v for k, v in os.environ.items() if k not in ("SSH_AUTH_SOCK", "KUBECONFIG")
        }
        self.environment = {
            **inherited,
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": f"file://{directory / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_STACK": "test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        self.write("")
        if like is None:
            assert self.run("stack", "init", "test").code == 0

    def write(self, program: str) -> None:
        """Set the program; the usual imports stand before it."""
        imports = "import os\nimport pulumi\nfrom pulumi import ResourceOptions\n"
        (self.directory / "__main__.py").write_text(imports + textwrap.dedent(program))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start pulumi in a process group of its own, for tests that interrupt it."""
        return subprocess.Popen(
            [self.pulumi, *arguments, "--non-interactive", "--color=never"],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> Result:
        child = self.start(*arguments)
        try:
            output, _ = child.communicate(timeout=120)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
        return Result(child.returncode, output)

    def up(self, program: str | None = None, *flags: str, fails: bool = False) -> Result:
        """Update the stack to a program; the test fails unless that went as `fails` says."""
        if program is not None:
            self.write(program)
        result = self.run("up", "--yes", "--skip-preview", *flags)
        assert (result.code != 0) == fails, result.output
        return result

    def preview(self, program: str | None = None, *, fails: bool = False) -> Result:
        if program is not None:
            self.write(program)
        result = self.run("preview", "--diff")
        assert (result.code != 0) == fails, result.output
        return result

    def destroy(self, *, fails: bool = False) -> Result:
        result = self.run("destroy", "--yes", "--skip-preview")
        assert (result.code != 0) == fails, result.output
        return result

    def output(self, name: str) -> object:
        """An output of the stack, secrets in the clear."""
        return json.loads(self.run("stack", "output", "--json", "--show-secrets").output)[name]

    def resources(self) -> dict[str, dict]:
        """The stack's resources by name, providers among them, the stack itself not."""
        latest = json.loads(self.state_file.read_text())["checkpoint"]["latest"] or {}
        return {
            item["urn"].rpartition("::")[2]: item
            for item in latest.get("resources", [])
            if item["type"] != "pulumi:pulumi:Stack"
        }

    @property
    def state_file(self) -> Path:
        return self.directory / "state" / ".pulumi" / "stacks" / "scenario" / "test.json"

    def everything_written(self) -> str:
        """All that is on disk of the stack: states, history, checkpoints."""
        files = [path for path in (self.directory / "state").rglob("*") if path.is_file()]
        return "\n".join(path.read_text(errors="replace") for path in files)


def wait_for(condition: Callable[[], object], seconds: float = 20, what: str = "condition") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        time.sleep(0.05)


def alive(pid: str) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        status = Path(f"/proc/{pid.strip()}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
