"""Agents that the master loses sight of, and agents that are gone: on a real Mesos."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from km.objects import AGENT_UNREACHABLE
from tests.km.km_process import Km, Stage
from tests.km.test_scheduler_on_real_mesos import one_agent, tasks
from tests.mesos_cluster import ask


def with_pods(stage: Stage) -> Km:
    """A node with two pods."""
    km = one_agent(stage)
    for name in ("one", "two"):
        stage.pod(name)
    km.wait(lambda: len(stage.bound()) == 2)
    return km


def uids(stage: Stage) -> dict[str, str]:
    """The pods that are there and not being deleted."""
    found: dict[str, str] = {}
    for name in ("one", "two"):
        metadata = (stage.kube.object("pod", name) or {}).get("metadata", {})
        if metadata and "deletionTimestamp" not in metadata:
            found[name] = metadata["uid"]
    return found


def tainted(stage: Stage) -> bool:
    node = stage.kube.object("node", "agent-1")
    assert node is not None
    return AGENT_UNREACHABLE.key in {taint["key"] for taint in node["spec"].get("taints", [])}


def state_of(km: Km) -> Any:
    return next((node["state"] for node in km.status().get("nodes", [])), None)


def fall_silent(stage: Stage, km: Km) -> None:
    """Stop the agent, and wait until the master has lost sight of it and km has said so."""
    process = stage.mesos.agents["agent-1"].process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    km.wait(lambda: tainted(stage))


def test_an_agent_that_comes_back_keeps_its_pods_and_loses_its_taint(stage: Stage) -> None:
    km = with_pods(stage)
    pods, running = uids(stage), tasks(stage)
    fall_silent(stage, km)

    assert state_of(km) == "unreachable"
    assert uids(stage) == pods
    assert len(stage.mesos.executors()) == 1
    stage.pod("meanwhile")
    km.wait(lambda: [p for p in km.status()["pending"] if p["pod"] == "default/meanwhile"])

    process = stage.mesos.agents["agent-1"].process
    assert process is not None
    process.send_signal(signal.SIGCONT)
    km.wait(lambda: not tainted(stage) and state_of(km) == "ready")
    km.wait(lambda: "meanwhile" in stage.bound())
    assert uids(stage) == pods
    assert running.items() <= tasks(stage).items()


@pytest.mark.parametrize("silent", [False, True], ids=["reachable", "unreachable"])
def test_an_agent_that_an_operator_calls_gone_costs_its_pods_at_once(
    stage: Stage, silent: bool
) -> None:
    km = with_pods(stage)
    (agent,) = stage.mesos.wait_for_agents(1)
    if silent:
        fall_silent(stage, km)
    ask(km.master, "MARK_AGENT_GONE", mark_agent_gone={"agent_id": agent["agent_info"]["id"]})
    km.wait(lambda: stage.kube.object("node", "agent-1") is None, 5)
    km.wait(lambda: not uids(stage), 5)

    # Another agent is a node, and takes what replaces the pods.
    stage.mesos.agents["agent-1"].stop()
    stage.mesos.start_agent("agent-2", master=km.master)
    km.wait(lambda: any(task.startswith("node.agent-2.") for task in tasks(stage)))
    stage.nodes_of_mesos("agent-2")
    stage.pod("after")
    km.wait(lambda: stage.bound().get("after") == "agent-2")
