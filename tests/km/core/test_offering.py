"""What the core does with offers, and what it answers kube-scheduler."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from km import actions as do
from km import events as on
from km.offers import MesosState
from km.resources import Resources
from km.rules import EVERY_AGENT, ON_DEMAND, Rules
from tests.km.core.stage import Stage, ask, demand, launched, of, offer, pod

# Offers


def test_nothing_is_decided_before_all_books_are_open() -> None:
    stage = Stage()
    stage.tell(on.Subscribed(framework_id="F"))

    actions = stage.offers(offer("o", "a")) + stage.wait(1)

    assert not of(actions, (do.Accept, do.Decline))


def test_when_nothing_waits_offers_are_suppressed(stage) -> None:
    assert stage.core.world.suppressed


def test_an_offer_that_nothing_needs_goes_back_for_long(stage) -> None:
    (decline,) = of(stage.offers(offer("o", "a")), do.Decline)

    assert (decline.offer_ids, decline.reason) == (("o",), "nothing waits")
    assert decline.refuse_seconds > 600


def test_a_pod_that_comes_makes_the_master_offer_again(stage) -> None:
    assert of(stage.tell(on.PodSeen(pod=pod("p"))), do.Revive)


def test_offers_that_fit_no_waiting_pod_go_back_for_a_short_time(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p", cpus=3)))

    (decline,) = of(stage.offers(offer("o", "a", cpus=1)), do.Decline)

    assert decline.refuse_seconds == 5
    assert "too little" in decline.reason


def test_an_offer_is_never_held_past_its_time(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p")))
    assert not of(stage.offers(offer("o", "a")), do.Decline)

    assert of(stage.wait(5), do.Decline)[0].offer_ids == ("o",)


def unschedulable(stage: Stage, **more: Any) -> None:
    """A pod that kube-scheduler finds no place for, told so long ago that km believes it."""
    never = pod("never", unschedulable="claim data is not bound", **more)
    stage.tell(on.PodSeen(pod=never))
    stage.wait(stage.core.world.rules.hold_seconds)


def test_nothing_is_held_for_a_pod_that_waits_for_something_else_than_room(stage) -> None:
    unschedulable(stage)
    (decline,) = of(stage.offers(offer("o", "a"), offer("p", "b")), do.Decline)

    assert set(decline.offer_ids) == {"o", "p"}
    assert decline.reason.startswith("kube-scheduler finds no place")
    assert not of(stage.wait(60), do.Revive), "nor are offers asked for again and again"


def test_what_is_held_for_another_pod_is_held_all_the_same(stage) -> None:
    unschedulable(stage)
    stage.tell(on.PodSeen(pod=pod("p")))

    assert not of(stage.offers(offer("o", "a")), do.Decline)


def test_a_pod_that_km_had_no_room_for_goes_on_waiting_for_it(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p", cpus=3)))
    stage.offers(offer("small", "a", cpus=1))
    assert not ask(stage, pod("p", cpus=3), "a").nodes
    stage.tell(on.PodSeen(pod=pod("p", cpus=3, unschedulable="0/1: too full")))
    stage.wait(60)

    assert not of(stage.offers(offer("large", "a")), do.Decline)


def test_a_pod_that_found_its_place_after_all_gets_offers_at_once(stage) -> None:
    unschedulable(stage)
    stage.offers(offer("o", "a"))

    assert of(stage.bind(pod("never"), "a"), do.Revive)
    assert of(stage.offers(offer("p", "a")) + stage.wait(0.02), do.Accept)


def test_nodes_are_still_started_for_a_pod_that_those_there_are_refused_for() -> None:
    stage = Stage(Rules(nodes=ON_DEMAND))
    stage.sync()
    unschedulable(stage)

    assert of(stage.offers(offer("o", "a")) + stage.wait(0.2), do.Accept)


def test_no_more_is_held_than_a_few_times_what_waits() -> None:
    stage = Stage(Rules(nodes=EVERY_AGENT, hold_least=1, hold_factor=1), agents=("a", "b", "c"))
    stage.up("a", "b", "c")
    stage.tell(on.PodSeen(pod=pod("p", cpus=1)))

    actions = stage.offers(offer("1", "a"), offer("2", "b"), offer("3", "c"))

    (decline,) = of(actions, do.Decline)
    assert set(decline.offer_ids) == {"2", "3"}


def test_revives_are_not_more_frequent_than_the_master_can_bear(stage) -> None:
    actions = []
    for number in range(50):
        actions += stage.tell(on.PodSeen(pod=pod(f"p{number}")), 0.001)

    assert len(of(actions, do.Revive)) == 1


# kube-scheduler's questions


def test_filter_answers_from_what_is_expected_to_be_free(stage) -> None:
    assert ask(stage, pod("p"), "a", "b").nodes == ("a", "b")


def test_filter_says_who_has_what_the_pod_lacks(stage) -> None:
    agents = tuple(
        replace(record, others={"spark": Resources.of(cpus=3.39)} if record.id == "S-b" else {})
        for record in stage.agents
    )
    state = MesosState(agents=agents, tasks=(), executors=())
    stage.tell(on.MesosListed(state=state, asked_at=stage.now + 1))

    answer = ask(stage, pod("p"), "a", "b")

    assert answer.failed == {"b": "b offered 0.5 of 1 cpus, held by spark"}


def of_role(offer_id: str, role: str, cpus: float, host: str = "a"):
    return offer(offer_id, host, cpus=cpus, mem=1500, allocation_info={"role": role})


def split_over_roles(stage) -> None:
    """Two roles are offered 3.8 cpus together, none of them 3."""
    stage.tell(on.PodSeen(pod=pod("small", cpus=0.1)))
    stage.offers(of_role("r1", "dev", 2), of_role("r2", "prod", 1.8))


def test_a_pod_fits_only_where_one_role_is_offered_enough(stage) -> None:
    split_over_roles(stage)

    large, fits = ask(stage, pod("large", cpus=3), "a"), ask(stage, pod("fits", cpus=2), "a")

    assert fits.nodes == ("a",)
    assert large.nodes == ()
    assert large.failed["a"] == (
        "a offered 2 of 3 cpus, because its offers are split over roles dev and prod and a pod's"
        " task is of one role"
    )
    (answer,) = of(stage.bind(pod("large", cpus=3), "a"), do.AnswerBind)
    assert answer.error == large.failed["a"]


def test_how_offers_are_split_is_remembered_until_the_next(stage) -> None:
    split_over_roles(stage)
    stage.wait(6)
    assert not stage.core.world.ledger.offers
    assert ask(stage, pod("large", cpus=3), "a").nodes == ()

    stage.offers(of_role("r3", "dev", 3.5))
    assert ask(stage, pod("large", cpus=3), "a").nodes == ("a",)


def test_offers_of_which_no_role_has_enough_are_not_held(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("large", cpus=3)))

    actions = stage.offers(of_role("r1", "dev", 2), of_role("r2", "prod", 1.8))

    assert {i for decline in of(actions, do.Decline) for i in decline.offer_ids} == {"r1", "r2"}


def test_no_node_is_started_for_a_pod_that_no_role_has_room_for() -> None:
    stage = demand()
    stage.tell(on.PodSeen(pod=pod("large", cpus=3)))
    split = [of_role("r1", "dev", 2), of_role("r2", "prod", 1.8)]
    assert not launched(stage.offers(*split) + stage.wait(1))
    stage.tell(on.PodSeen(pod=pod("fits", cpus=1.8)))

    split = [of_role("r3", "dev", 2), of_role("r4", "prod", 1.8)]
    assert launched(stage.offers(*split) + stage.wait(1))


def test_a_bind_that_offers_of_no_role_are_enough_for_says_so(stage) -> None:
    stage.bind(pod("large", cpus=3), "a")
    stage.wait(5)
    stage.offers(of_role("r1", "dev", 2), of_role("r2", "prod", 1.8))

    (answer,) = of(stage.wait(5), do.AnswerBind)

    assert "split over roles dev and prod" in answer.error


def test_what_was_not_offered_is_not_said_to_be_held_by_anybody(stage) -> None:
    taken = tuple(replace(each, others={"spark": Resources.of(cpus=0.5)}) for each in stage.agents)
    state = MesosState(agents=taken, tasks=(), executors=())
    stage.tell(on.MesosListed(state=state, asked_at=stage.now + 1))
    stage.bind(pod("p", cpus=3), "a")

    (answer,) = of(stage.wait(11), do.AnswerBind)
    assert answer.error == "no offer of a came within 10 s (a quota, or other frameworks)"
    assert ask(stage, pod("p", cpus=3), "a").failed == {
        "a": "a offered 0.39 of 3 cpus, and no offer of more came (a quota, or other frameworks)"
    }
    assert ask(stage, pod("q", cpus=3.5), "a").failed == {
        "a": "a offered 0.39 of 3.5 cpus, held by spark"
    }


def test_that_something_was_not_offered_is_believed_for_a_minute_or_until_it_is(stage) -> None:
    stage.bind(pod("p", cpus=3), "a")
    stage.wait(11)

    def listed(after: float) -> None:
        stage.wait(after)
        state = MesosState(agents=stage.agents, tasks=(), executors=())
        stage.tell(on.MesosListed(state=state, asked_at=stage.now))

    listed(1)
    assert ask(stage, pod("p", cpus=3), "a").nodes == ()
    listed(60)
    assert ask(stage, pod("p", cpus=3), "a").nodes == ("a",)
    stage.bind(pod("p", cpus=3), "a")
    stage.wait(11)
    stage.offers(offer("o", "a", cpus=3.2))
    assert ask(stage, pod("p", cpus=3), "a").nodes == ("a",)


def test_filter_tells_hopeless_nodes_apart(stage) -> None:
    answer = ask(stage, pod("p", cpus=64), "a", "elsewhere")

    assert "too small" in answer.unresolvable["a"]
    assert "not a node that km runs" in answer.unresolvable["elsewhere"]


def test_prioritize_prefers_an_offer_at_hand(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p")))
    stage.offers(offer("o", "b"))

    event = on.PrioritizeRequested(request_id=1, pod=pod("p"), nodes=("a", "b"))
    (answer,) = of(stage.tell(event), do.AnswerPrioritize)

    assert answer.scores["b"] > answer.scores["a"]


def test_kube_scheduler_is_made_to_look_again_when_others_give_back(stage) -> None:
    refused = pod("p", unschedulable="0/2 nodes")
    stage.tell(on.PodSeen(pod=refused))

    actions = stage.offers(offer("o", "a")) + stage.offers(offer("o2", "b"))

    (update,) = of(actions, do.UpdateNode)
    assert (update.node, update.unschedulable) == ("a", None)
    assert "4 cpus" in update.annotations["k8s.mesosphere.io/free"]


def test_room_that_comes_too_soon_after_other_room_is_told_of_a_moment_later(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p", unschedulable="0/2 nodes")))
    stage.offers(offer("o", "a"))
    stage.offers(offer("o2", "b"))

    (update,) = of(stage.wait(stage.core.world.rules.nudge_interval), do.UpdateNode)
    assert update.node == "b"


def told_of_room(stage, offer_id: str) -> list[str]:
    actions = stage.offers(offer(offer_id, "a", cpus=3)) + stage.wait(2)
    return [
        update.annotations["k8s.mesosphere.io/free"]
        for update in of(actions, do.UpdateNode)
        if update.node == "a"
    ]


def test_room_that_went_before_kube_scheduler_looked_is_told_of_when_it_is_back(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p", cpus=3, unschedulable="0/2 nodes")))
    (first,) = told_of_room(stage, "o")
    taken = tuple(replace(each, others={"spark": Resources.of(cpus=3)}) for each in stage.agents)
    stage.tell(on.OfferRescinded(offer_id="o"))
    stage.tell(
        on.MesosListed(
            state=MesosState(agents=taken, tasks=(), executors=()), asked_at=stage.now + 1
        )
    )

    assert ask(stage, pod("p", cpus=3), "a").nodes == ()
    (again,) = told_of_room(stage, "o2")

    assert again != first, "an annotation that stays the same is no event"


def test_room_that_kube_scheduler_knows_of_is_told_of_once(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p", cpus=3, unschedulable="0/2 nodes")))

    assert len(told_of_room(stage, "o")) == 1
    stage.tell(on.OfferRescinded(offer_id="o"))
    assert told_of_room(stage, "o2") == []


# The whole


def test_what_is_to_be_seen_is_plain_data(stage) -> None:
    stage.run_pod(pod("p"), "a")
    stage.tell(on.PodSeen(pod=pod("q", cpus=64)))
    ask(stage, pod("q", cpus=64), "a", "b")

    view = json.loads(json.dumps(stage.core.view()))

    assert view["totals"]["nodes_ready"] == 2
    assert view["nodes"][0]["pods"] == ["default/p"]
    assert "0/2" in view["pods"][0]["reason"]
