"""The core's view of the world as /status.json and the gauges show it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from km.status.metrics import Metrics

MEBIBYTE = 2**20

MOST_PENDING = 200
MOST_NODES = 500
"""So many lines are shown; a page of ten thousand helps nobody. The totals count all."""

ORDER = {"unreachable": 0, "stopping": 1, "draining": 2, "starting": 3, "ready": 4, "agent": 5}


def page_of(
    view: Mapping[str, Any], overhead: Mapping[str, Any], recent: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The leader's part of /status.json.

    Args:
        view: `Core.view()`.
        overhead: what a node itself is given (cpus, MiB, …).
        recent: the latest decisions, oldest first.
    """
    totals = view["totals"]
    nodes = sorted((node_of(entry, overhead) for entry in view["nodes"]), key=urgency)
    pods = sorted(view["pods"], key=lambda pod: (pod["since"], pod["pod"]))
    return {
        "synced": view["synced"],
        "suppressed": view["suppressed"],
        "agents_total": totals["agents"],
        "nodes_ready": totals["nodes_ready"],
        "offers_held": totals["offers_held"],
        "pods_running": sum(node["pods"]["count"] for node in nodes),
        "pending_total": len(pods),
        "pending": pods[:MOST_PENDING],
        "nodes": nodes[:MOST_NODES],
        "recent": list(recent)[::-1],
        "shares": view["shares"],
        "counters": view["counters"],
    }


def node_of(entry: Mapping[str, Any], overhead: Mapping[str, Any]) -> dict[str, Any]:
    """One agent, with the node on it if there is one."""
    runs = bool(entry["phase"])
    ours = entry["ours"]
    own = {kind: min(overhead.get(kind, 0), ours.get(kind, 0)) for kind in overhead} if runs else {}
    pods = {
        kind: max(0, amount - own.get(kind, 0))
        for kind, amount in ours.items()
        if isinstance(amount, (int, float))
    }
    return {
        "name": entry["name"],
        "agent_id": entry["agent_id"],
        "state": entry["phase"] or ("agent" if entry["active"] else "disconnected"),
        "why": entry["why"],
        "total": entry["total"],
        "overhead": own,
        "pods": {**pods, "count": len(entry["pods"]), "names": entry["pods"]},
        "others": entry["others"],
        "free": entry["free"],
        "offered": entry["offered"],
    }


def urgency(node: Mapping[str, Any]) -> tuple[int, str]:
    """What an operator looks for first comes first."""
    return ORDER.get(node["state"], 0), node["name"]


def fill_gauges(metrics: Metrics, totals: Mapping[str, int], counters: Mapping[str, int]) -> None:
    """Set the gauges from `Core.totals()` and the core's counters."""
    metrics.agents.set(totals["agents"])
    metrics.offers.set(totals["offers_held"])
    metrics.tasks.set(totals["tasks"])
    for name, number in totals.items():
        what, _, state = name.partition("_")
        if what == "pods":
            metrics.pods.labels(state).set(number)
        elif what == "nodes":
            metrics.nodes.labels(state).set(number)
    for name, number in counters.items():
        if not name.startswith("action."):
            metrics.counted.labels(name).set(number)


def fill_shares(metrics: Metrics, shares: Iterable[Mapping[str, Any]]) -> None:
    """Set the gauges of who holds what from `Core.shares()`; frameworks that left are dropped."""
    for gauge in (metrics.cpus, metrics.memory):
        gauge.clear()
    for share in shares:
        labels = share["holder"], share["framework"]
        metrics.cpus.labels(*labels).set(share["cpus"])
        metrics.memory.labels(*labels).set(share["mem"] * MEBIBYTE)
