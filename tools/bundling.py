"""What a stack's machines need from here when they reach nothing else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from tools import apt, places, setup, venv
from tools.errors import ToolsError


def make(stack: str, releases: Sequence[str]) -> None:
    """Fetch the packages of machines of these releases."""
    for release in releases:
        apt.refuse_unknown(release)
    setup.set_up(stack)
    sends = sent_by(stack)
    for release in releases:
        out = places.cache() / "packages" / release
        print(f"{apt.fetch(release, sends['packages'], out)} packages in {out}")


def sent_by(stack: str) -> dict[str, Any]:
    """What the program sends to a stack's machines.

    Raises:
        ToolsError: The stack file cannot be used; `preflight` has said why.
    """
    command = [str(venv.PYTHON), "-m", "preflight", "sends", "--stack", stack]
    done = subprocess.run(command, cwd=places.ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ToolsError(f"stack {stack}: what its machines get cannot be told (see above).")
    return dict(json.loads(done.stdout))
