"""Who a process is in a Lease: unique, readable, and recognised as dead by its successor."""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from pathlib import Path

PLACE = ("/etc/machine-id", "/proc/sys/kernel/random/boot_id")


def own() -> str:
    """This process: ``<host>_<process id>_<place>_<nonce>``."""
    return f"{socket.gethostname()}_{os.getpid()}_{place()}_{uuid.uuid4().hex[:8]}"


def place() -> str:
    """Where process ids mean what they mean here: this boot of this machine, this namespace.

    Where that cannot be told it is like no other place: nobody is ever taken for dead.
    """
    try:
        parts = [Path(path).read_text() for path in PLACE]
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        return uuid.uuid4().hex[:8]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:8]


def ended_here(holder: str) -> bool:
    """Whether a holder was a process of this place that is no more.

    Its number may be another's by now: then it counts as alive, and its Lease has to run out.
    """
    parts = holder.rsplit("_", 3)
    if len(parts) != 4 or parts[2] != place() or not parts[1].isdigit():
        return False
    try:
        os.kill(int(parts[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's, so it lives
    return False
