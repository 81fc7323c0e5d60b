"""The Python packages of a checkout as files, for machines that reach no package index."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from tools import places, process, venv

PLUGINS = "lab/plugins/requirements.txt"
LENGTH = 12


def python() -> str:
    """The Python that wheels with compiled parts are for."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def digest(root: Path = places.ROOT) -> str:
    """Changes when other packages are wanted."""
    lists = [(root / name).read_bytes() for name in (*venv.LISTS, PLUGINS)]
    return hashlib.sha256(b"\0".join(lists)).hexdigest()[:LENGTH]


def directory() -> Path:
    return places.cache() / "wheels" / f"{digest()}-{python()}"


def make() -> Path:
    """Have the wheels of everything that set-up installs; returns their directory."""
    target = directory()
    if target.exists():
        return target
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    lists = [word for name in (*venv.LISTS[:2], PLUGINS) for word in ("--requirement", name)]
    command = [str(venv.PYTHON), "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    process.run(
        [*command, *lists, "--constraint", venv.LISTS[2], "--wheel-dir", part],
        "pip could not fetch the packages of requirements.txt (see above).",
    )
    part.replace(target)
    return target
