"""The script that asks a host, run here."""

from __future__ import annotations

import os
import subprocess

from preflight.ask import SCRIPT
from preflight.facts import Facts, parse


def told(instead: dict[str, object], path: str = "") -> Facts:
    """Ask this machine, with other paths in place of a host's own.

    Args:
        instead: A path of the host's → what to read in its place.
        path: Directory of programs that stand in for the system's.
    """
    script = SCRIPT.read_text()
    for theirs, ours in instead.items():
        script = script.replace(theirs, str(ours))
    programs = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
    answer = subprocess.run(
        ["sh", "-s"],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": programs, "PEERS": "", "PORTS": ""},
    )
    return parse(answer.stdout)
