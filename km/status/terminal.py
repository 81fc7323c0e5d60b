"""`km status`: the status page's tables, in the terminal."""

from __future__ import annotations

import argparse
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from km.cloud_config import SettingsError

DEFAULT_URL = "http://127.0.0.1:10251"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(message)


def print_status(arguments: Sequence[str]) -> int:
    """Ask a km scheduler and print what it says. 0 when it leads, 1 when it only stands by."""
    parser = Parser(prog="km status", description="What the leading km scheduler does.")
    parser.add_argument(
        "--url", default=DEFAULT_URL, help=f"a km scheduler (default: {DEFAULT_URL})"
    )
    parser.add_argument("--json", action="store_true", help="print the data as it came")
    options = parser.parse_args(arguments)
    data = fetch(options.url.rstrip("/"))
    print(
        json.dumps(data, indent=2) if options.json else render(data),
        end="" if not options.json else "\n",
    )
    return 0 if data.get("leading") else 1


def fetch(url: str) -> dict[str, Any]:
    """Read /status.json. Raises SettingsError with one line when that is not possible."""
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"--url: {url!r} is no URL; allowed: http://host:port")
    try:
        # No proxy: a scheduler is a neighbour, whatever the shell's environment says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/status.json", timeout=5) as response:
            data = json.load(response)
    except urllib.error.HTTPError as error:
        raise SettingsError(f"--url: {url} answered {error.code}; is it a km scheduler?") from error
    except (OSError, ValueError) as error:
        words = getattr(error, "reason", None) or error
        raise SettingsError(f"--url: {url} does not answer: {words}") from error
    if not isinstance(data, dict):
        raise SettingsError(f"--url: {url} is no km scheduler")
    return data


def render(data: Mapping[str, Any]) -> str:
    """The whole answer as text."""
    if not data.get("leading"):
        leader = data.get("leader") or "nobody"
        return f"This km ({data.get('version')}) stands by; the leader is {leader}.\n"
    mesos = data["mesos"]
    lines = [
        f"km {data['version']}, leading as {data['identity']}",
        f"Mesos: {mesos['master'] or 'not subscribed'} ({mesos['url']}), "
        f"framework {mesos['framework']} {mesos['framework_id'] or ''}".rstrip(),
        "",
        *table(("HOLDER", "CPUS", "MEMORY"), map(share_row, filter(shown, data["shares"]))),
        "",
        *table(
            ("NODE", "STATE", "PODS", "CPUS", "MEMORY", "OTHERS", "FREE", "WHY"),
            (node_row(node) for node in data["nodes"]),
        ),
        *more(data["agents_total"] - len(data["nodes"])),
    ]
    if data["pending"]:
        lines += [
            "",
            *table(("PENDING", "NEEDS", "WHY"), (pod_row(pod) for pod in data["pending"])),
        ]
    lines += more(data["pending_total"] - len(data["pending"]))
    if not data["pending"]:
        lines += ["", "No pod waits."]
    return "\n".join(lines) + "\n"


def more(hidden: int) -> list[str]:
    return [f"… and {hidden} more"] if hidden > 0 else []


def shown(share: Mapping[str, Any]) -> bool:
    """Ours always; others only if they hold something."""
    return bool(share["holder"] != "others" or share["cpus"] or share["mem"])


def share_row(share: Mapping[str, Any]) -> tuple[str, ...]:
    name = share["framework"] or {"others": "on offer elsewhere"}.get(share["holder"])
    return name or share["holder"], number(share["cpus"]), memory(share["mem"])


def node_row(node: Mapping[str, Any]) -> tuple[str, ...]:
    total, pods = node["total"], node["pods"]
    others = ", ".join(f"{name}: {amounts(used)}" for name, used in node["others"].items())
    return (
        node["name"],
        node["state"],
        str(pods["count"]),
        f"{number(pods.get('cpus', 0))}/{number(total.get('cpus', 0))}",
        f"{memory(pods.get('mem', 0))}/{memory(total.get('mem', 0))}",
        others or "-",
        amounts(node["free"]),
        node["why"] or "-",
    )


def pod_row(pod: Mapping[str, Any]) -> tuple[str, ...]:
    return pod["pod"], amounts(pod["needs"]), pod["reason"]


def amounts(resources: Mapping[str, Any]) -> str:
    """`2 cpus, 1.5 GiB`: what people compare."""
    parts = []
    if resources.get("cpus"):
        parts.append(f"{number(resources['cpus'])} cpus")
    if resources.get("mem"):
        parts.append(memory(resources["mem"]))
    if resources.get("gpus"):
        parts.append(f"{number(resources['gpus'])} gpus")
    return ", ".join(parts) or "nothing"


def number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def memory(mebibytes: float) -> str:
    return f"{number(mebibytes / 1024)} GiB" if mebibytes >= 1024 else f"{number(mebibytes)} MiB"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, the last one free."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
