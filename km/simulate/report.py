"""What a simulation has shown, as numbers and as text."""

from __future__ import annotations

import resource
from typing import Any

from km.simulate.scenario import Scenario


def percentile(ordered: list[float], part: float) -> float:
    """The value below which ``part`` of the sorted values lie; 0 without values."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def report(scenario: Scenario, wall: float, cpu: float) -> dict[str, Any]:
    """Figures of a finished scenario, which took ``wall`` seconds, ``cpu`` of them at work."""
    cluster, km, plan = scenario.cluster, scenario.km, scenario.plan
    latencies = sorted(cluster.latencies)
    waiting = sum(1 for pod in cluster.pods.values() if not pod.node)
    return {
        "agents": plan.agents,
        "pods": plan.pods,
        "seed": plan.seed,
        "virtual_seconds": round(scenario.clock.now, 1),
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1),
        "core_seconds": round(km.busy, 1),
        "events": km.events,
        "pods_bound": cluster.bound_count,
        "pods_per_second_wall": round(cluster.bound_count / wall) if wall else 0,
        "pods_per_second_cpu": round(cluster.bound_count / cpu) if cpu else 0,
        "pods_per_second_core": round(cluster.bound_count / km.busy) if km.busy else 0,
        "latency_p50": round(percentile(latencies, 0.50), 3),
        "latency_p90": round(percentile(latencies, 0.90), 3),
        "latency_p99": round(percentile(latencies, 0.99), 3),
        "utilisation_most": round(max(scenario.utilisation, default=0.0), 3),
        "utilisation_mean": round(mean(scenario.utilisation), 3),
        "fairness_when_all_want": round(mean(scenario.fairness), 3) if scenario.fairness else None,
        "pods_replaced": cluster.replaced,
        "pods_finished": cluster.finished,
        "pods_waiting_at_end": waiting,
        "jobs_finished": sum(framework.finished for framework in scenario.others),
        "nodes_at_end": len(cluster.nodes),
        "accidents": dict(sorted(scenario.accidents.items())),
        "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def text(figures: dict[str, Any]) -> str:
    """One figure a line."""
    width = max(map(len, figures))
    return "\n".join(
        f"{name.replace('_', ' '):<{width}}  {value}" for name, value in figures.items()
    )
