"""Which agents become nodes, by table and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from km.nodes import Candidate, Demand, plan
from km.objects import Requirement, Taint, Toleration
from km.placement import allowed
from km.pods import Shape, Spread
from km.resources import Resources


def shape(cpus=1.0, mem=100.0, **more) -> Shape:
    return Shape(need=Resources.of(cpus=cpus, mem=mem), **more)


def room(name, cpus, mem=10_000, zone="a") -> Candidate:
    return Candidate(name, Resources.of(cpus=cpus, mem=mem), {"zone": zone})


def choose(demands, existing=(), starting=(), agents=(), may_run=lambda *_: True, siblings=None):
    choices, unplaced = plan(
        demands,
        existing=list(existing),
        starting=list(starting),
        agents=list(agents),
        may_run=may_run,
        siblings=siblings,
    )
    return [choice.name for choice in choices], sum(unplaced.values())


def test_no_node_is_started_while_the_others_have_room() -> None:
    assert choose([Demand(shape(), 3)], [room("a", 3)], agents=[room("b", 9)]) == ([], 0)


def test_starting_nodes_count_as_room() -> None:
    assert choose([Demand(shape(), 3)], [], [room("a", 3)], [room("b", 9)]) == ([], 0)


def test_as_few_nodes_as_fit_the_largest_first() -> None:
    agents = [room("small", 2), room("large", 8), room("medium", 4)]

    assert choose([Demand(shape(), 9)], agents=agents) == (["large", "small"], 0)


def test_one_pod_takes_the_smallest_agent_that_fits() -> None:
    agents = [room("small", 2), room("large", 8), room("tiny", 0.5)]

    assert choose([Demand(shape(), 1)], agents=agents) == (["small"], 0)


def test_what_fits_nowhere_is_counted() -> None:
    assert choose([Demand(shape(cpus=16), 2)], agents=[room("a", 8)]) == ([], 2)


def test_agents_that_the_pod_may_not_use_are_left_alone() -> None:
    found = choose(
        [Demand(shape(), 1)],
        agents=[room("a", 8), room("b", 8)],
        may_run=lambda _, name: name == "b",
    )

    assert found == (["b"], 0)


def test_pods_that_kube_scheduler_keeps_refusing_get_another_node() -> None:
    assert choose([Demand(shape(), 2, refused=1)], [room("a", 9)], agents=[room("b", 2)]) == (
        ["b"],
        0,
    )


def test_higher_priority_is_placed_first() -> None:
    high = Demand(shape(mem=1), 1, priority=10)
    low = Demand(shape(mem=2), 1, priority=0)

    assert choose([low, high], agents=[room("a", 1)]) == (["a"], 1)


def test_siblings_that_must_be_apart_get_a_node_each() -> None:
    apart = shape(apart=("kubernetes.io/hostname",), siblings="web")
    agents = [room(name, 8) for name in "abc"]

    started, unplaced = choose([Demand(apart, 3)], agents=agents)

    assert (sorted(started), unplaced) == (["a", "b", "c"], 0)


def test_siblings_that_run_already_count() -> None:
    apart = shape(apart=("kubernetes.io/hostname",), siblings="web")

    assert choose([Demand(apart, 1)], [room("a", 8)], agents=[room("b", 8)],
                  siblings={("web", "a"): 1}) == (["b"], 0)  # fmt: skip


def test_spread_opens_nodes_in_the_emptier_zones() -> None:
    spread = shape(spread=(Spread("zone", 1),), siblings="web")
    agents = [room("a1", 8, zone="a"), room("a2", 8, zone="a"), room("b1", 8, zone="b")]

    started, unplaced = choose([Demand(spread, 4)], agents=agents)

    assert unplaced == 0
    assert {"b1"} < set(started)


demands = st.lists(
    st.builds(
        lambda cpus, mem, count: Demand(shape(cpus / 10, mem), count),
        st.integers(1, 40),
        st.integers(1, 4000),
        st.integers(1, 30),
    ),
    max_size=5,
)
rooms = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 8000)), max_size=6)


@given(demands, rooms, rooms)
def test_every_pod_is_placed_or_no_chosen_agent_could_take_it(wanted, there, free) -> None:
    existing = [room(f"e{n}", c / 10, m) for n, (c, m) in enumerate(there)]
    agents = [room(f"a{n}", c / 10, m) for n, (c, m) in enumerate(free)]

    names, unplaced = choose(wanted, existing, agents=agents)

    assert len(set(names)) == len(names)
    assert 0 <= unplaced <= sum(demand.count for demand in wanted)
    opened = [c for c in (*existing, *agents) if c in existing or c.name in names]
    placed = sum(d.count for d in wanted) - unplaced
    smallest = min((d.shape.need.cpus for d in wanted), default=0)
    assert placed * smallest <= sum(c.room.cpus for c in opened)
    if unplaced:
        left = [a for a in agents if a.name not in names]
        assert not any(all(a.room.covers(d.shape.need) for d in wanted) for a in left)


LABELS = {"disk": "ssd", "cores": "8"}


@pytest.mark.parametrize(
    ("given_shape", "expected"),
    [
        pytest.param(shape(), True, id="anything"),
        pytest.param(shape(selector=(("disk", "ssd"),)), True, id="selector"),
        pytest.param(shape(selector=(("disk", "hdd"),)), False, id="selector-differs"),
        pytest.param(shape(nodes=("other",)), False, id="another-node-by-name"),
        *(
            pytest.param(shape(affinity=((Requirement(*r),),)), e, id="-".join(map(str, r[:2])))
            for r, e in [
                (("disk", "In", ("ssd", "nvme")), True),
                (("disk", "NotIn", ("ssd",)), False),
                (("gpu", "NotIn", ("x",)), True),
                (("gpu", "Exists", ()), False),
                (("gpu", "DoesNotExist", ()), True),
                (("cores", "Gt", ("4",)), True),
                (("cores", "Lt", ("4",)), False),
                (("disk", "Gt", ("4",)), False),
                (("disk", "Unknown", ("4",)), False),
            ]
        ),
        pytest.param(
            shape(
                affinity=((Requirement("disk", "In", ("hdd",)),), (Requirement("cores", "Exists"),))
            ),
            True, id="one-of-several-terms",
        ),
    ],
)  # fmt: skip
def test_node_rules_are_kubernetes_own(given_shape, expected) -> None:
    assert allowed(given_shape, "agent-1", LABELS, ()) is expected


@pytest.mark.parametrize(
    ("taint", "tolerations", "expected"),
    [
        (Taint("k", "NoSchedule"), (), False),
        (Taint("k", "PreferNoSchedule"), (), True),
        (Taint("k", "NoExecute"), (Toleration("k", "Exists"),), True),
    ],
)
def test_taints_keep_pods_away(taint, tolerations, expected) -> None:
    assert allowed(shape(tolerations=tolerations), "agent-1", {}, (taint,)) is expected
