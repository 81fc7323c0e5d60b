"""Where the lab keeps things: what can be rebuilt in the cache, what a lab owns under /var/lib."""

from __future__ import annotations

import os
from pathlib import Path

LABS = Path("/var/lib/kubernetes-mesos/labs")
"""One directory a lab. Its files are everything that is known about the lab."""

STORE = Path("/var/cache/kubernetes-mesos")
"""Where a host sees the cache, read-only."""


def cache() -> Path:
    """The directory of everything that can be built or downloaded again."""
    chosen = os.environ.get("KUBERNETES_MESOS_CACHE")
    if chosen:
        return Path(chosen).expanduser().resolve()
    parent = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(parent).expanduser().resolve() / "kubernetes-mesos"
