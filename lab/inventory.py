"""All labs of this machine: which live, which are only remains, and taking either away."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lab import cgroups, host, network, paths, state
from lab.commands import say
from lab.errors import LabError
from lab.processes import boot_id

MAKING_SECONDS = 600
"""How long a lab without any host counts as one that is being made."""


def listing() -> list[dict[str, Any]]:
    """Every lab: owner, network, whether it lives, its hosts, and records that are damaged."""
    return [_describe(lab) for lab in _known_labs()]


def start(lab: str) -> list[dict[str, str]]:
    """Start every recorded host of a lab that does not run, with the data that it had.

    Raises:
        LabError: there is no such lab, or a host did not start.
    """
    if state.read_network(lab) is None:
        raise LabError(f"lab {lab}: there is none; `lab list` shows those there are")
    # A process each: bringing a host up moves the process into the host's mounts.
    children = [
        (host.name, _start_one(spec)) for host in state.hosts(lab) if (spec := _spec_of(host))
    ]
    results = [(name, child.communicate()[0], child.returncode) for name, child in children]
    failed = [name for name, _, status in results if status != 0]
    if failed:
        raise LabError(f"lab {lab}: {', '.join(failed)} did not start; see above")
    return [json.loads(printed) for _, printed, _ in results]


def remove(lab: str) -> None:
    """Remove a lab with everything in it, however far it got; nothing happens without one."""
    # Processes first and all at once: hosts that go one by one complain about each other.
    cgroups.remove(lab)
    for name in state.host_names(lab):
        host.down(lab, name)
    with state.locked(paths.LABS):
        network.remove(lab)
        state.remove_empty(lab)


def remove_dead(owner: str = "") -> None:
    """Remove every lab of which nothing runs any more; those that live are not touched.

    Args:
        owner: what the owner's name has to begin with.
    """
    for lab in _known_labs():
        claimed = state.readable_network(lab)
        is_theirs = not owner or (claimed is not None and claimed.owner.startswith(owner))
        if is_theirs and _is_dead(lab):
            say(f"lab {lab}: none of its hosts runs; it is removed")
            remove(lab)


def _known_labs() -> list[str]:
    return sorted({*state.labs(), *cgroups.labs()})


def _is_dead(lab: str) -> bool:
    claimed = state.readable_network(lab)
    hosts = state.readable_hosts(lab)
    if any(host.lives() for host in hosts):
        return False
    if claimed is None or claimed.boot != boot_id() or not network.exists(claimed.bridge):
        return True
    record = state.lab_path(lab) / "network.json"
    return bool(hosts) or time.time() - record.stat().st_mtime > MAKING_SECONDS


def _describe(lab: str) -> dict[str, Any]:
    claimed = state.readable_network(lab)
    return {
        "lab": lab,
        "damages": state.damages(lab),
        "owner": claimed.owner if claimed else None,
        "network": str(claimed.network) if claimed else None,
        "bridge": claimed.bridge if claimed else None,
        "lives": not _is_dead(lab),
        "hosts": [
            {
                "name": host.name,
                "address": host.address,
                "lives": host.lives(),
                "pid": host.process.pid if host.process else None,
                "cpus": host.spec["cpus"],
                "memory_mb": host.spec["memory_mb"],
                "disk_gb": host.spec["disk_gb"],
            }
            for host in state.readable_hosts(lab)
        ],
    }


def _start_one(spec: dict[str, Any]) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-m", "lab", "host", "up"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    if child.stdin:
        child.stdin.write(json.dumps(spec))
        child.stdin.close()
        child.stdin = None
    return child


def _spec_of(host: state.Host) -> dict[str, Any] | None:
    """What a host was made from."""
    key = state.read_host_key(host.spec["lab"], host.name)
    if key is None:
        say(f"host {host.name}: was never finished; `lab host up` makes it")
        return None
    return {**host.spec, "host_key": key}
