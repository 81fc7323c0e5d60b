"""Two nodes of Kubernetes on a real Mesos, for tests and figures of sharing it with others."""

from __future__ import annotations

import time
from typing import Any

from tests.km.batch import Batch
from tests.km.km_process import Km, Stage
from tests.km.overseer import held
from tests.mesos_cluster import ask, wait_until

AGENTS = ("agent-1", "agent-2")
AGENT_CPUS = 4
OVERHEAD_CPUS = 0.11
"""What km's executor and node task keep on each agent."""


def two_nodes(stage: Stage, roles: str = "kubernetes") -> Km:
    """km on two agents of 4 cpus, both Ready nodes."""
    master = stage.mesos.start_master()
    for name in AGENTS:
        stage.mesos.start_agent(name, master=master)
    stage.mesos.wait_for_agents(len(AGENTS))
    km = stage.km(master, framework_roles=roles)
    km.wait_ready()
    km.wait(lambda: len(tasks_of(master, "node.")) == len(AGENTS))
    stage.nodes_of_mesos(*AGENTS)
    return km


def tasks_of(master: str, prefix: str) -> list[dict[str, Any]]:
    listed = ask(master, "GET_TASKS")["get_tasks"].get("tasks", [])
    return [task for task in listed if task["task_id"]["value"].startswith(prefix)]


def scale_up(stage: Stage, prefix: str, count: int, cpu: str = "300m") -> None:
    """So many pods at once, as a controller would make them."""
    request = {"cpu": cpu, "memory": "64Mi"}
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{prefix}-{number}", "labels": {"wave": prefix}},
            "spec": {
                "containers": [{"name": "c", "image": "i", "resources": {"requests": request}}],
                "terminationGracePeriodSeconds": 0,
            },
        }
        for number in range(count)
    ]
    stage.apply({"apiVersion": "v1", "kind": "List", "items": pods})


def scale_down(stage: Stage) -> None:
    stage.kube.kubectl("delete", "pods", "--all", "--force", "--grace-period=0", "--wait=false")


def time_to_flow_back(stage: Stage, km: Km) -> float:
    """Seconds from the deletion of pods that fill the agents until another framework has 90 %."""
    scale_up(stage, "full", 7, "1")  # one of them has to wait
    km.wait(lambda: len(tasks_of(km.master, "pod.")) == 6)
    with Batch(km.master, name="waiting", role="batch", keeps=True).at_work() as waiting:
        began = time.monotonic()
        scale_down(stage)
        idle = len(AGENTS) * (AGENT_CPUS - OVERHEAD_CPUS)
        wait_until(lambda: held(km.master, waiting.name) >= 0.9 * idle, 30, "resources flow back")
        return time.monotonic() - began
