"""No pod waits for ever beside an agent that could take it, on demand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from km import actions as do
from km import events as on
from km.offers import MesosState
from km.resources import Resources
from km.rules import ON_DEMAND, Rules
from tests.km.core.stage import Stage, ask, demand, launched, of, offer, one_node, pod

LARGE = pod("p", cpus=2.5)
"""Fits on the one node that there is while nobody else takes room there."""


def refusals(actions: list) -> set[float]:
    return {decline.refuse_seconds for decline in of(actions, do.Decline)}


def taken(stage: Stage, cpus: float) -> None:
    """GET_STATE says that another framework holds so much of the node's agent."""
    held = {"spark": Resources.of(cpus=cpus)}
    agents = tuple(
        replace(record, others=held if record.hostname == "a" else {}) for record in stage.agents
    )
    state = MesosState(agents=agents, tasks=(), executors=())
    stage.tell(on.MesosListed(state=state, asked_at=stage.now + 1))


def on_its_way() -> Stage:
    """The pod is launched on the node; all other offers were given back."""
    stage = one_node()
    stage.tell(on.PodSeen(pod=LARGE))
    stage.offers(offer("2", "a", cpus=2.8), offer("3", "b"))
    stage.wait(0.3)
    stage.bind(LARGE, "a", 5)
    return stage


@pytest.mark.parametrize("state", ["TASK_DROPPED", "TASK_ERROR"])
def test_a_launch_that_failed_gets_another_node(state) -> None:
    stage = on_its_way()
    (task_id,) = launched(stage.wait(0.02))
    assert not stage.core.world.suppressed

    assert of(stage.task(task_id, state), do.Revive)
    taken(stage, 2.8)
    started = launched(stage.offers(offer("4", "b")) + stage.wait(1))

    assert [task.split(".")[:2] for task in started] == [["node", "b"]]


def test_what_is_not_needed_is_refused_for_a_short_time_while_a_bind_may_fail() -> None:
    stage = on_its_way()
    actions = stage.wait(0.02) + stage.offers(offer("4", "b"))

    assert refusals(actions) == {stage.core.world.rules.refuse_unfitting}
    assert not of(actions + stage.wait(5), do.Suppress)


def test_a_bind_that_got_no_offer_gets_another_node() -> None:
    stage = one_node()
    stage.tell(on.PodSeen(pod=LARGE))
    declined = stage.offers(offer("3", "b")) + stage.wait(0.3)
    assert refusals(declined) == {5}, "the node seems to have room"
    stage.bind(LARGE, "a", 5)

    assert of(stage.wait(11), do.Revive)
    assert launched(stage.offers(offer("4", "b")) + stage.wait(1))[0].startswith("node.b.")


def test_a_binding_that_nobody_answered_leaves_the_pod_among_those_that_want_offers() -> None:
    stage = on_its_way()
    (task_id,) = launched(stage.wait(0.02))
    stage.task(task_id)

    assert of(stage.wait(11), do.Revive)


def test_a_pod_that_kube_scheduler_refuses_for_its_own_reasons_gets_another_node() -> None:
    stage = one_node()
    stage.tell(on.PodSeen(pod=pod("p")))
    assert refusals(stage.offers(offer("2", "a", cpus=2.8), offer("3", "b")) + stage.wait(1)) == {5}
    stage.tell(on.PodSeen(pod=pod("p", unschedulable="0/1 nodes: affinity")))
    stage.wait(6)

    assert launched(stage.offers(offer("4", "b")) + stage.wait(1))[0].startswith("node.b.")


def starts(stage: Stage, seconds: int, hosts: str) -> list[tuple[float, str]]:
    """When nodes are started, all agents being offered all the time; each is Ready at once."""
    found = []
    for number in range(seconds):
        idle = [host for host in hosts if host not in stage.core.world.runs]
        for task_id in launched(
            stage.offers(*(offer(f"{host}{number}", host) for host in idle)) + stage.wait(1)
        ):
            host = task_id.split(".")[1]
            found.append((stage.now, host))
            stage.task(task_id, host=host)
            stage.ready(host)
    return found


def refused_everywhere(hosts: str) -> Stage:
    stage = Stage(Rules(nodes=ON_DEMAND), agents=tuple(hosts))
    stage.sync()
    stage.tell(on.PodSeen(pod=pod("p", unschedulable="0/1 nodes: volume node affinity conflict")))
    return stage


def test_for_a_pod_that_is_refused_everywhere_every_agent_is_tried_before_any_again() -> None:
    stage = refused_everywhere("abcde")

    assert sorted(host for _, host in starts(stage, 200, "abcde")) == list("abcde")


def test_for_a_pod_that_is_refused_everywhere_nodes_are_started_less_and_less_often() -> None:
    hosts = "abcdefghijklmnop"
    times = [at for at, _ in starts(refused_everywhere(hosts), 600, hosts)]
    gaps = [round(later - earlier) for earlier, later in pairwise(times)]

    assert gaps == sorted(gaps)
    assert gaps[0] < 10
    assert 60 <= gaps[-1] < 70


def test_others_have_their_turn_while_a_pod_waits_for_what_no_agent_has() -> None:
    """Offers are refused for a short time and asked for once, not again and again."""
    stage = one_node()
    actions = stage.tell(on.PodSeen(pod=pod("p", cpus=64, unschedulable="0/1 nodes")))
    for number in range(20):
        actions += stage.offers(offer(f"b{number}", "b")) + stage.wait(5)
        assert not stage.core.world.ledger.offers

    assert len(of(actions, do.Revive)) == 1


def test_when_the_last_bind_is_done_offers_are_suppressed() -> None:
    stage = on_its_way()
    (task_id,) = launched(stage.wait(0.02))
    stage.task(task_id)

    assert of(stage.tell(on.PodBound(uid="p")) + stage.wait(1), do.Suppress)


# Pods that are not there


def ghost(stage: Stage) -> int:
    """How many pods wait once kube-scheduler has asked about one whose end we were told."""
    stage.tell(on.PodSeen(pod=pod("gone")))
    stage.tell(on.PodGone(uid="gone"))
    assert ask(stage, pod("gone"), "x").nodes == ()
    return stage.core.totals()["pods_waiting"]


def test_a_pod_whose_end_was_told_does_not_wait_because_kube_scheduler_still_asks() -> None:
    stage = demand()

    assert ghost(stage) == 0
    assert not launched(stage.offers(offer("1", "a")) + stage.wait(1))
    assert stage.core.world.suppressed
    assert stage.core.world.rejected == {}


def test_a_pod_that_only_kube_scheduler_has_told_of_waits_until_our_watch_must_have_told() -> None:
    stage = demand()
    ask(stage, pod("unseen"))
    stage.wait(59)
    assert stage.core.totals()["pods_waiting"] == 1

    stage.wait(2)
    assert stage.core.totals()["pods_waiting"] == 0


def test_a_pod_that_our_watch_tells_of_later_stays() -> None:
    stage = demand()
    ask(stage, pod("seen"))
    stage.tell(on.PodSeen(pod=pod("seen")))
    stage.wait(300)

    assert stage.core.totals()["pods_waiting"] == 1
