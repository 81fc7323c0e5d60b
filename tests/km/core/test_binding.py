"""How pods get their tasks, and how both end."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from km import actions as do
from km import events as on
from tests.km.core.stage import launched, of, offer, pod

# Binding


def test_binds_of_one_agent_leave_in_one_accept(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p")))
    stage.offers(offer("o", "a"))
    actions = stage.bind(pod("p"), "a", 1) + stage.bind(pod("q"), "a", 2) + stage.wait(0.02)

    (accept,) = of(actions, do.Accept)
    assert len(accept.task_infos) == 2
    assert accept.refuse_seconds == 0


def test_a_pods_task_says_what_the_minion_needs(stage) -> None:
    stage.bind(pod("p"), "a")
    (accept,) = of(stage.offers(offer("o", "a")) + stage.wait(0.02), do.Accept)
    (info,) = accept.task_infos
    node = stage.core.world.ledger.agents["S-a"].executor_info

    assert info["executor"] is node
    assert info["name"] == "default/p"
    assert info["limits"] == {"cpus": {"value": "Infinity"}, "mem": {"value": "Infinity"}}
    assert json.loads(base64.b64decode(info["data"])) == {
        "kind": "pod",
        "uid": "p",
        "namespace": "default",
        "name": "p",
        "resources": {"cpus": 1.0, "mem": 100.0},
        "limits": {"mem": None},
    }


def test_a_pod_is_bound_when_its_task_runs_and_answered_when_it_is_bound(stage) -> None:
    stage.bind(pod("p"), "a", 7)
    task_id = launched(stage.offers(offer("o", "a")) + stage.wait(0.02))[0]

    (bind,) = of(stage.task(task_id), do.BindPod)
    assert (bind.uid, bind.node) == ("p", "a")
    (answer,) = of(stage.tell(on.PodBound(uid="p")), do.AnswerBind)
    assert (answer.request_id, answer.error) == (7, "")


def test_a_bind_that_can_not_fit_is_refused_at_once(stage) -> None:
    (answer,) = of(stage.bind(pod("p", cpus=3.95), "a"), do.AnswerBind)

    assert "of 3.95 cpus" in answer.error


def test_a_bind_without_an_offer_goes_back_to_the_queue_in_time(stage) -> None:
    stage.bind(pod("p"), "a")

    (answer,) = of(stage.wait(11), do.AnswerBind)

    assert "no offer of a came within 10 s" in answer.error
    assert stage.core.totals()["pods_waiting"] == 1


def test_a_rescinded_offer_makes_the_bind_wait_for_the_next(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p")))
    stage.offers(offer("o", "a"))
    stage.bind(pod("p"), "a")
    stage.tell(on.OfferRescinded(offer_id="o"))
    assert not launched(stage.wait(0.05))

    assert launched(stage.offers(offer("o2", "a")) + stage.wait(0.02))


def test_a_failed_accept_sends_the_pods_back(stage) -> None:
    stage.bind(pod("p"), "a")
    (accept,) = of(stage.offers(offer("o", "a")) + stage.wait(0.02), do.Accept)

    (answer,) = of(stage.tell(on.CallFailed(action=accept, message="503")), do.AnswerBind)

    assert "503" in answer.error
    assert stage.core.world.ledger.agents["S-a"].free.cpus > 3800


def test_a_task_that_ends_before_it_runs_sends_the_pod_back(stage) -> None:
    stage.bind(pod("p"), "a")
    task_id = launched(stage.offers(offer("o", "a")) + stage.wait(0.02))[0]

    (answer,) = of(stage.task(task_id, "TASK_DROPPED"), do.AnswerBind)

    assert "TASK_DROPPED" in answer.error


def test_a_refused_binding_ends_the_task(stage) -> None:
    stage.bind(pod("p"), "a")
    task_id = launched(stage.offers(offer("o", "a")) + stage.wait(0.02))[0]
    (bind,) = of(stage.task(task_id), do.BindPod)

    actions = stage.tell(on.CallFailed(action=bind, message="gone", code=404))

    assert of(actions, do.KillTask)[0].task_id == task_id
    assert of(actions, do.AnswerBind)[0].error


def test_a_binding_that_nobody_answered_is_asked_again(stage) -> None:
    stage.bind(pod("p"), "a")
    task_id = launched(stage.offers(offer("o", "a")) + stage.wait(0.02))[0]
    (bind,) = of(stage.task(task_id), do.BindPod)
    stage.tell(on.CallFailed(action=bind, message="timed out"))

    assert of(stage.wait(2), do.BindPod)


def test_a_pod_deleted_on_its_way_is_not_bound(stage) -> None:
    stage.bind(pod("p"), "a")
    task_id = launched(stage.offers(offer("o", "a")) + stage.wait(0.02))[0]

    actions = stage.tell(on.PodGone(uid="p")) + stage.task(task_id)

    assert of(actions, do.KillTask)
    assert not of(actions, do.BindPod)


def test_a_pod_that_ends_before_the_answer_to_its_binding_is_not_deleted(stage) -> None:
    stage.bind(pod("p"), "a", 7)
    task_id = launched(stage.offers(offer("o", "a")) + stage.wait(0.02))[0]
    stage.task(task_id)

    actions = stage.tell(on.PodSeen(pod=replace(pod("p"), node="a", phase="Succeeded")))

    assert [answer.error for answer in of(actions, do.AnswerBind)] == [""]
    assert of(actions, do.KillTask)[0].task_id == task_id
    assert not of(actions, do.DeletePod)


# Ends


@pytest.mark.parametrize("end", ["gone", "Succeeded", "Failed"])
def test_a_pod_that_ends_ends_its_task(stage, end) -> None:
    task_id = stage.run_pod(pod("p"), "a")
    over = (
        on.PodGone(uid="p")
        if end == "gone"
        else on.PodSeen(pod=replace(pod("p"), node="a", phase=end))
    )

    (kill,) = of(stage.tell(over), do.KillTask)

    assert kill.task_id == task_id


def test_a_kill_is_repeated_until_mesos_confirms(stage) -> None:
    task_id = stage.run_pod(pod("p"), "a")
    stage.tell(on.PodGone(uid="p"))
    assert of(stage.wait(6), do.KillTask)
    stage.task(task_id, "TASK_KILLED")

    assert not of(stage.wait(60), do.KillTask)


def test_a_task_that_mesos_lost_costs_its_pod(stage) -> None:
    task_id = stage.run_pod(pod("p"), "a")

    (delete,) = of(stage.task(task_id, "TASK_LOST"), do.DeletePod)

    assert (delete.uid, delete.grace_seconds) == ("p", None)
