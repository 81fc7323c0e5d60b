"""Pulumi as this project runs it: its programs, its plugins, its state and its environment."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from tools import files, places, plugins
from tools.programs import named

PROJECT = "kubernetes-mesos"
BIN = Path(__file__).parent / "bin"

PARALLEL = "16"
"""Steps at once; Pulumi's own is four a processor of this machine, though hosts do the work."""


def own_backend(environment: Mapping[str, str] = os.environ) -> str | None:
    """The backend that the operator is logged in to or has named; None: they have none."""
    named_one = environment.get("PULUMI_BACKEND_URL")
    if named_one:
        return None if _is_a_checkouts(named_one) else named_one
    try:
        credentials = json.loads((pulumi_home(environment) / "credentials.json").read_text())
    except (OSError, ValueError):
        return None
    current = credentials.get("current")
    return current if current and not _is_a_checkouts(current) else None


def _is_a_checkouts(url: str) -> bool:
    """Whether a backend was made for a checkout, be it this one or another whose `make env` this
    shell has read: each has its own, and none may work on another's.
    """
    scheme, _, path = url.partition("://")
    return scheme == "file" and Path(path).absolute().is_relative_to(places.backends())


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the pulumi that is run keeps its notes and plugins."""
    if plugins.has_stand_ins():
        return plugins.HOME
    return Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")


def pulumi_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the operator's own Pulumi keeps credentials and plugins."""
    for name in ("PULUMI_CREDENTIALS_PATH", "PULUMI_HOME"):
        if environment.get(name) and not plugins.is_a_checkouts(Path(environment[name])):
            return Path(environment[name])
    return Path.home() / ".pulumi"


def backend_url() -> str:
    return f"file://{places.backend()}"


def passphrase_file() -> Path:
    """The passphrase of our own backend: made once, readable by the operator only."""
    path = places.state() / "passphrase"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with files.locked(places.state() / ".lock", lambda: None):
            if not path.exists():
                files.write(path, secrets.token_urlsafe(32), 0o600)
    return path


def additions(stack: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that make plain `pulumi` and `kubectl` work here, beside those there are."""
    kubernetes = named("kubernetes").directory
    kubeconfig = str(places.kubeconfig(stack))
    ours = {
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_PARALLEL": environment.get("PULUMI_PARALLEL", PARALLEL),
        "KUBECONFIG": kubeconfig,
        "KUBECACHEDIR": str(places.cache() / "kubectl"),
        "KUBERNETES_MESOS_KUBECONFIG": kubeconfig,
        "KUBERNETES_MESOS_KUBECTL": str(kubernetes / "kubectl"),
        "KUBERNETES_MESOS_STACK": stack,
        "KUBERNETES_MESOS_STACK_FILE": str(state_file(stack)),
    }
    own = own_backend(environment)
    if own is None:
        places.backend().mkdir(parents=True, exist_ok=True, mode=0o700)
        ours["PULUMI_BACKEND_URL"] = backend_url()
        ours["PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER"] = "true"
        if "PULUMI_CONFIG_PASSPHRASE" not in environment:
            ours["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase_file())
    if plugins.has_stand_ins():
        ours["PULUMI_HOME"] = str(plugins.HOME)
        ours["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
        if own is not None:
            ours["PULUMI_CREDENTIALS_PATH"] = str(pulumi_home(environment))
    ours["PATH"] = path(environment.get("PATH", os.defpath))
    return ours


def environment(stack: str) -> dict[str, str]:
    """The whole environment for a program that is started here."""
    return {**os.environ, **additions(stack)}


def pulumi() -> Path:
    """The pulumi that is run."""
    return named("pulumi").directory / "pulumi"


def state_file(stack: str) -> Path:
    """A stack's state in our own backend."""
    return places.backend() / ".pulumi/stacks" / PROJECT / f"{stack}.json"


def lock_files(stack: str) -> list[Path]:
    """The locks that running updates hold on a stack of our own backend."""
    locks = places.backend() / ".pulumi/locks/organization" / PROJECT / stack
    return sorted(locks.glob("*.json"))


def path(path: str) -> str:
    """PATH with our programs first, also when it has them already."""
    ours = [str(pulumi().parent), str(BIN), str(places.VENV / "bin")]
    return os.pathsep.join([*ours, *(d for d in path.split(os.pathsep) if d not in ours)])
