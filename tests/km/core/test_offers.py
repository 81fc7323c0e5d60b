"""Mesos' JSON as plain data, and cutting tasks out of offers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from km.mesos_state import state_from_mesos
from km.offers import (
    offer_from_mesos,
    pieces_from_mesos,
    resources_from_mesos,
    sum_pieces,
    take,
)
from km.resources import Resources, ports


def scalar(name, value, **more):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}, **more}


def reserved(role, **more):
    return {"reservations": [{"type": "DYNAMIC", "role": role, **more}]}


def offer(*resources, **more):
    return offer_from_mesos(
        {
            "id": {"value": "o"},
            "agent_id": {"value": "S1"},
            "hostname": "agent-1",
            "allocation_info": {"role": "web"},
            "resources": list(resources),
            **more,
        }
    )


def test_all_reservations_of_a_kind_are_summed() -> None:
    found = offer(scalar("cpus", 1), scalar("cpus", 0.5, **reserved("web")), scalar("mem", 100))

    assert found.resources == Resources.of(cpus=1.5, mem=100)


def test_reserved_pieces_are_taken_first_and_named_verbatim() -> None:
    found = offer(scalar("cpus", 1), scalar("cpus", 0.5, **reserved("web")))

    taken, left = take(found.pieces, Resources.of(cpus=0.7))

    assert [(t["scalar"]["value"], t.get("reservations")) for t in taken] == [
        (0.5, reserved("web")["reservations"]),
        (0.2, None),
    ]
    assert all(t["allocation_info"] == {"role": "web"} for t in taken)
    assert sum_pieces(left) == Resources.of(cpus=0.8)


def test_volumes_revocable_shared_and_labelled_resources_are_left_alone() -> None:
    found = offer(
        scalar("disk", 100),
        scalar("disk", 50, disk={"persistence": {"id": "v"}}, **reserved("web")),
        scalar("cpus", 2, revocable={}),
        scalar("cpus", 1, **reserved("web", labels={"labels": [{"key": "k", "value": "v"}]})),
        scalar("disk", 9, provider_id={"value": "p"}),
        scalar("network", 5),
    )

    assert found.resources == Resources.of(disk=100)


def test_ports_are_cut_out_of_ranges() -> None:
    spans = {"range": [{"begin": 31000, "end": 31009}]}
    found = offer({"name": "ports", "type": "RANGES", "ranges": spans})

    taken, left = take(found.pieces, Resources(ports=ports([31005])))

    assert taken[0]["ranges"] == {"range": [{"begin": 31005, "end": 31005}]}
    assert sum_pieces(left).ports == ((31000, 31004), (31006, 31009))


amount = st.integers(0, 5000).map(lambda n: n / 1000)
listed = st.lists(
    st.builds(
        lambda kind, value, role: scalar(kind, value, **(reserved(role) if role else {})),
        st.sampled_from(["cpus", "mem", "disk", "gpus"]),
        amount,
        st.sampled_from(["", "web"]),
    ),
    max_size=8,
)


@given(listed, st.builds(Resources.of, cpus=amount, mem=amount, disk=amount, gpus=amount))
def test_nothing_is_lost_or_made_by_taking(resources, need) -> None:
    pieces = pieces_from_mesos(resources, "web")
    found = take(pieces, need)

    if found is None:
        assert not sum_pieces(pieces).covers(need)
    else:
        assert resources_from_mesos(found[0]) == need
        assert sum_pieces(found[1]) + need == sum_pieces(pieces)


def test_attributes_domain_and_maintenance_are_read() -> None:
    found = offer(
        attributes=[
            {"name": "rack", "type": "TEXT", "text": {"value": "r1"}},
            {"name": "ssd", "type": "SCALAR", "scalar": {"value": 2.0}},
        ],
        domain={"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "eu-a"}}},
        unavailability={"start": {"nanoseconds": 5_000_000_000}},
    )

    assert found.attributes == {"rack": "r1", "ssd": "2"}
    assert (found.region, found.zone, found.unavailable_from) == ("eu", "eu-a", 5.0)


def test_a_state_tells_ours_from_others_and_leaves_foreign_reservations_out() -> None:
    def task(name, framework, *resources, **more):
        return {
            "task_id": {"value": name},
            "agent_id": {"value": "S1"},
            "framework_id": {"value": framework},
            "state": "TASK_RUNNING",
            "resources": list(resources),
            **more,
        }

    foreign = scalar("cpus", 2, **reserved("db"))
    agent = {"id": {"value": "S1"}, "hostname": "agent-1"}
    state = {
        "get_agents": {
            "agents": [{"agent_info": agent, "total_resources": [scalar("cpus", 8), foreign]}],
            "recovered_agents": [{"id": {"value": "S2"}, "hostname": "agent-2"}],
        },
        "get_frameworks": {
            "frameworks": [{"framework_info": {"id": {"value": "X"}, "name": "spark"}}]
        },
        "get_tasks": {
            "tasks": [
                task("mine", "F", scalar("cpus", 1)),
                task("theirs", "X", scalar("cpus", 3), foreign),
                task("over", "X", scalar("cpus", 3), state="TASK_FINISHED"),
            ],
            "unreachable_tasks": [task("far", "F", scalar("cpus", 1))],
        },
        "get_executors": {
            "executors": [
                {
                    "agent_id": {"value": "S1"},
                    "executor_info": {
                        "executor_id": {"value": "km-agent-1"},
                        "framework_id": {"value": "F"},
                        "resources": [scalar("cpus", 0.1)],
                    },
                }
            ]
        },
    }

    found = state_from_mesos(state, "F")

    assert found.agents[0].total == Resources.of(cpus=8)
    assert found.agents[0].others == {"spark": Resources.of(cpus=3)}
    assert {(t.task_id, t.state) for t in found.tasks} == {
        ("mine", "TASK_RUNNING"),
        ("far", "TASK_UNREACHABLE"),
    }
    assert found.executors[0].resources == Resources.of(cpus=0.1)
    assert found.recovering == {"S2"}
