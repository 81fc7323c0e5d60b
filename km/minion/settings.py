"""What a minion is told: ``minion.json`` by the host, ``MESOS_*`` by the Mesos agent."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_PATH = "/etc/kubernetes-mesos/minion.json"
DURATIONS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "secs": 1.0,
    "mins": 60.0,
    "hrs": 3600.0,
    "days": 86400.0,
    "weeks": 604800.0,
}


class SettingsError(Exception):
    """A mistake in what the minion was told: one line with place, value and remedy."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``minion.json``. Paths are on the host; every field without a default must be given."""

    kubeconfig: str
    """The kubelet's access to the API server (user ``system:node:<name>``)."""
    proxy_kubeconfig: str
    flannel_kubeconfig: str
    client_ca: str
    """Who signs the certificates of those who may call the kubelet."""
    node_ip: str
    """Address of this host that pods of other hosts reach it by."""
    pod_network: str
    bin_dir: str = "/opt/kubernetes-mesos/bin"
    """Where kubelet, kube-proxy and flanneld are."""
    cni_bin_dir: str = "/opt/kubernetes-mesos/cni"
    """Where containerd finds the CNI plugins; checked, not used, here."""
    cni_conf_dir: str = "/etc/cni/net.d"
    """Where containerd looks for the network's configuration."""
    serving_certificate: str | None = None
    """None: the kubelet asks the cluster for its serving certificate."""
    serving_key: str | None = None
    container_runtime_endpoint: str = "unix:///run/containerd/containerd.sock"
    local_storage_capacity_isolation: bool = True
    """False where the disk of the images is not a block device of this host (nspawn)."""
    state_dir: str = "/var/lib/kubernetes-mesos/minion"
    kubelet_root: str = "/var/lib/kubelet"
    pod_logs: str = "/var/log/pods"
    max_pods: int = 250
    """Mesos grants what pods need; this only keeps them below the addresses of a /24."""
    memory_without_limit: str = "node"
    """What pods without a memory limit may use: ``node``, what the agent has, as Kubernetes
    promises, where their tasks have infinite limits as well; or ``request``, what Mesos granted."""
    log_bytes: int = 10 * 2**20
    """Size at which a log in the sandbox is cut; one older piece is kept."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the Mesos agent tells its executor by environment variables."""

    framework_id: str
    executor_id: str
    container_id: str
    endpoint: str
    """``address:port`` of the agent."""
    sandbox: str
    token: str | None
    """JWT that the agent wants to see, where it authenticates executors."""
    checkpoint: bool
    """Whether the agent may restart without ending this executor."""
    recovery_timeout: float
    """Seconds to wait for a restarted agent before leaving."""
    grace_period: float
    """Seconds between SHUTDOWN and the agent's SIGKILL."""


def load_settings(path: str) -> Settings:
    """Read ``minion.json``.

    Raises:
        SettingsError: the file is missing, not JSON, or says something unknown or of another type.
    """
    try:
        given = json.loads(Path(path).read_text())
    except OSError as error:
        raise SettingsError(
            f"{path}: {error.strerror}; the mesos-agent recipe writes it"
        ) from error
    except ValueError as error:
        raise SettingsError(f"{path}: not JSON: {error}") from error
    return parse_settings(given, path)


def parse_settings(given: Any, where: str) -> Settings:
    """Check keys and types and build the settings; ``where`` is named in errors."""
    if not isinstance(given, dict):
        raise SettingsError(f"{where}: must be an object, got {type(given).__name__}")
    fields = {field.name: field for field in dataclasses.fields(Settings)}
    if unknown := sorted(set(given) - set(fields)):
        raise SettingsError(f"{where}: unknown key {unknown[0]!r}; allowed: {', '.join(fields)}")
    for name, field in fields.items():
        if name not in given:
            if field.default is dataclasses.MISSING:
                raise SettingsError(f"{where}: key {name!r} is missing")
            continue
        wanted = {"bool": bool, "int": int}.get(str(field.type), str)
        optional = given[name] is None and "None" in str(field.type)
        # bool is a kind of int in Python; `true` pods are a mistake all the same.
        if not optional and type(given[name]) is not wanted:
            raise SettingsError(f"{where}: {name} must be {wanted.__name__}, got {given[name]!r}")
    settings = Settings(**given)
    if (settings.serving_certificate is None) != (settings.serving_key is None):
        raise SettingsError(f"{where}: serving_certificate and serving_key go together")
    if settings.memory_without_limit not in ("request", "node"):
        raise SettingsError(
            f"{where}: memory_without_limit is {settings.memory_without_limit!r}; "
            "allowed: request, node"
        )
    return settings


def missing_files(settings: Settings) -> list[str]:
    """Everything the node needs and this host has not, all at once, in words."""
    programs = [f"{settings.bin_dir}/{name}" for name in ("kubelet", "kube-proxy", "flanneld")]
    files = [
        settings.kubeconfig,
        settings.proxy_kubeconfig,
        settings.flannel_kubeconfig,
        settings.client_ca,
        *(path for path in (settings.serving_certificate, settings.serving_key) if path),
    ]
    return [
        *(f"{path} is no executable file" for path in programs if not os.access(path, os.X_OK)),
        *(f"{path} cannot be read" for path in files if not os.access(path, os.R_OK)),
        *([] if Path(settings.cni_bin_dir).is_dir() else [f"{settings.cni_bin_dir} is missing"]),
    ]


def parse_identity(environment: Mapping[str, str]) -> Identity:
    """Read the variables of a Mesos executor.

    Raises:
        SettingsError: this process was not started by a Mesos agent.
    """
    try:
        sandbox = environment.get("MESOS_SANDBOX") or environment["MESOS_DIRECTORY"]
        return Identity(
            framework_id=environment["MESOS_FRAMEWORK_ID"],
            executor_id=environment["MESOS_EXECUTOR_ID"],
            # The agent's own path of the sandbox ends with .../runs/<container id>.
            container_id=Path(environment["MESOS_DIRECTORY"]).name,
            endpoint=environment["MESOS_AGENT_ENDPOINT"],
            sandbox=sandbox,
            token=environment.get("MESOS_EXECUTOR_AUTHENTICATION_TOKEN") or None,
            checkpoint=environment.get("MESOS_CHECKPOINT") == "1",
            recovery_timeout=seconds(environment.get("MESOS_RECOVERY_TIMEOUT", "15mins")),
            grace_period=seconds(environment.get("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", "5secs")),
        )
    except KeyError as error:
        raise SettingsError(
            f"environment variable {error.args[0]} is not set: `km minion` is started by a Mesos "
            "agent, as the executor that km scheduler launches"
        ) from error


def seconds(text: str) -> float:
    """Parse a duration as Mesos writes it: ``15mins``, ``2.5secs``."""
    match = re.fullmatch(r"([0-9.]+)([a-z]+)", text.strip())
    if not match or match[2] not in DURATIONS:
        raise SettingsError(f"{text!r} is no duration; examples: 15mins, 10secs, 500ms")
    return float(match[1]) * DURATIONS[match[2]]
