"""km scheduler as a real process between a real Mesos and a real Kubernetes control plane."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from tests.km.km_process import Km, Stage
from tests.mesos_cluster import ask


def tasks(stage: Stage) -> dict[str, str]:
    """Live tasks as the leading master knows them: id to state."""
    leader = stage.mesos.leader()
    assert leader is not None
    listed = ask(leader, "GET_TASKS")["get_tasks"].get("tasks", [])
    return {task["task_id"]["value"]: task["state"] for task in listed}


def framework_id(stage: Stage) -> str:
    kept = stage.kube.object("configmap", "km-framework", "kube-system")
    return kept["data"]["framework-id"] if kept else ""


def one_agent(stage: Stage) -> Km:
    """km with one agent that is a Ready node."""
    master = stage.mesos.start_master()
    stage.mesos.start_agent(master=master, attributes="rack:r1")
    stage.mesos.wait_for_agents(1)
    km = stage.km(master)
    km.wait_ready()
    km.wait(lambda: any(t.startswith("node.agent-1.") for t in tasks(stage)))
    stage.nodes_of_mesos("agent-1")
    return km


def test_pods_become_bound_and_each_has_a_running_task(stage: Stage) -> None:
    km = one_agent(stage)
    for number in range(10):
        stage.pod(f"p{number}")
    km.wait(lambda: len(stage.bound()) == 10)

    assert set(stage.bound().values()) == {"agent-1"}
    assert sum(task.startswith("pod.") for task in tasks(stage)) == 10
    assert set(tasks(stage).values()) == {"TASK_RUNNING"}

    stage.kube.kubectl("delete", "pod", "p0", "--grace-period=0", "--force")
    km.wait(lambda: sum(task.startswith("pod.") for task in tasks(stage)) == 9)


def test_a_restarted_km_keeps_its_framework_and_every_task(stage: Stage) -> None:
    km = one_agent(stage)
    stage.pod("before")
    km.wait(lambda: "before" in stage.bound())
    kept, running = framework_id(stage), tasks(stage)
    km.stop(signal.SIGKILL)
    stage.pod("between")
    again = stage.km(km.master)
    again.wait_ready()
    again.wait(lambda: "between" in stage.bound())

    assert framework_id(stage) == kept
    assert running.items() <= tasks(stage).items()


def test_a_stopped_km_hands_over_at_once_and_the_standby_leads(stage: Stage) -> None:
    first = one_agent(stage)
    second = stage.km(first.master, "standby")
    second.wait(lambda: second.status().get("leader"))
    assert second.status()["leading"] is False
    assert second.get("/readyz") == (200, "ok\n")
    kept = framework_id(stage)

    began = time.monotonic()
    assert first.stop() == 0
    second.wait_ready()
    assert time.monotonic() - began < 10, "a released lease need not run out"
    stage.pod("after")
    second.wait(lambda: "after" in stage.bound())
    assert framework_id(stage) == kept


def test_a_killed_leader_is_followed_within_twenty_seconds(stage: Stage) -> None:
    first = one_agent(stage)
    stage.pod("before")
    first.wait(lambda: "before" in stage.bound())
    running = tasks(stage)
    second = stage.km(first.master, "standby")
    second.wait(lambda: second.status().get("leader"))

    first.stop(signal.SIGKILL)
    began = time.monotonic()
    second.wait_ready()
    assert time.monotonic() - began < 20
    assert running.items() <= tasks(stage).items()
    stage.pod("after")
    second.wait(lambda: "after" in stage.bound())


def test_pods_and_tasks_outlive_a_failover_of_the_masters(stage: Stage, zookeeper: str) -> None:
    for name in ("master-1", "master-2"):
        stage.mesos.start_master(name, zk=zookeeper)
    stage.mesos.start_agent(master=zookeeper)
    stage.mesos.wait_for_agents(1, 40)
    km = stage.km(zookeeper)
    km.wait_ready()
    km.wait(lambda: any(t.startswith("node.agent-1.") for t in tasks(stage)))
    stage.nodes_of_mesos("agent-1")
    stage.pod("before")
    km.wait(lambda: "before" in stage.bound())
    running, old = tasks(stage), stage.mesos.leader()

    (leader,) = (m for m in stage.mesos.masters.values() if m.address == old)
    leader.stop()
    km.wait(lambda: km.status()["mesos"]["master"] not in (old, None), 40)
    stage.mesos.wait_for_agents(1, 40)
    stage.pod("after")
    km.wait(lambda: "after" in stage.bound())
    km.wait(lambda: running.keys() <= tasks(stage).keys())
    assert set(tasks(stage).values()) == {"TASK_RUNNING"}


def test_a_restarted_agent_keeps_its_node_and_its_pods(stage: Stage) -> None:
    km = one_agent(stage)
    stage.pod("before")
    km.wait(lambda: "before" in stage.bound())
    running, executors = tasks(stage), stage.mesos.executors()
    agent = stage.mesos.agents["agent-1"]
    agent.stop(signal.SIGKILL)
    agent.start()
    stage.mesos.wait_for_agents(1)
    stage.pod("after")
    km.wait(lambda: "after" in stage.bound())

    assert running.items() <= tasks(stage).items()
    assert stage.mesos.executors() == executors
    assert stage.kube.object("pod", "before") is not None


def test_a_dead_executor_takes_its_node_and_pods_along(stage: Stage) -> None:
    km = one_agent(stage)
    stage.pod("doomed")
    km.wait(lambda: "doomed" in stage.bound())
    (node,) = (task for task in tasks(stage) if task.startswith("node."))
    for pid in stage.mesos.executors():
        os.kill(pid, signal.SIGKILL)
    km.wait(lambda: stage.kube.object("pod", "doomed") is None)
    # Every agent is a node: it is started again, as a new task.
    km.wait(lambda: [t for t in tasks(stage) if t.startswith("node.") and t != node])


def test_a_pod_that_fits_nowhere_waits_with_a_reason_for_people(stage: Stage) -> None:
    km = one_agent(stage)
    stage.pod("huge", cpu="3950m")
    km.wait(lambda: km.status()["pending"] and "cpus" in km.status()["pending"][0]["reason"])
    assert "huge" not in stage.bound()

    status = km.status()
    assert status["pending"][0]["pod"] == "default/huge"
    assert [node["name"] for node in status["nodes"]] == ["agent-1"]
    assert "km_leader 1.0" in km.get("/metrics")[1]


def test_kube_scheduler_is_started_again_when_it_dies(stage: Stage) -> None:
    km = one_agent(stage)
    assert km.process is not None

    children = Path(f"/proc/{km.process.pid}/task/{km.process.pid}/children")
    (child,) = map(int, children.read_text().split())
    os.kill(child, signal.SIGKILL)
    stage.pod("after")
    km.wait(lambda: "after" in stage.bound())


def test_wrong_api_server_rights_stop_km_with_a_reason(stage: Stage) -> None:
    master = stage.mesos.start_master()
    kubeconfig = stage.kube.kubeconfig_of("nobody")
    km = stage.km(master, kubeconfig=str(kubeconfig))
    km.wait(lambda: "cannot look at the lease" in km.tail())
    assert json.loads(km.get("/status.json")[1])["leading"] is False
    assert km.get("/readyz")[0] == 503
