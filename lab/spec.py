"""What may be asked of the lab: JSON in, checked objects out, before anything is touched."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lab.errors import LabError

LAB_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
A_LABEL = "a DNS label of at most 63 a-z, 0-9 and -"


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network of its own for one lab."""

    lab: str
    network: ipaddress.IPv4Network | None = None
    """The /24 to use; None leaves the choice to the lab."""
    owner: str = ""
    """Who made it, as `<clone path>:<stack>`; shown when something is in the way."""
    machine: str = ""
    """The machine it was asked for on; for whoever reads the spec where it is kept."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a host will be."""

    name: str
    cpus: float
    memory_mb: int
    disk_gb: int


@dataclass(frozen=True, kw_only=True)
class LabSpec:
    """A whole lab, to be asked about before any of it is made."""

    lab: str
    hosts: tuple[Size, ...]
    network: ipaddress.IPv4Network | None = None


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """One host. Sizes are limits that the kernel enforces."""

    lab: str
    name: str
    index: int
    """The last byte of its address."""
    cpus: float
    memory_mb: int
    disk_gb: int
    authorized_key: str
    """The public key that may log in."""
    host_key: str
    """The private key that the host proves itself with."""
    base: str = "bookworm"
    roles: tuple[str, ...] = ()
    user: str = "root"
    """Who logs in; another name than root gets sudo without a password."""

    def public(self) -> dict[str, Any]:
        """The spec without its private key, to be kept on disk."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "host_key"}


def read_network(text: str) -> NetworkSpec:
    """The network asked for in JSON.

    Raises:
        LabError: naming the key, its value and what is allowed.
    """
    given = _object(text, NetworkSpec)
    network = given.get("network")
    return NetworkSpec(
        lab=_lab(given),
        network=None if network is None else _network(network),
        owner=_text(given, "owner", default=""),
        machine=_text(given, "machine", default=""),
    )


def read_lab(text: str) -> LabSpec:
    """The lab asked about in JSON.

    Raises:
        LabError: naming the key, its value and what is allowed.
    """
    given = _object(text, LabSpec)
    network = given.get("network")
    return LabSpec(
        lab=_lab(given),
        network=None if network is None else _network(network),
        hosts=tuple(_size(_known(host, Size)) for host in given.get("hosts") or ()),
    )


def _size(given: dict[str, Any]) -> Size:
    return Size(
        name=_matching(given, "name", DNS_LABEL, A_LABEL),
        cpus=_cpus(given),
        memory_mb=_whole(given, "memory_mb", 128, 10**9),
        disk_gb=_whole(given, "disk_gb", 1, 10**6),
    )


def read_host(text: str) -> HostSpec:
    """The host asked for in JSON.

    Raises:
        LabError: naming the key, its value and what is allowed.
    """
    given = _object(text, HostSpec)
    size = _size(given)
    return HostSpec(
        lab=_lab(given),
        name=size.name,
        index=_whole(given, "index", 2, 254),
        cpus=size.cpus,
        memory_mb=size.memory_mb,
        disk_gb=size.disk_gb,
        authorized_key=_matching(
            given, "authorized_key", re.compile(r"(ssh|ecdsa|sk)-\S+ \S+.*\n?"), "an SSH public key"
        ).strip(),
        host_key=_host_key(given),
        base=_text(given, "base", default="bookworm"),
        roles=tuple(given.get("roles") or ()),
        user=_matching(
            {"user": "root", **given}, "user", re.compile(r"[a-z_][a-z0-9_-]{0,30}"), "a user name"
        ),
    )


def read_host_name(text: str) -> tuple[str, str]:
    """Lab and name of a host to remove; the rest of the spec may be there and is not looked at."""
    given = _object(text, HostSpec)
    return _lab(given), _matching(given, "name", DNS_LABEL, "a DNS label")


def check_lab(lab: str) -> str:
    """The lab's id, when it is one."""
    return _lab({"lab": lab})


def _object(text: str, kind: type[NetworkSpec | LabSpec | HostSpec]) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise LabError(f"standard input must be a JSON object: {error}") from error
    return _known(given, kind)


def _known(given: Any, kind: type[NetworkSpec | LabSpec | HostSpec | Size]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise LabError(f"standard input must be a JSON object, got {type(given).__name__}")
    known = [f.name for f in fields(kind)]
    for key in given:
        if key not in known:
            raise LabError(f"{key}: unknown key; known are {', '.join(known)}")
    return given


def _lab(given: Mapping[str, Any]) -> str:
    return _matching(given, "lab", LAB_ID, "1 to 12 of a-z, 0-9 and - (it names a bridge)")


def _network(value: Any) -> ipaddress.IPv4Network:
    allowed = "a private IPv4 network with 24 bits such as 10.90.7.0/24, or null"
    try:
        network = ipaddress.IPv4Network(value)
    except (ValueError, TypeError) as error:
        raise LabError(f"network: {value!r} must be {allowed}: {error}") from error
    if network.prefixlen != 24 or not network.is_private:
        raise LabError(f"network: {value!r} must be {allowed}")
    return network


def _text(given: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = given.get(key, default)
    if value is None:
        raise LabError(f"{key}: is missing")
    if not isinstance(value, str):
        raise LabError(f"{key}: {value!r} must be text")
    return value


def _matching(given: Mapping[str, Any], key: str, pattern: re.Pattern[str], allowed: str) -> str:
    value = _text(given, key)
    if not pattern.fullmatch(value):
        raise LabError(f"{key}: {value!r} must be {allowed}")
    return value


def _whole(given: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = given.get(key)
    # Pulumi hands every number over as a float: 4096.0 is as good as 4096.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise LabError(f"{key}: {value!r} must be a whole number from {low} to {high}")
    return value


def _cpus(given: Mapping[str, Any]) -> float:
    value = given.get("cpus")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= 1024:
        raise LabError(f"cpus: {value!r} must be a number from 0.1 to 1024")
    return float(value)


def _host_key(given: Mapping[str, Any]) -> str:
    value = _text(given, "host_key")
    if not value.startswith("-----BEGIN") or "PRIVATE KEY-----" not in value:
        raise LabError("host_key: must be a private key as ssh-keygen writes it (not shown here)")
    return value.strip() + "\n"
