"""Whole simulated days, with accidents."""

from __future__ import annotations

import json

import pytest

from km.pods import Shape
from km.resources import Resources
from km.rules import EVERY_AGENT, ON_DEMAND
from km.simulate.__main__ import main
from km.simulate.report import report
from km.simulate.scenario import Plan, Scenario


def play(**changes) -> dict:
    scenario = Scenario(Plan(**{"agents": 20, "pods": 300, "jobs": 100, **changes}))
    scenario.play()
    return report(scenario, 1.0, 1.0)


@pytest.mark.parametrize("nodes", [ON_DEMAND, EVERY_AGENT])
@pytest.mark.parametrize("seed", range(4))
def test_everything_converges_after_any_accidents(nodes, seed) -> None:
    figures = play(nodes=nodes, seed=seed, accidents=25)

    assert figures["pods_waiting_at_end"] == 0
    assert figures["jobs_finished"] >= 95


@pytest.mark.parametrize("nodes", [ON_DEMAND, EVERY_AGENT])
@pytest.mark.parametrize("seed", range(4))
def test_failovers_and_partitions_cost_no_pod(nodes, seed) -> None:
    assert play(nodes=nodes, seed=seed, accidents=25, kinds="harmless")["pods_replaced"] == 0


@pytest.mark.parametrize("nodes", [ON_DEMAND, EVERY_AGENT])
@pytest.mark.parametrize("seed", range(2))
def test_with_a_second_role_that_has_reservations_everything_converges_too(nodes, seed) -> None:
    figures = play(nodes=nodes, seed=seed, accidents=25, reserved=0.4, cpus=8)

    assert figures["pods_waiting_at_end"] == 0


@pytest.mark.parametrize("nodes", [ON_DEMAND, EVERY_AGENT])
def test_a_pod_that_no_role_alone_has_room_for_is_not_sent_to_nodes_in_vain(nodes) -> None:
    plan = Plan(agents=3, cpus=4, pods=10, others=0, accidents=0, reserved=0.5, nodes=nodes)
    scenario = Scenario(plan)
    scenario.clock.after(10, scenario.cluster.create, Shape(need=Resources.of(cpus=2.5)))
    scenario.play()

    assert report(scenario, 1.0, 1.0)["pods_waiting_at_end"] == 1
    assert scenario.km.core.world.counters["binds.failed"] == 0


def test_at_full_demand_the_agents_are_full() -> None:
    figures = play(
        agents=10, pods=2000, jobs=0, others=0, ending=0.0, accidents=0, nodes=ON_DEMAND, calm=60
    )

    assert figures["utilisation_most"] >= 0.95
    assert figures["pods_waiting_at_end"] > 0


def test_the_same_seed_gives_the_same_day() -> None:
    first, second = play(seed=5), play(seed=5)
    for figures in (first, second):
        for measured in ("core_seconds", "pods_per_second_core", "memory_mb"):
            del figures[measured]

    assert first == second


def test_the_command_prints_the_figures(capsys) -> None:
    code = main(["--agents", "5", "--pods", "20", "--jobs", "5", "--calm", "5", "--json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["pods_bound"] >= 20
