"""Where things are kept: the checkout, the cache, and what belongs to the operator."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout that these tools are part of."""

VENV = ROOT / ".venv"


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """Everything that can be made again; shared by every clone on the machine."""
    return _directory(environment, "CACHE", ".cache")


def state(environment: Mapping[str, str] = os.environ) -> Path:
    """What cannot be made again (Pulumi's state, its passphrase), and kubeconfigs."""
    return _directory(environment, "STATE", ".local/state")


def clone_id(root: Path = ROOT) -> str:
    """Tells this checkout from the others on the machine; eight hexadecimal digits."""
    return hashlib.sha256(str(root).encode()).hexdigest()[:8]


def machine_id(file: Path = Path("/etc/machine-id")) -> str:
    """Tells this machine from others: two of them may have a clone at the same path."""
    try:
        return file.read_text().strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()


def backends() -> Path:
    """The Pulumi states of all checkouts of the operator on this machine."""
    return state() / "backend"


def backend() -> Path:
    """Pulumi's state of this checkout, where the operator has no backend of their own."""
    return backends() / clone_id()


def checkout_lock() -> Path:
    """The lock of what is made inside this checkout, which may all be made anew."""
    return cache() / "locks" / f"checkout-{clone_id()}.lock"


def kubeconfig(stack: str) -> Path:
    return state() / "kubeconfig" / f"{stack}-{clone_id()}"


def _directory(environment: Mapping[str, str], kind: str, default: str) -> Path:
    ours = environment.get(f"KUBERNETES_MESOS_{kind}")
    if ours:
        return Path(ours).absolute()
    base = environment.get(f"XDG_{kind}_HOME")
    return (Path(base) if base else Path.home() / default) / "kubernetes-mesos"
