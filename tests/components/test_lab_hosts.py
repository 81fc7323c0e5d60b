"""LabHosts: what the lab is asked for, and what the rest of the program gets."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

import pulumi
import pytest

from components.hosts import Role
from components.lab_hosts import LabGroup, LabHosts, LabHostsArgs, address_in
from tests.components import hosts_suite


def arguments(**more):
    return LabHostsArgs(
        **{
            "lab": "abcd1234",
            "owner": "/clone:test",
            "machine": "4711",
            "control": LabGroup(count=1, cpus=2, memory_mb=2560, disk_gb=20),
            "agents": LabGroup(
                count=2,
                cpus=3,
                memory_mb=4096,
                disk_gb=30,
                attributes={"agent-2": {"rack": "r2"}},
            ),
            **more,
        }
    )


def test_it_makes_a_network_a_login_and_two_resources_a_host(recorder, run):
    run(lambda: LabHosts("hosts", arguments()).hosts.machines[0].address)

    assert recorder.children("hosts") == [
        (name, "command:local:Command")
        for name in (
            "agent-1",
            "agent-1-key",
            "agent-2",
            "agent-2-key",
            "control-1",
            "control-1-key",
            "hosts-login",
            "hosts-network",
        )
    ]


def test_the_lab_is_told_everything_on_stdin(recorder, run):
    run(lambda: LabHosts("hosts", arguments()).hosts.machines[0].address)

    inputs = recorder["agent-2"].inputs
    assert inputs["create"] == ".venv/bin/python -m lab host up"
    assert inputs["delete"] == ".venv/bin/python -m lab host down"
    assert "dir" not in inputs
    assert json.loads(inputs["stdin"]) == {
        "lab": "abcd1234",
        "name": "agent-2",
        "index": 22,
        "cpus": 3,
        "memory_mb": 4096,
        "disk_gb": 30,
        "authorized_key": "ssh-ed25519 operator of abcd1234",
        "host_key": "agent-2 PRIVATE",
        "base": "bookworm",
        "roles": ["agent"],
    }


@pytest.mark.parametrize(
    ("network", "asked"),
    [
        pytest.param(None, None, id="one that is free"),
        pytest.param(IPv4Network("10.90.9.0/24"), "10.90.9.0/24", id="one that was named"),
    ],
)
def test_the_network_is_the_labs_first_and_last(recorder, run, network, asked):
    run(lambda: LabHosts("hosts", arguments(network=network)).hosts.machines[0].address)

    made = recorder["hosts-network"]
    assert json.loads(made.inputs["stdin"]) == {
        "lab": "abcd1234",
        "owner": "/clone:test",
        "machine": "4711",
        "network": asked,
    }
    assert made.inputs["delete"] == ".venv/bin/python -m lab network down"
    assert "hosts-network" in recorder["control-1"].depends_on


def test_hosts_know_their_role_address_size_attributes_and_machine(recorder, run):
    def program():
        hosts = LabHosts("hosts", arguments()).hosts
        return pulumi.Output.all(
            *[
                pulumi.Output.all(
                    host.name,
                    sorted(host.roles),
                    host.address,
                    host.connection.host,
                    host.connection.host_key,
                    host.connection.private_key,
                    host.cpus,
                    dict(host.attributes),
                    host.machine.urn.apply(lambda urn: urn.rsplit("::", 1)[-1]),
                )
                for host in (*hosts.with_role(Role.CONTROL), *hosts.with_role(Role.AGENT))
            ]
        )

    control, _, agent = run(program)

    login = "operator of abcd1234 PRIVATE"
    assert control == [
        "control-1",
        ["control"],
        "10.90.7.10",
        "10.90.7.10",
        "ssh-ed25519 control-1",
        login,
        2,
        {},
        "control-1",
    ]
    assert agent[:3] == ["agent-2", ["agent"], "10.90.7.22"]
    assert agent[7] == {"rack": "r2"}


def test_lab_hosts_keep_what_hosts_promise(recorder, run):
    made = []

    def program():
        made.append(LabHosts("hosts", arguments()))
        return made[0].hosts.machines[0].address

    run(program)

    hosts_suite.check(made[0].hosts)


def test_an_address_is_counted_from_the_networks_first():
    assert address_in('{"network": "10.90.134.0/24"}', 21) == "10.90.134.21"
