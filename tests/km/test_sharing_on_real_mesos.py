"""Kubernetes and a framework that is not ours on the same agents of a real Mesos."""

from __future__ import annotations

import random

from components.operator_api import Operator
from tests.km.batch import Batch
from tests.km.km_process import Stage
from tests.km.overseer import Overseer, excesses
from tests.km.shared_mesos import scale_down, scale_up, tasks_of, time_to_flow_back, two_nodes

JOBS = 300
ROUNDS = 4
PODS = 10
FLOW_BACK_S = 5.0


def test_an_agent_with_more_in_use_than_it_has_is_noticed() -> None:
    def cpus(value: float) -> list[dict[str, object]]:
        return [{"name": "cpus", "type": "SCALAR", "scalar": {"value": value}}]

    number = {"value": "S0"}
    agent = {
        "agent_info": {"id": number, "hostname": "agent-1"},
        "total_resources": cpus(2),
        "allocated_resources": cpus(2.5),
    }
    task = {"agent_id": number, "resources": cpus(1.5), "state": "TASK_RUNNING"}
    executor = {"agent_id": number, "executor_info": {"resources": cpus(0.6)}}
    over = {**task, "state": "TASK_FINISHED"}
    state = {
        "get_agents": {"agents": [agent]},
        "get_tasks": {"tasks": [task, over]},
        "get_executors": {"executors": [executor]},
    }

    assert excesses(state) == [
        "agent-1: used 2.1 of 2 cpus",
        "agent-1: allocated 2.5 of 2 cpus",
    ]


def test_hundreds_of_jobs_and_scaling_pods_share_agents_exactly(stage: Stage) -> None:
    km = two_nodes(stage)
    seconds = random.Random(4)
    jobs = [seconds.uniform(0.3, 1.2) for _ in range(JOBS)]
    batch = Batch(km.master, role="batch", jobs=jobs)

    with Overseer(km.master).watching() as overseer, batch.at_work():
        assert Operator([km.master]).unregistered("batch", "batch") == ""
        for number in range(ROUNDS):
            scale_up(stage, f"wave{number}", PODS)
            km.wait(lambda: len(stage.bound()) == PODS, 30)
            scale_down(stage)
            km.wait(lambda: not tasks_of(km.master, "pod."), 30)
        km.wait(lambda: len(batch.finished) == JOBS, 45)

    assert overseer.found == []
    assert overseer.looks > 20
    assert overseer.together > 5, "jobs and pods must have run at the same time"
    assert batch.lost == 0


def test_what_pods_give_back_reaches_a_waiting_framework_within_five_seconds(stage: Stage) -> None:
    km = two_nodes(stage)
    taken = time_to_flow_back(stage, km)

    print(f"90 % of idle resources given to a waiting framework after {taken:.2f} s")
    assert taken < FLOW_BACK_S


def test_pods_use_offers_of_several_roles_and_no_role_exceeds_its_limit(stage: Stage) -> None:
    master = stage.mesos.start_master()
    stage.mesos.start_agent(master=master)
    stage.mesos.wait_for_agents(1)
    limited = {"weight": 1.0, "guarantees": {}, "limits": {"cpus": 2.0}}
    Operator([master]).set_shares({"kubernetes": limited})
    km = stage.km(master, framework_roles="kubernetes,burst")
    km.wait_ready()
    km.wait(lambda: tasks_of(master, "node."))
    stage.nodes_of_mesos("agent-1")

    with Overseer(master).watching() as overseer:
        scale_up(stage, "two", 7, "500m")
        km.wait(lambda: len(stage.bound()) == 7)

    by_role: dict[str, float] = {}
    for task in tasks_of(master, ""):
        for one in task["resources"]:
            if one["name"] == "cpus":
                role = one["allocation_info"]["role"]
                by_role[role] = by_role.get(role, 0) + one["scalar"]["value"]
    assert by_role.keys() == {"kubernetes", "burst"}
    assert by_role["kubernetes"] <= 2
    assert overseer.found == []
