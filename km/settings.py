"""Flags and mesos-cloud.conf: read once, checked strictly, frozen.

Flags win over the file, the file wins over the defaults. Names are those of the `km` of 2015 where
it had them. A mistake is one line: where, what was given, what is allowed.
"""

# ruff: noqa: RUF009 - `flag` is a kind of `field`, called once for each setting

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from km import values as read
from km.cloud_config import SettingsError, read_cloud_config
from km.mesos.leader import MasterUrl, parse_master

__all__ = ["Settings", "SettingsError", "parse_settings"]

NODE_POLICIES = ("on-demand", "every-agent")
LOG_FORMATS = ("logfmt", "json")


def flag(
    reader: Callable[[str], Any], help_text: str, default: Any = MISSING, *aliases: str
) -> Any:
    """A setting: how its text is read, what it means, what it is unless given."""
    metadata = {"read": reader, "help": help_text, "aliases": aliases}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything `km scheduler` can be told."""

    # Mesos
    mesos_master: MasterUrl = flag(
        parse_master,
        "masters: host:port[,host:port…] or zk://host:port,…/path",
        parse_master("localhost:5050"),
    )
    cloud_config: Path | None = flag(
        Path, "mesos-cloud.conf, the settings of the seed's cloud provider", None
    )
    mesos_user: str = flag(read.text, "Unix user that executors run as", "root")
    mesos_authentication_principal: str | None = flag(
        read.text, "principal to authenticate and register as", None
    )
    mesos_authentication_secret_file: Path | None = flag(
        Path, "file with the principal's secret", None
    )
    http_client_timeout: float = flag(read.duration, "longest wait for an answer of a master", 10.0)
    state_cache_ttl: float = flag(
        read.duration,
        "time between two looks at the state of Mesos; 3 ms more for each agent",
        15.0,
    )
    framework_name: str = flag(read.text, "name of the framework in Mesos", "Kubernetes")
    framework_roles: tuple[str, ...] = flag(read.roles, "Mesos roles, comma-separated", ("*",))
    framework_weburi: str | None = flag(
        read.text, "URL that Mesos links to; default: km's status page", None
    )
    failover_timeout: float = flag(
        read.duration, "how long Mesos keeps executors and pods while no km is there", 604800.0
    )
    # Kubernetes
    kubeconfig: Path | None = flag(Path, "how to reach the API server, and as whom", None)
    api_servers: tuple[str, ...] = flag(
        read.urls, "API servers' URLs, instead of the kubeconfig's", ()
    )
    kube_scheduler: Path | None = flag(
        Path, "upstream kube-scheduler, run as a child of the leader", None
    )
    kube_scheduler_kubeconfig: Path | None = flag(
        Path, "kubeconfig of kube-scheduler; default: km's own", None
    )
    kube_scheduler_port: int = flag(
        read.port, "port of kube-scheduler's own metrics on 127.0.0.1; 0: none", 10259
    )
    cluster_dns: str | None = flag(
        read.ip, "address of the cluster's DNS service, given to kubelets", None
    )
    cluster_domain: str = flag(read.domain, "domain of the cluster", "cluster.local")
    # Nodes and pods
    nodes: str = flag(
        read.choice(NODE_POLICIES),
        "when an agent becomes a node: on-demand or every-agent",
        "on-demand",
    )
    idle_timeout: float = flag(
        read.duration, "how long a node may be without pods before it leaves", 300.0
    )
    node_version: str = flag(
        str, "any text; when it changes, nodes are drained and started anew one by one", ""
    )
    node_labels: tuple[tuple[str, str], ...] = flag(
        read.labels, "labels for every node: key=value,…", ()
    )
    agent_labels: read.AgentLabels = flag(
        read.agent_labels, 'JSON file with labels by agent: {"AGENT": {"KEY": "VALUE"}}', ()
    )
    executor_cpus: float = flag(
        read.cpus,
        "cpus of kubelet, kube-proxy and flanneld on a node",
        0.1,
        "--mesos-executor-cpus",
    )
    executor_mem: float = flag(
        read.mebibytes, "memory of the same, in MiB or as 192MB", 192.0, "--mesos-executor-mem"
    )
    executor_command: str = flag(
        read.text, "what an agent runs to become a node", "exec /opt/kubernetes-mesos/bin/km minion"
    )
    default_container_cpu_limit: float = flag(
        read.cpus, "cpus that a pod without requests is counted with", 0.01
    )
    default_container_mem_limit: float = flag(
        read.mebibytes, "memory that a pod without requests is counted with", 32.0
    )
    # Offers
    offer_hold: float = flag(read.duration, "longest time an offer is held while pods wait", 5.0)
    bind_timeout: float = flag(
        read.duration, "longest wait of a pod for its task before it is queued again", 10.0
    )
    gather: float = flag(read.duration, "time in which launches on one agent are gathered", 0.015)
    reconcile_interval: float = flag(
        read.duration, "time between two full reconciliations with Mesos", 300.0
    )
    # km itself
    address: str = flag(read.address, "address of status page, metrics and health", "0.0.0.0")
    port: int = flag(read.port, "port of the same", 10251)
    extender_port: int = flag(read.port, "port on 127.0.0.1 where kube-scheduler asks", 10262)
    advertised_address: str | None = flag(
        read.address,
        "address others reach this host by; default: found out",
        None,
        "--hostname-override",
    )
    lease_name: str = flag(
        read.text, "Lease in kube-system that chooses the leading km", "km-scheduler"
    )
    runtime_dir: Path = flag(
        Path, "where kube-scheduler's configuration is written", Path("/run/km")
    )
    log_format: str = flag(read.choice(LOG_FORMATS), "logfmt or json", "logfmt")
    log_level: str = flag(
        read.choice(("debug", "info", "warning", "error")), "least important lines to log", "info"
    )

    def secret(self) -> str | None:
        """The principal's secret, read now.

        Raises:
            SettingsError: the file cannot be read or is empty.
        """
        path = self.mesos_authentication_secret_file
        if path is None:
            return None
        try:
            secret = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--mesos-authentication-secret-file: {path}: {error}") from error
        if not secret:
            raise SettingsError(f"--mesos-authentication-secret-file: {path} is empty")
        return secret


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line, with a suggestion for a misspelt flag."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def flag_name(item: Field[Any]) -> str:
    return "--" + item.name.replace("_", "-")


def make_parser() -> argparse.ArgumentParser:
    """One flag for each field of Settings; values stay text until they are checked."""
    parser = Parser(
        prog="km scheduler",
        description="Kubernetes as a framework of Apache Mesos.",
        allow_abbrev=False,
    )
    for item in fields(Settings):
        shown = "" if item.default is None else f" (default: {shown_default(item)})"
        parser.add_argument(
            flag_name(item),
            *item.metadata["aliases"],
            dest=item.name,
            default=None,
            metavar="VALUE",
            help=(item.metadata["help"] + shown).replace("%", "%%"),
        )
    return parser


def shown_default(item: Field[Any]) -> str:
    value = item.default
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def parse_settings(arguments: Sequence[str]) -> Settings:
    """Read flags, and the file that `--cloud-config` names.

    Raises:
        SettingsError: with one line that says what to change.
    """
    known, unknown = make_parser().parse_known_args(list(arguments))
    if unknown:
        raise SettingsError(unknown_flag(unknown[0]))
    given = {name: value for name, value in vars(known).items() if value is not None}
    values = {}
    for item in fields(Settings):
        if item.name in given:
            values[item.name] = read_value(item, given[item.name], flag_name(item))
    if values.get("cloud_config"):
        for name, (value, where) in read_cloud_config(values["cloud_config"]).items():
            item = next(item for item in fields(Settings) if item.name == name)
            values.setdefault(name, read_value(item, value, where))
    settings = Settings(**values)
    check_together(settings)
    return settings


def read_value(item: Field[Any], value: str, where: str) -> Any:
    """Turn one text into what the setting holds, or say where it is wrong."""
    try:
        return item.metadata["read"](value)
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from error


def unknown_flag(given: str) -> str:
    name = given.partition("=")[0]
    names = [flag_name(item) for item in fields(Settings)]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else "; see km scheduler --help"
    kind = "unknown flag" if name.startswith("-") else "unexpected argument"
    return f"{kind} {name}{hint}"


def check_together(settings: Settings) -> None:
    """Refuse values that are fine alone but not together."""
    principal = settings.mesos_authentication_principal
    if settings.mesos_authentication_secret_file and not principal:
        raise SettingsError(
            "--mesos-authentication-secret-file is given without --mesos-authentication-principal"
        )
    if settings.kubeconfig is None and not settings.api_servers:
        raise SettingsError("--kubeconfig is missing; give it, or --api-servers=https://host:port")
    for name, path in (
        ("--kubeconfig", settings.kubeconfig),
        ("--kube-scheduler", settings.kube_scheduler),
        ("--kube-scheduler-kubeconfig", settings.kube_scheduler_kubeconfig),
        ("--mesos-authentication-secret-file", settings.mesos_authentication_secret_file),
    ):
        if path is not None and not path.is_file():
            raise SettingsError(f"{name}: {path} is no file; give the path of an existing one")
    if settings.offer_hold <= 2 * settings.gather:
        raise SettingsError(
            f"--offer-hold: {settings.offer_hold:g}s is too short "
            f"for --gather {settings.gather:g}s; allowed: more than twice as long"
        )
