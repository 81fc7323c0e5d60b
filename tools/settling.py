"""What the cluster lost without the state knowing: pods that nobody replaces go with their node.

After hosts died, Kubernetes shows nodes and pods as they were before until it has found out, and a
refresh would believe it: that is waited for.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tools import engine, state

LIMIT_SECONDS = 90
PAUSE_SECONDS = 1.0
KINDS = ("nodes", "pods", "leases")
POD = "kubernetes:core/v1:Pod"

Things = Mapping[str, Iterable[Mapping[str, Any]]]
"""Objects by kind, as the API server gives them."""


def settle(stack: str, since: float) -> None:
    """Wait until everything that Kubernetes shows is newer than ``since`` (seconds since 1970).

    Says so and gives up after a while: the cluster may still be on its way, or be broken.
    """
    end = time.monotonic() + LIMIT_SECONDS
    while stale := stale_things(read_things(stack), since):
        if time.monotonic() > end:
            state.say(f"Not settled after {LIMIT_SECONDS} s: {', '.join(stale[:5])}")
            return
        time.sleep(PAUSE_SECONDS)


def stale_things(things: Things | None, since: float) -> list[str]:
    """Name what is not known to be as it is shown: nodes without a heartbeat, pods without a node,
    pods that are ending. None for no answer of the API server.
    """
    if things is None:
        return ["the API server"]
    beats = {named(lease): seconds(lease["spec"].get("renewTime")) for lease in things["leases"]}
    nodes = {named(node) for node in things["nodes"]}
    silent = [f"node {name}" for name in sorted(nodes) if beats.get(name, 0.0) < since]
    lost = [f"pod {named(pod)}" for pod in things["pods"] if is_lost(pod, nodes)]
    return silent + lost


def lost_pods(resources: Iterable[Mapping[str, Any]], things: Things | None) -> list[str]:
    """Name the pods that a state speaks of and that are no more; another of the same name is
    another pod. None for no answer of the API server: nothing is known to be lost.
    """
    if things is None:
        return []
    nodes = {named(node) for node in things["nodes"]}
    here = {pod["metadata"]["uid"] for pod in things["pods"] if not is_lost(pod, nodes)}
    return [
        str(resource["id"])
        for resource in resources
        if resource.get("type") == POD and uid_of(resource) not in {None, *here}
    ]


def uid_of(resource: Mapping[str, Any]) -> str | None:
    """What tells an object from a later one of its name, as a state keeps it."""
    metadata = (resource.get("outputs") or {}).get("metadata") or {}
    return metadata.get("uid")


def is_lost(pod: Mapping[str, Any], nodes: Iterable[str]) -> bool:
    """Whether a pod is on its way out of Kubernetes' books."""
    node = pod["spec"].get("nodeName")
    return "deletionTimestamp" in pod["metadata"] or (node is not None and node not in nodes)


def named(thing: Mapping[str, Any]) -> str:
    return str(thing["metadata"]["name"])


def seconds(timestamp: str | None) -> float:
    """Read a time of the API (RFC 3339, UTC) as seconds since 1970; 0 when there is none."""
    if not timestamp:
        return 0.0
    return datetime.fromisoformat(timestamp).timestamp()


def read_things(stack: str) -> Things | None:
    """Ask the API server; None when it does not answer."""
    environment = engine.environment(stack)
    asked = [environment["KUBERNETES_MESOS_KUBECTL"], "get", ",".join(KINDS), "--all-namespaces"]
    done = subprocess.run(
        [*asked, "--output", "json", "--request-timeout=5s"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    found: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    for item in json.loads(done.stdout)["items"]:
        found[f"{item['kind'].lower()}s"].append(item)
    return found
