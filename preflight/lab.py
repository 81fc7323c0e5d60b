"""Whether a lab fits on this machine. The lab itself knows: it is asked, as the program asks it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from components.hosts import Role
from components.lab_hosts import host_names, lab_id
from stacks.settings import LabHosts

ROOT = Path(__file__).resolve().parent.parent


def refusal(hosts: LabHosts, stack: str) -> str | None:
    """Say why the lab of a stack cannot be made, or made larger; None when it can."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", "check"],
        cwd=ROOT,
        input=json.dumps(question(hosts, stack)),
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.returncode:
        return None
    return (
        f"The lab of stack {stack} cannot be made on this machine; nothing was changed.\n"
        f"{done.stderr.strip()}\n"
        "What it asks for: cluster.hosts in its stack file, each key in the README's table."
    )


def question(hosts: LabHosts, stack: str) -> dict[str, Any]:
    """What `lab check` reads: the same lab that the program makes."""
    groups = ((Role.CONTROL, hosts.control), (Role.AGENT, hosts.agents))
    return {
        "lab": lab_id(ROOT, stack),
        "network": str(hosts.network) if hosts.network else None,
        "hosts": [
            {
                "name": name,
                "cpus": group.cpus,
                "memory_mb": group.memory_mb,
                "disk_gb": group.disk_gb,
            }
            for role, group in groups
            for name in host_names(role, group.count)
        ],
    }
