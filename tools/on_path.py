"""Programs that the operator already has, in the very version that is wanted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools import files, places
from tools.programs import Program
from tools.sources import Unavailable

VERSION = re.compile(r"(?<![\w.])(?:\w+-)?v?(\d+\.\d+(?:\.\d+)?)(?![\w.])")


def version_in(text: str) -> str | None:
    r"""The first version number in what a program says of itself.

    >>> version_in("Kubernetes v1.36.3"), version_in("CoreDNS-1.14.7\nlinux/amd64, go1.26.1")
    ('1.36.3', '1.14.7')
    """
    found = VERSION.search(text)
    return found.group(1) if found else None


def search_path(path: str | None = None) -> str:
    """PATH without our own cache: what we put there ourselves is not the operator's."""
    ours = (places.cache(), places.VENV)
    directories = (path if path is not None else os.environ.get("PATH", "")).split(os.pathsep)
    return os.pathsep.join(
        d for d in directories if d and not any(Path(d).is_relative_to(o) for o in ours)
    )


def installed_version(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return version_in(done.stdout + done.stderr) if done.returncode == 0 else None


def take(program: Program) -> str:
    """Copy the program from PATH, with what its release keeps beside it.

    A copy, not a link: lab hosts see only the cache, and the operator may upgrade theirs.
    """
    if not program.on_path:
        raise Unavailable("not looked for on PATH")
    found = [_locate(program, command) for command in program.on_path]
    for path in found:
        family = path.parent.glob(f"{program.name}-*") if program.takes_family else ()
        for source in (path, *family):
            with files.appearing(program.directory / source.name) as part:
                shutil.copyfile(source, part)
    return f"PATH: {found[0]}"


def _locate(program: Program, command: Sequence[str]) -> Path:
    where = shutil.which(command[0], path=search_path())
    if where is None:
        raise Unavailable(f"{command[0]} is not on PATH")
    version = installed_version([where, *command[1:]])
    if version != program.version:
        raise Unavailable(f"{where} is {version or 'of unknown version'}")
    return Path(where).resolve()
