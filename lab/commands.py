"""Running programs: quietly when they succeed, with everything they said when they do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from lab.errors import LabError


def run(*command: str, stdin: str | None = None) -> str:
    """What a program prints.

    Raises:
        LabError: it failed or does not exist; the message has its last lines.
    """
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed: `make doctor` names the package") from error
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise LabError(f"`{' '.join(command)}` failed with status {done.returncode}: {said}")
    return done.stdout


def succeeds(command: Sequence[str]) -> bool:
    """Whether a program ends with status 0; what it prints does not matter."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def say(text: str) -> None:
    """A line for the person watching. Standard output belongs to results."""
    print(text, file=sys.stderr, flush=True)
