"""The lab of a stack, seen from outside: `python3 -m lab` knows which there are and what lives."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tools import places, state
from tools.errors import ToolsError


def owner(name: str) -> str:
    """Whose lab a lab is: this checkout's, for that stack."""
    return f"{places.ROOT}:{name}"


def of(name: str) -> dict[str, Any] | None:
    """A stack's lab as `lab list` describes it; None when it has none."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", "list"],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolsError(f"python3 -m lab list:\n{done.stderr}")
    return next((lab for lab in json.loads(done.stdout) if lab["owner"] == owner(name)), None)


def is_dead(name: str) -> bool:
    """Whether the stack's state speaks of a lab that is no more, or of which nothing runs."""
    lab = of(name)
    return state.has_resources(name) if lab is None else not lab["lives"]


def revive(name: str) -> bool:
    """Before an update: start a lab of which nothing runs, or clear away what is left of it.

    Returns:
        Whether the hosts were started again, with all that is on them.
    """
    lab = of(name)
    if lab is None:
        if state.has_resources(name):
            state.forget(name)
        return False
    if lab["lives"]:
        return False
    state.say(f"Nothing of the lab of stack {name} runs any more (machine restarted?)")
    if run("up", "--lab", lab["lab"]):
        return True
    run("down", "--lab", lab["lab"])
    if state.has_resources(name):
        state.forget(name)
    return False


def remove(name: str) -> None:
    """Take away what is left of the stack's lab."""
    lab = of(name)
    if lab and not run("down", "--lab", lab["lab"]):
        raise ToolsError(f"The lab of stack {name} could not be removed (see above).")


def run(*arguments: str, quiet: bool = False) -> bool:
    """Run `python3 -m lab`; whether it succeeded. What it says goes to stderr unless `quiet`."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        cwd=places.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if quiet else None,
        check=False,
    )
    return done.returncode == 0
