"""Stack `metal` on plain machines: what its operator does, and what can be asked of them."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.checkout import Checkout, Run
from tests.integration.plain_machines import PlainMachines
from tests.integration.traces import traces

CHANGES = re.compile(r"\d+ (?:to )?(?:create|update|delete|replace)")
UNCHANGED = re.compile(r"^\s*(\d+) unchanged", re.MULTILINE)
UP_SECONDS = 1800
"""All machines are this one, which does other work beside them."""


@dataclass(frozen=True, kw_only=True)
class Metal:
    """The stack, and the machines it is given."""

    checkout: Checkout
    machines: PlainMachines

    @property
    def settings(self) -> Path:
        return self.checkout.directory / "stacks" / "Pulumi.metal.yaml"

    def say_of(self, name: str, old: str, new: str) -> None:
        """Change what the stack file says of one machine."""
        lines = self.settings.read_text().splitlines(keepends=True)
        changed = [line.replace(old, new) if f"name: {name}," in line else line for line in lines]
        assert changed != lines, f"the line of {name} has no {old}"
        self.settings.write_text("".join(changed))

    def make(self, target: str, *, check: bool = True) -> Run:
        return self.checkout.run(f"make {target} STACK=metal", timeout=UP_SECONDS, check=check)

    def kubeconfig(self) -> Path:
        return Path(self.checkout.run("make -s kubeconfig STACK=metal").output.strip())

    def kubectl(self, words: str) -> str:
        return self.checkout.shell(f"kubectl {words}").output

    def items(self, words: str) -> list[dict[str, Any]]:
        return list(json.loads(self.kubectl(f"get {words} -o json"))["items"])

    def traces(self, *names: str) -> dict[str, set[str]]:
        return {
            name: traces(lambda script, on=name: self.machines.run(on, script)) for name in names
        }

    def kill_up(self, seconds: float) -> None:
        """Start `make up`, and some time after Pulumi kill it with all that it has started here."""
        process = self.checkout.start("make up STACK=metal")
        for line in process.stdout or ():
            if line.startswith("Updating"):
                break
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
        output, _ = process.communicate()
        print(f"killed after {seconds:.1f} s\n{output}")


def assert_answered(output: str) -> None:
    assert "Server:\t\t10.10.10.10" in output
    assert "Address: 10.10.10.1\n" in output


def assert_unchanged(ran: Run) -> None:
    """Nothing was, or would be, changed, and nothing waits for a repair."""
    assert UNCHANGED.search(ran.output)
    assert not CHANGES.search(ran.output)
    assert "repairs it" not in ran.output


def updated(output: str) -> set[str]:
    """Names of the resources that an `up` has changed."""
    return set(re.findall(r"^ ~\s+\S+ (\S+) updated", output, re.MULTILINE))
