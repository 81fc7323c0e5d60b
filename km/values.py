"""How the text of a setting becomes its value. Each raises ValueError saying what is allowed."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

MEMORY_UNITS = {
    "": 1.0,
    "KB": 1 / 1024,
    "MB": 1.0,
    "GB": 1024.0,
    "KI": 1 / 1024,
    "MI": 1.0,
    "GI": 1024.0,
}

AgentLabels = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""Agents, each with its labels."""

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def text(value: str) -> str:
    """Any text but none."""
    if not value.strip():
        raise ValueError("is empty; give a value")
    return value


def duration(value: str) -> float:
    """Seconds, from a number (`10`) or Go's form (`500ms`, `1m30s`, `168h`)."""
    allowed = f"{value!r} is no duration; allowed: seconds (10) or 500ms, 10s, 1m30s, 168h"
    if re.fullmatch(r"\d+(\.\d+)?", value):
        seconds = float(value)
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            raise ValueError(allowed)
        seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds <= 0:
        raise ValueError(f"{value!r} is not more than 0; allowed: any time longer than that")
    return seconds


def cpus(value: str) -> float:
    """CPUs, from `0.1` or Kubernetes' `100m`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", value)
    amount = float(match[1]) / (1000 if match[2] else 1) if match else math.nan
    # Mesos counts cpus in thousandths; less than one of them would vanish.
    if not match or amount < 0.001:
        raise ValueError(f"{value!r} is no amount of cpus; allowed: 0.001 and more, as 0.1 or 100m")
    return amount


def mebibytes(value: str) -> float:
    """MiB, from `192`, `192MB`, `192Mi` or `1Gi` (Mesos' MB are MiB)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG][Bi])?", value)
    amount = float(match[1]) * MEMORY_UNITS[(match[2] or "").upper()] if match else math.nan
    if not match or amount < 1:
        raise ValueError(f"{value!r} is no memory; allowed: 1 (MiB) and more, as 192, 192Mi or 1Gi")
    return amount


def port(value: str) -> int:
    if not value.isdecimal() or int(value) > 65535:
        raise ValueError(f"{value!r} is no port; allowed: 0 to 65535")
    return int(value)


def ip(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is no IP address; allowed: 10.10.10.10 or fd00::a") from error


def address(value: str) -> str:
    """An address to listen on or to be reached by: an IP address or a host's name."""
    if not re.fullmatch(r"[A-Za-z0-9:]([A-Za-z0-9.:-]*[A-Za-z0-9:])?", value):
        raise ValueError(f"{value!r} is no address; allowed: an IP address or a host name")
    return value


def domain(value: str) -> str:
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if not re.fullmatch(rf"{label}(\.{label})*", value):
        raise ValueError(
            f"{value!r} is no DNS domain; allowed: lower-case labels, as cluster.local"
        )
    return value


def urls(value: str) -> tuple[str, ...]:
    found = tuple(part.strip().rstrip("/") for part in value.split(","))
    for url in found:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
            raise ValueError(f"{url!r} is no server; allowed: https://host:port, comma-separated")
    return found


def roles(value: str) -> tuple[str, ...]:
    """Mesos' own rules for roles, https://mesos.apache.org/documentation/latest/roles/."""
    found = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    for role in found:
        parts = role.split("/")
        if any(part in ("", ".", "..") or part[0] == "-" for part in parts) or re.search(
            r"\s", role
        ):
            raise ValueError(
                f"{role!r} is no Mesos role; allowed: names as kubernetes, eng/web or *"
            )
        if "*" in role and role != "*":
            raise ValueError(f"{role!r} is no Mesos role; '*' stands alone")
    return found


def labels(value: str) -> tuple[tuple[str, str], ...]:
    found = []
    for part in value.split(","):
        key, equals, content = part.strip().partition("=")
        prefix, slash, name = key.rpartition("/")
        good = equals and LABEL.fullmatch(name) and (not content or LABEL.fullmatch(content))
        if not good or (slash and not re.fullmatch(r"[a-z0-9.-]{1,253}", prefix)):
            raise ValueError(f"{part!r} is no label; allowed: key=value, as example.com/tier=web")
        found.append((key, content))
    return tuple(found)


def agent_labels(path: str) -> AgentLabels:
    """Labels by agent, from a file such as ``{"rack2": {"tier": "web"}}``."""
    try:
        given = json.loads(Path(path).read_text())
        return tuple(
            (str(agent), labels(",".join(f"{key}={value}" for key, value in own.items())))
            for agent, own in sorted(given.items())
            if own
        )
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except (AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(
            f'{path} is not what it should be; allowed: {{"AGENT": {{"KEY": "VALUE"}}}}'
        ) from error


def choice(allowed: Sequence[str]) -> Callable[[str], str]:
    """One of a few words."""

    def read(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is not allowed; allowed: {', '.join(allowed)}")
        return value

    return read
