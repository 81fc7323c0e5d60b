"""MetalHosts: one joining command a machine, and hosts of the shape that all hosts have."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks

from components.hosts import FaultDomain, Role, domain_text
from components.joining import packages
from components.metal_hosts import (
    MetalBastion,
    MetalHosts,
    MetalHostsArgs,
    MetalMachine,
)
from components.recipe import run_recipe
from tests.components import hosts_suite

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHG8rSCkeRc+L9nVWVYj0gIaY2eVeyC636bntrN0WLEP"
DIALLING = {"dialErrorLimit": 2, "perDialTimeout": 10}
"""A machine that dies during `up` is not dialled for minutes."""

VERSIONS = {
    name: f"{name}-1"
    for name in ("etcd", "kubernetes", "mesos", "km", "cni", "flannel", "kube2sky", "pause")
}


class RecordingMocks(Mocks):
    def __init__(self) -> None:
        self.made: dict[str, tuple[str, dict[str, Any]]] = {}

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[Any, Any]]:
        self.made[args.name] = (args.typ, args.inputs)
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: MockCallArgs) -> dict[Any, Any]:
        raise AssertionError(f"unexpected provider call: {args.token}")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    path.write_text("PRIVATE KEY")
    return path


def machine(name: str, address: str, *roles: Role, key: Path, **more: Any) -> MetalMachine:
    return MetalMachine(
        **{
            "name": name,
            "address": address,
            "roles": frozenset(roles),
            "user": "ops",
            "port": 22,
            "key": key,
            "host_key": KEY,
            **more,
        }
    )


def build(machines: list[MetalMachine], **more: Any) -> tuple[RecordingMocks, MetalHosts]:
    mocks = RecordingMocks()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(mocks, project="kubernetes-mesos", stack="metal", preview=False)
    made: list[MetalHosts] = []

    @pulumi.runtime.test
    def run() -> None:
        args = MetalHostsArgs(machines=machines, cluster="metal-1", versions=VERSIONS, **more)
        made.append(MetalHosts("hosts", args))
        for host in made[0].hosts.machines:
            run_recipe(f"demo-{host.name}", "zookeeper", host, {}, pulumi.ResourceOptions())

    try:
        run()
    finally:
        loop.close()
    return mocks, made[0]


def test_a_machine_joins_with_exactly_this(key: Path) -> None:
    mocks, _ = build([machine("rack1", "10.0.0.11", Role.CONTROL, key=key)], bundle="bookworm 1234")

    kind, inputs = mocks.made["rack1"]
    spec = json.loads(inputs["stdin"])
    script = spec.pop("script")
    assert kind == "command:local:Command"
    assert inputs["create"].endswith("-m components.machine up")
    assert "delete" not in inputs
    assert spec == {
        "name": "rack1",
        "address": "10.0.0.11",
        "port": 22,
        "user": "ops",
        "key": str(key),
        "host_key": KEY,
        "bastion": None,
        "bundle": "bookworm 1234",
        "store": [
            "packages/{release}",
            "programs/etcd/etcd-1",
            "programs/km/km-1",
            "programs/kubernetes/kubernetes-1",
            "programs/mesos/mesos-1",
        ],
        "images": None,
    }
    assert "MACHINE_CLUSTER=metal-1\n" in script


def test_who_cleans_a_machine_is_in_the_state_before_anything_is_on_it(key: Path) -> None:
    mocks, _ = build(
        [machine("rack1", "10.0.0.11", Role.CONTROL, key=key, repairs={"machine": "x"})]
    )

    _, inputs = mocks.made["rack1-leave"]
    joins = json.loads(mocks.made["rack1"][1]["stdin"])
    leaves = json.loads(inputs["stdin"])
    assert leaves.pop("stack_file") == "stacks/Pulumi.metal.yaml"
    assert "create" not in inputs
    assert inputs["delete"].endswith("-m components.machine down")
    script = leaves.pop("script")
    assert leaves.items() <= joins.items()
    assert "\ndown() {" in script
    assert "\nup() {" not in script
    assert "\nup() {" in joins["script"]
    assert "\ndown() {" not in joins["script"]
    assert script.startswith("MACHINE_NAME=rack1\nRECIPE=machine\nset -euo pipefail\n")
    assert list(mocks.made).index("rack1-leave") < list(mocks.made).index("rack1")


def test_the_operators_key_is_never_part_of_the_joining_commands_input(key: Path) -> None:
    mocks, _ = build([machine("rack1", "10.0.0.11", Role.CONTROL, key=key)])

    assert "PRIVATE KEY" not in mocks.made["rack1"][1]["stdin"]


def test_an_agent_gets_images_and_its_own_packages(key: Path) -> None:
    mocks, _ = build([machine("rack2", "10.0.0.12", Role.AGENT, key=key)])

    assert json.loads(mocks.made["rack2"][1]["stdin"])["images"] == "kube2sky-1 pause-1"
    assert "containerd" in packages(frozenset({Role.AGENT}))
    assert "containerd" not in packages(frozenset({Role.CONTROL}))
    assert {"containerd", "libzookeeper-java"} <= set(packages(frozenset(Role)))


def test_recipes_run_with_sudo_the_pinned_key_and_the_bastion(key: Path) -> None:
    bastion = MetalBastion(address="203.0.113.9", port=2222, user="jump", key=key, host_key=KEY)
    mocks, _ = build([machine("rack1", "10.0.0.11", Role.CONTROL, key=key, bastion=bastion)])

    inputs = mocks.made["demo-rack1"][1]
    assert inputs["create"].startswith("sudo -n timeout")
    assert inputs["connection"]["value"] == {
        "host": "10.0.0.11",
        "port": 22,
        "user": "ops",
        "privateKey": "PRIVATE KEY",
        "hostKey": KEY,
        "proxy": {
            "host": "203.0.113.9",
            "port": 2222,
            "user": "jump",
            "privateKey": "PRIVATE KEY",
            "hostKey": KEY,
            **DIALLING,
        },
        **DIALLING,
    }


def test_a_repair_stands_on_the_command_line_where_a_preview_shows_it(key: Path) -> None:
    words = "repair 1: /etc/zoo.cfg has another content"
    mocks, _ = build(
        [machine("rack1", "10.0.0.11", Role.CONTROL, key=key, repairs={"zookeeper": words})]
    )

    assert mocks.made["demo-rack1"][1]["create"].endswith(f"-- up '{words}'")
    assert mocks.made["rack1"][1]["create"].endswith("-m components.machine up")


def test_a_repair_of_what_a_machine_joined_with_stands_there_as_well(key: Path) -> None:
    words = "repair 1: package conntrack is missing"
    mocks, _ = build(
        [machine("rack1", "10.0.0.11", Role.CONTROL, key=key, repairs={"machine": words})]
    )

    assert mocks.made["rack1"][1]["create"].endswith(f"-m components.machine up '{words}'")
    assert words not in mocks.made["rack1"][1]["stdin"]
    assert mocks.made["demo-rack1"][1]["create"].endswith("-- up")


def test_members_change_one_after_another_and_newcomers_at_once(key: Path) -> None:
    machines = [
        machine(f"rack{n}", f"10.0.0.{n}", Role.AGENT, key=key, member=n != 3) for n in range(1, 5)
    ]

    _, component = build(machines, change_at_once="1")

    assert [host.after for host in component.hosts.machines] == [None, "rack1", None, "rack2"]


def test_metal_hosts_keep_what_hosts_promise(key: Path) -> None:
    _, component = build(
        [
            machine("rack1", "10.0.0.11", Role.CONTROL, key=key),
            machine("rack2", "10.0.0.12", Role.AGENT, key=key),
        ]
    )

    hosts_suite.check(component.hosts)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        ({"host_key": "AAAA"}, "no host key: AAAA"),
        ({"address": "rack2.lan"}, "rack2.lan"),
        ({"key": Path("/dev/null")}, "what to log in with"),
    ],
)
def test_the_suite_sees_a_promise_that_is_not_kept(
    key: Path, broken: dict[str, Any], promise: str
) -> None:
    agent = {"key": key, "address": "10.0.0.12", **broken}
    _, component = build(
        [
            machine("rack1", "10.0.0.11", Role.CONTROL, key=key),
            machine("rack2", agent.pop("address"), Role.AGENT, **agent),
        ]
    )

    with pytest.raises((AssertionError, ValueError), match=promise):
        hosts_suite.check(component.hosts)


def test_hosts_say_where_they_stand_the_way_mesos_reads_it() -> None:
    text = domain_text(FaultDomain(region="eu", zone="r1"))

    assert json.loads(text) == {"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "r1"}}}
    assert domain_text(None) == ""
