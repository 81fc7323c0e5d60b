"""Programs that are run where the operator sees what they say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools import places
from tools.errors import ToolsError


def run(
    command: Sequence[str | Path],
    failure: str,
    *,
    cwd: Path = places.ROOT,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Run a program to its end; `failure` is what to tell the operator when it fails.

    Raises:
        ToolsError: it failed; its own words stand above ours.
    """
    if subprocess.run(command, cwd=cwd, env=environment, check=False).returncode:
        raise ToolsError(failure)
