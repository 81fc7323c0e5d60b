"""Which version of each program the hosts get."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tools" / "programs.toml"
DIGEST_LENGTH = 12

Versions = Mapping[str, str]
"""Version by name of the program."""


def program_versions(mesos: str | None = None) -> Versions:
    """Read the table of programs: published versions, and digests of what is made of sources.

    Args:
        mesos: The version of Mesos, when it is not the one of the table.
    """
    table = tomllib.loads(TABLE.read_text())
    del table["go"]  # what builds them stays here
    versions = {
        name: entry["version"] if "version" in entry else sources_digest(entry["sources"], ROOT)
        for name, entry in table.items()
    }
    return {**versions, "mesos": mesos or versions["mesos"]}


def sources_digest(patterns: Iterable[str], root: Path) -> str:
    """Give the version of our own sources, as set-up names the directory it puts them in."""
    files = sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_LENGTH]


def cache() -> Path:
    """Find where set-up keeps what can be made again."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("KUBERNETES_MESOS_CACHE") or base / "kubernetes-mesos")
