"""On demand: why no node is started for a pod, in words, and told once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from km import actions as do
from km import events as on
from km import explaining
from km.offers import MesosState
from km.pods import Pod, Shape
from km.resources import Resources
from km.rules import EVERY_AGENT, Rules
from tests.km.core.stage import Stage, demand, of, offer, one_node, pod

NO_NODES = "no nodes available to schedule pods"


def waiting(given: Pod, stage: Stage | None = None) -> Stage:
    """A pod that kube-scheduler has no node for; both agents are offered, and given back."""
    stage = stage or demand()
    stage.tell(on.PodSeen(pod=replace(given, unschedulable=NO_NODES)))
    stage.offers(offer("1", "a"), offer("2", "b"))
    stage.wait(1)
    return stage


def told(stage: Stage, seconds: float) -> list[Any]:
    return [e for e in of(stage.wait(seconds), do.RecordEvent) if e.event == "NoNodeStarted"]


def why(stage: Stage) -> str:
    (entry,) = stage.core.view()["pods"]
    return entry["reason"]


def test_a_pod_too_large_for_every_agent_is_told_so() -> None:
    stage = waiting(pod("huge", cpus=64))

    words = (
        "0/2 agents: a is too small: it has 3.89 of 64 cpus for pods;"
        " b is too small: it has 3.89 of 64 cpus for pods"
    )
    assert why(stage) == f"{NO_NODES}; no node is started: {words}"
    (event,) = told(stage, 60)
    assert (event.kind, event.name, event.reason, event.warning) == ("Pod", "huge", words, True)


def listed(stage: Stage, a: dict, b: dict) -> None:
    """GET_STATE says other things about the agents."""
    agents = tuple(
        replace(record, **change) for record, change in zip(stage.agents, (a, b), strict=True)
    )
    state = MesosState(agents=agents, tasks=(), executors=())
    stage.tell(on.MesosListed(state=state, asked_at=stage.now + 1))


def obstacle(given: Pod, stage: Stage) -> str:
    return explaining.reason(stage.core.world, given.shape)


SPARK = {"others": {"spark": Resources.of(cpus=3.5)}}


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (SPARK, {}, "a offers 0.39 of 2 cpus, held by spark; b has room and is not offered"),
        ({"draining": True}, SPARK, "a is being drained by Mesos; b offers 0.39 of 2 cpus, held"),
        (SPARK, {"active": False}, "a offers 0.39 of 2 cpus, held by spark; b is disconnected"),
    ],
)
def test_each_agent_has_its_own_reason(a, b, words) -> None:
    stage = demand()
    listed(stage, a, b)

    assert obstacle(pod("p", cpus=2), stage).startswith(f"0/2 agents: {words}")


def test_agents_that_are_wanted_back_say_so() -> None:
    stage = demand()
    stage.offers(offer("m", "b", unavailability={"start": {"nanoseconds": 1}}))

    assert "b is wanted back: maintenance is planned" in obstacle(pod("p"), stage)


def test_nodes_that_are_there_are_among_the_reasons() -> None:
    stage = one_node()

    assert "a offers 3 of 3.5 cpus" in obstacle(pod("p", cpus=3.5), stage)
    assert "a has room, and kube-scheduler does not take it" in obstacle(pod("p"), stage)
    stage.ready("a", unschedulable=True)
    assert "a is cordoned" in obstacle(pod("p"), stage)


def test_agents_that_the_pod_may_not_use_are_only_counted() -> None:
    stage = demand(agent_labels={"b": {"tier": "db"}})
    shape = Shape(need=Resources.of(cpus=64), selector=(("tier", "db"),))

    assert obstacle(pod("p", shape=shape), stage) == (
        "0/2 agents: b is too small: it has 3.89 of 64 cpus for pods;"
        " 1 do not suit its selector, affinity or tolerations"
    )


def test_without_agents_that_is_the_reason() -> None:
    stage = Stage(Rules(), agents=())
    stage.sync()

    assert obstacle(pod("p"), stage) == "Mesos has no agents"


def test_of_many_agents_those_with_most_room_are_told_of() -> None:
    stage = Stage(Rules(), agents=tuple("abcdef"))
    stage.sync(
        agents=tuple(
            replace(record, total=Resources.of(cpus=number, mem=4000))
            for number, record in enumerate(stage.agents, start=1)
        )
    )

    words = obstacle(pod("p", cpus=64), stage)

    assert words.startswith("0/6 agents: d is too small")
    assert words.endswith("; and 3 more")


# Told, and how often


def test_a_pod_is_told_once_and_again_only_of_another_reason() -> None:
    stage = waiting(pod("huge", cpus=64))
    assert not told(stage, 8), "a node may be on its way"
    assert len(told(stage, 5)) == 1
    for number in range(20):
        stage.offers(offer(f"a{number}", "a", cpus=3 + number / 100))
        assert not told(stage, 60), "only numbers are others"

    listed(stage, {"draining": True}, {})
    stage.core.world.plan_soon()
    (again,) = told(stage, 60)
    assert "a is being drained by Mesos" in again.reason


def test_a_pod_that_gets_its_node_is_not_told_anything() -> None:
    stage = demand()
    stage.tell(on.PodSeen(pod=pod("p", unschedulable=NO_NODES)))
    stage.wait(5)
    stage.offers(offer("1", "a"))

    assert not told(stage, 100)
    assert why(stage) == NO_NODES


def test_pods_of_daemon_sets_are_not_told() -> None:
    stage = waiting(replace(pod("d", cpus=64), daemon=True))

    assert not told(stage, 60)


def test_many_pods_are_told_one_after_another() -> None:
    stage = demand()
    for number in range(120):
        stage.tell(on.PodSeen(pod=pod(f"p{number}", cpus=64, unschedulable=NO_NODES)))
    told_at: dict[float, int] = {}
    for _ in range(600):
        told_at[stage.now] = len(told(stage, 0.1))

    assert sum(told_at.values()) == 120
    assert max(told_at.values()) == explaining.AT_ONCE


def test_what_was_told_is_forgotten_with_the_pod() -> None:
    stage = waiting(pod("huge", cpus=64))
    assert told(stage, 20)
    stage.tell(on.PodGone(uid="huge"))

    assert stage.core.world.told == {}


# Agents and nodes


def whys(stage: Stage) -> dict[str, str]:
    return {entry["name"]: entry["why"] for entry in stage.core.view()["nodes"]}


def test_an_agent_without_a_node_says_why() -> None:
    stage = one_node()
    assert whys(stage) == {"a": "", "b": "no pod needs a node here"}

    listed(stage, {}, {"draining": True})
    assert whys(stage)["b"] == "b is being drained by Mesos"
    every = Stage(Rules(nodes=EVERY_AGENT))
    every.sync()
    assert "awaited" in whys(every)["a"]


def test_an_operators_cordon_is_shown() -> None:
    stage = one_node()
    stage.ready("a", unschedulable=True)
    assert whys(stage)["a"] == "an operator cordoned it"

    stage.ready("a")
    assert whys(stage)["a"] == ""


def test_the_start_of_a_node_is_told_on_it_and_only_the_first_time_it_is_ready() -> None:
    stage = one_node()
    told = [e for e in of(stage.done, do.RecordEvent) if e.kind == "Node"]
    assert [(e.event, e.name) for e in told] == [("NodeStarting", "a"), ("NodeReady", "a")]
    assert told[0].uid == "a"
    assert "1 pod" in told[0].reason

    stage.task("node.a.1001", "TASK_UNREACHABLE")
    stage.task("node.a.1001", "TASK_RUNNING")
    assert [e.event for e in of(stage.done, do.RecordEvent)][-1] == "AgentUnreachable"
