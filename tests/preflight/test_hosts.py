"""What a machine must offer follows from its roles, and from how many control hosts there are."""

from __future__ import annotations

import json

import pytest

from preflight.hosts import NO_MORE, chosen, targets
from preflight.targets import Target
from stacks.metal_settings import MetalHostsSettings
from stacks.sharing_settings import FrameworkSettings, RoleSettings


def asked(*roles: list[str]) -> list[Target]:
    machines = [
        {"name": f"rack{number}", "address": f"10.0.0.{number}", "roles": of}
        for number, of in enumerate(roles, start=1)
    ]
    return targets(MetalHostsSettings.model_validate_json(text(machines)))


def text(machines: list[dict[str, object]]) -> str:
    return json.dumps({"on": "metal", "machines": machines})


@pytest.mark.parametrize(
    ("roles", "memory_mb"),
    [(["control"], 1800), (["agent"], 1400), (["control", "agent"], 3200)],
)
def test_a_machine_with_both_roles_needs_the_memory_of_both(
    roles: list[str], memory_mb: int
) -> None:
    assert asked(roles, ["control", "agent"])[0].memory_mb == memory_mb


@pytest.mark.parametrize(
    ("roles", "others", "free"),
    [
        (["control"], [["agent"]], {2379: "etcd", 2380: "etcd", 2381: "etcd", 6443: "kube-api"}),
        (["agent"], [["control"]], {5051: "mesos-agent", 10250: "mesos-agent", 6444: ""}),
        (["agent"], [["control"]] * 3, {6444: "haproxy"}),
        (["control"], [["control"]] * 2, {6444: ""}),
        (["control", "agent"], [["control"]] * 2, {6444: "haproxy", 2381: "etcd"}),
    ],
)
def test_every_port_that_something_of_ours_listens_on_must_be_free(
    roles: list[str], others: list[list[str]], free: dict[int, str]
) -> None:
    ports = asked(roles, *others)[0].ports

    for port, unit in free.items():
        assert ports.get(port, "").startswith(unit) if unit else port not in ports


def test_chosen_recipes_are_those_of_the_first_control_host_or_of_all() -> None:
    machines = [
        {"name": "rack1", "address": "10.0.0.1", "roles": ["agent"]},
        {"name": "rack2", "address": "10.0.0.2", "roles": ["control"]},
        {"name": "rack3", "address": "10.0.0.3", "roles": ["control", "agent"]},
        {"name": "rack4", "address": "10.0.0.4", "roles": ["control"]},
    ]
    one = FrameworkSettings(name="one", command="run")
    every = FrameworkSettings(name="all", command="run", runs_on="every")

    more = chosen([one, every], [RoleSettings(name="analytics")])
    made = targets(MetalHostsSettings.model_validate_json(text(machines)), more)

    assert {target.name: target.chosen for target in made} == {
        "rack1": (),
        "rack2": ("mesos-sharing", "mesos-framework-one", "mesos-framework-all"),
        "rack3": ("mesos-framework-all",),
        "rack4": ("mesos-framework-all",),
    }
    assert chosen([], []) == NO_MORE
