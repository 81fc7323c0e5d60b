"""The simulator breaks loudly when km does what it must never do.

Each case takes one of km's duties away; a judge that lets that pass is none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from km import actions as do
from km import binding, core, kubernetes_side, lifecycle, placement, reconcile, resizing
from km import events as on
from km.ledger import Agent
from km.offers import take
from km.pods import Pod, Shape
from km.resources import Resources
from km.rules import EVERY_AGENT, ON_DEMAND
from km.simulate.master import InvariantError
from km.simulate.scenario import Plan, Scenario
from km.world import World

# What happens, half a minute after everything runs


def an_ordinary_day(scenario: Scenario) -> None:
    del scenario


def more_pods_than_fit(scenario: Scenario) -> None:
    """By kube-scheduler's own count two of them fit on a node, which takes a little itself."""
    for uid in list(scenario.cluster.pods):
        scenario.cluster.remove(uid, replace_it=False)
    shape = Shape(need=Resources.of(cpus=4, mem=100))
    for _ in range(8):
        scenario.clock.after(5.0, scenario.cluster.create, shape)


def a_pod_ends(scenario: Scenario) -> None:
    scenario.cluster.remove("u1", replace_it=False)


def a_pod_that_kube_scheduler_refuses(scenario: Scenario) -> None:
    shape, names = Shape(need=Resources.of(cpus=0.1)), scenario.cluster.names
    scenario.cluster.create(shape, dislikes=frozenset(names))


def a_question_about_a_dead_pod(scenario: Scenario) -> None:
    scenario.cluster.create(Shape(need=Resources.of(cpus=99)))
    scenario.clock.after(1.0, scenario._scheduler_lags)


def a_resize(scenario: Scenario) -> None:
    scenario._pod_resized()


def an_agent_is_wanted_back(scenario: Scenario) -> None:
    scenario.km.wanted_back(next(iter(scenario.master.agents.values())))


def an_operator_cordons(scenario: Scenario) -> None:
    scenario.km.cordon(scenario.cluster.names[0], unschedulable=True)


def an_operator_cordons_and_all_pods_end(scenario: Scenario) -> None:
    an_operator_cordons(scenario)
    for uid in list(scenario.cluster.pods):
        scenario.cluster.remove(uid, replace_it=False)


# What km does wrong


def nothing(*_: Any, **__: Any) -> None:
    """A duty that is not done."""


def no(*_: Any) -> str:
    """No reason against anything, nothing that would be so."""
    return ""


def yes(*_: Any) -> bool:
    return True


def all_of_them(world: World, pod: Pod, names: tuple[str, ...]) -> tuple[Any, ...]:
    del world, pod
    return names, {}, {}


def greedy(pieces: Any, need: Resources) -> Any:
    """Takes more than there is."""
    return take([replace(piece, amount=2 * piece.amount) for piece in pieces], need)


def agree(world: World, event: on.InverseOffersReceived) -> None:
    for inverse in event.inverse_offers:
        world.do(do.AcceptInverse(reason="no matter", inverse_offer_ids=(inverse.id,)))


def believe(world: World, pod: Pod) -> None:
    kubernetes_side.pod_seen(world, pod)


def lift_every_cordon(world: World, run: Any, node: Any) -> bool | None:
    del world, run
    return False if node.unschedulable else None


ALARMS, HANDLERS = core._ALARMS, core._HANDLERS

CASES = [
    (more_pods_than_fit, EVERY_AGENT,
     [(binding, "take", greedy), (Agent, "fits", yes), (placement, "filter_nodes", all_of_them)],
     "the offers have"),
    (a_pod_that_kube_scheduler_refuses, EVERY_AGENT, [(ALARMS, "offers", nothing)], "was held for"),
    (a_pod_ends, EVERY_AGENT, [(binding, "kill", nothing), (reconcile, "kill", nothing)],
     "tasks without pods"),
    (an_ordinary_day, EVERY_AGENT, [(ALARMS, "flush", nothing)], "waits for"),
    (a_pod_that_kube_scheduler_refuses, ON_DEMAND, [(ALARMS, "plan", nothing)], "waits for"),
    (a_question_about_a_dead_pod, EVERY_AGENT, [(kubernetes_side, "pod_heard_of", believe)],
     "pods that are gone"),
    (a_resize, EVERY_AGENT, [(resizing, "outgrown", no)], "its task"),
    (an_agent_is_wanted_back, EVERY_AGENT, [(HANDLERS, on.InverseOffersReceived, agree)],
     "with a node on it"),
    (an_operator_cordons, EVERY_AGENT, [(lifecycle, "_cordon", lift_every_cordon)], "uncordoned"),
    (an_operator_cordons_and_all_pods_end, ON_DEMAND,
     [(World, "cordoned_by_operator", no)], "is ended"),
]  # fmt: skip


def day_of(happens: Callable[[Scenario], None], nodes: str) -> None:
    """Four agents, twenty pods, and this one thing."""
    plan = Plan(
        agents=4, cpus=8, pods=20, others=0, jobs=0, accidents=0, ending=0.0, seed=3, nodes=nodes
    )
    scenario = Scenario(plan)
    scenario.clock.after(30.0, happens, scenario)
    scenario.play()


@pytest.mark.parametrize(
    ("happens", "nodes", "wrong", "words"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_a_duty_that_is_not_done_is_seen(
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[[Scenario], None],
    nodes: str,
    wrong: list[tuple[Any, Any, Any]],
    words: str,
) -> None:
    day_of(happens, nodes)  # nobody complains of what is done right

    for place, name, instead in wrong:
        if isinstance(place, dict):
            monkeypatch.setitem(place, name, instead)
        else:
            monkeypatch.setattr(place, name, instead)
    with pytest.raises(InvariantError, match=words):
        day_of(happens, nodes)
