"""AwsHosts: what it makes of its arguments, and who may reach what."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from components.aws_hosts import AwsHosts, placements
from components.aws_network import subnets
from components.aws_prices import HOUR, HOURS, PUBLIC_IPV4_HOUR, monthly_usd
from components.aws_rules import incoming, outgoing
from components.hosts import Role
from preflight import stack_file as stack_files
from stacks.aws_settings import AwsHostsSettings
from stacks.settings import parse_settings
from tests.components import hosts_suite
from tests.components.aws_case import (
    ED25519,
    GROUPS,
    INGRESS,
    UNTAGGED,
    Asked,
    AwsMocks,
    asking,
    build,
    stack_file,
)


@pytest.fixture(scope="module")
def plain() -> tuple[AwsMocks, AwsHosts, dict[str, Any]]:
    return build()


@pytest.fixture(scope="module")
def guarded() -> tuple[AwsMocks, AwsHosts, dict[str, Any]]:
    return build(bastion=True)


def test_machines_are_named_after_their_group_and_spread_over_the_zones() -> None:
    placed = [(name, zone) for name, _, zone in placements(GROUPS, ("a", "b"))]

    assert placed == [
        ("control-1", "a"),
        ("control-2", "b"),
        ("control-3", "a"),
        ("general-1", "a"),
        ("general-2", "b"),
        ("cheap-1", "a"),
    ]


def test_a_new_zone_moves_no_subnet() -> None:
    network = IPv4Network("10.80.0.0/16")

    assert subnets(network, ("a", "c"))["c"] == subnets(network, ("a", "b", "c"))["c"]


def test_an_instance_is_asked_for_with_exactly_these_inputs(plain: Any) -> None:
    inputs = dict(plain[0].inputs("control-1"))
    user_data = inputs.pop("userData")

    tags = {
        "kubernetes-mesos/stack": "aws",
        "kubernetes-mesos/owner": "platform@example.org",
        "Name": "control-1",
    }
    assert inputs == {
        "ami": "ami-0123456789abcdef0",
        "instanceType": "m6i.large",
        "subnetId": "hosts-network-a-id",
        "vpcSecurityGroupIds": ["hosts-network-control-id"],
        "associatePublicIpAddress": True,
        "keyName": "hosts-login-1",
        "userDataReplaceOnChange": False,
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        },
        "rootBlockDevice": {
            "volumeType": "gp3",
            "volumeSize": 40,
            "encrypted": True,
            "deleteOnTermination": False,
            "tags": tags,
        },
        "disableApiTermination": True,
        "tags": tags,
    }
    assert user_data.startswith("#cloud-config\n")
    assert json.loads(user_data.partition("\n")[2])["ssh_keys"] == {
        "ed25519_private": "private control-1-key",
        "ed25519_public": ED25519,
    }


def test_an_agent_is_not_protected_and_a_spot_agent_is_asked_for_as_one(plain: Any) -> None:
    general, cheap = plain[0].inputs("general-1"), plain[0].inputs("cheap-1")

    assert general["disableApiTermination"] is False
    assert general["rootBlockDevice"]["deleteOnTermination"] is True
    assert "instanceMarketOptions" not in general
    assert cheap["instanceMarketOptions"] == {
        "marketType": "spot",
        "spotOptions": {"spotInstanceType": "one-time"},
    }


def test_the_image_is_the_newest_of_debians_own_account(plain: Any) -> None:
    (call,) = plain[0].calls

    assert call.token == "aws:ec2/getAmi:getAmi"
    assert call.args["owners"] == ["136693071363"]
    assert call.args["mostRecent"] is True
    assert call.args["filters"][0] == {"name": "name", "values": ["debian-12-amd64-*"]}


def test_hosts_have_the_shape_that_everything_above_works_on(plain: Any) -> None:
    _, component, values = plain
    control, cheap = component.hosts.machines[0], component.hosts.machines[-1]

    assert control.roles == {Role.CONTROL}
    assert control.user == "admin"
    assert control.fault_domain is not None
    assert control.fault_domain.zone == "eu-central-1a"
    assert cheap.kind == "m6a.large"
    assert cheap.attributes == {"pool": "cheap", "market": "spot"}
    assert values["control-1"] == {
        "address": "10.80.0.9",
        "host": "198.51.100.9",
        "host_key": ED25519,
        "proxy": None,
    }
    assert values["api"] == "api.example"


def test_aws_hosts_keep_what_hosts_promise(plain: Any, guarded: Any) -> None:
    hosts_suite.check(plain[1].hosts)
    hosts_suite.check(guarded[1].hosts)


def joining(mocks: AwsMocks, name: str) -> dict[str, Any]:
    kind, inputs = mocks.made[f"{name}-join"]
    assert kind == "command:local:Command"
    assert inputs["create"].startswith(".venv/bin/python -m components.machine up")
    assert "delete" not in inputs, "what goes with its instance needs no cleaning"
    return dict(json.loads(inputs["stdin"]))


def test_a_machine_joins_with_exactly_this(plain: Any) -> None:
    spec = joining(plain[0], "control-1")

    script = spec.pop("script")
    assert "MACHINE_CLUSTER=kubernetes-mesos/aws\n" in script
    assert "MACHINE_NAME=control-1\n" in script
    assert "zookeeper" in script.partition("MACHINE_PACKAGES=")[2].partition("\n")[0]
    assert spec == {
        "name": "control-1",
        "address": "198.51.100.9",
        "port": 22,
        "user": "admin",
        "key": "~/.ssh/id_ed25519",
        "host_key": ED25519,
        "bastion": None,
        "dial_seconds": 180,
        "store": [
            "programs/etcd/etcd-1",
            "programs/km/km-1",
            "programs/kubernetes/kubernetes-1",
            "programs/mesos/mesos-1",
        ],
        "images": None,
    }


def test_a_machine_behind_the_bastion_joins_through_it(guarded: Any) -> None:
    spec = joining(guarded[0], "general-1")

    assert spec["address"] == "10.80.0.9"
    assert spec["bastion"] == {
        "address": "198.51.100.9",
        "port": 22,
        "user": "admin",
        "key": "~/.ssh/id_ed25519",
        "host_key": ED25519,
    }
    assert spec["images"] == "kube2sky-1 pause-1"


def test_agents_change_a_share_at_a_time(plain: Any) -> None:
    after = {host.name: host.after for host in plain[1].hosts.agents}

    assert after == {"general-1": None, "general-2": "general-1", "cheap-1": "general-2"}


def test_hosts_go_with_their_instance(plain: Any) -> None:
    assert all(host.machine is not None for host in plain[1].hosts.machines)


def test_with_a_bastion_only_the_bastion_is_open_to_operators(guarded: Any) -> None:
    mocks, _, values = guarded
    ssh = {
        (rule["securityGroupId"], rule.get("cidrIpv4"), rule.get("referencedSecurityGroupId"))
        for rule in mocks.of(INGRESS).values()
        if rule["fromPort"] == 22
    }

    assert ssh == {
        ("hosts-network-bastion-id", "203.0.113.0/24", None),
        ("hosts-network-control-id", None, "hosts-network-bastion-id"),
        ("hosts-network-agent-id", None, "hosts-network-bastion-id"),
    }
    assert values["control-1"]["host"] == "10.80.0.9"
    assert values["control-1"]["proxy"] == "198.51.100.9"


def test_nothing_is_open_to_the_world(plain: Any) -> None:
    open_to = {rule.get("cidrIpv4") for rule in plain[0].of(INGRESS).values()}

    assert open_to == {None, "203.0.113.0/24"}


def test_agents_cannot_reach_etcd_or_each_others_kubelets() -> None:
    ways = {(rule.group, rule.other, rule.ports) for rule in incoming((), bastion=False)}

    assert ("control", "agent", (2379, 2380)) not in ways
    assert ("agent", "agent", (10250, 10250)) not in ways


def test_what_agents_offer_to_tasks_is_open_to_those_who_use_it_and_to_nobody_else() -> None:
    open_to = {
        (rule.group, rule.other)
        for rule in incoming(("203.0.113.0/24",), (9050,), bastion=True)
        if rule.ports == (31000, 32000)
    }

    assert open_to == {("agent", "agent"), ("agent", "control")}


def test_where_a_frameworks_scheduler_listens_is_open_to_masters_and_agents() -> None:
    mocks = build(scheduler_ports=(9050,))[0]

    assert {
        (rule["securityGroupId"], rule["referencedSecurityGroupId"])
        for rule in mocks.of(INGRESS).values()
        if rule["fromPort"] == 9050 == rule["toPort"]
    } == {
        ("hosts-network-control-id", "hosts-network-control-id"),
        ("hosts-network-control-id", "hosts-network-agent-id"),
    }


def test_machines_fetch_from_the_web_and_from_nowhere_else() -> None:
    world = {
        rule.ports for rule in outgoing("10.80.0.0/16", bastion=True) if rule.other == "0.0.0.0/0"
    }

    assert world == {(80, 80), (443, 443)}


def test_everything_that_can_have_tags_says_whose_it_is(guarded: Any) -> None:
    without = [
        name
        for name, (kind, inputs) in guarded[0].made.items()
        if kind.startswith("aws:")
        and kind not in UNTAGGED
        and inputs.get("tags", {}).get("kubernetes-mesos/owner") != "platform@example.org"
    ]

    assert without == []


def test_every_resource_uses_the_region_of_the_stack_file(plain: Any) -> None:
    assert plain[0].inputs("hosts-aws")["region"] == "eu-central-1"


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        pytest.param([], 16.43, id="a balancer alone"),
        pytest.param([("m6i.large", 40)], 16.43 + 70.08 + 3.65 + 3.2, id="one machine"),
        pytest.param([("z9.large", 40)], None, id="a type without a known price"),
    ],
)
def test_the_estimate_adds_machines_disks_addresses_and_the_balancer(
    machines: list[tuple[str, int]], expected: float | None
) -> None:
    estimate = monthly_usd(machines)

    assert estimate == (None if expected is None else pytest.approx(expected, abs=0.02))


WAYS_OUT = {"hosts-network-world", "hosts-network-a-routes", "hosts-network-b-routes"}


def test_what_has_a_public_address_comes_after_the_gateway_and_goes_before_it(guarded: Any) -> None:
    mocks = guarded[0]

    assert "hosts-network-gateway" in mocks.before("hosts-network-world")
    for name in ("hosts-api-balancer", "bastion", "control-1", "general-2", "cheap-1"):
        assert mocks.before(name) >= WAYS_OUT, name


def test_what_matters_at_the_first_boot_alone_replaces_no_machine(guarded: Any) -> None:
    recorder = guarded[0].recorder

    for name in ("bastion", "control-1", "general-1"):
        assert set(recorder[name].ignores) == {"ami", "keyName", "userData"}, name


def test_only_control_hosts_are_protected(guarded: Any) -> None:
    kept = {made.name for made in guarded[0].recorder.made if made.protected}

    assert kept == {"control-1", "control-2", "control-3"}


def test_no_machine_is_stopped_before_the_one_before_it_is_back(plain: Any) -> None:
    mocks = plain[0]
    machines = {"control-1", "control-2", "control-3", "general-1", "general-2", "cheap-1"}
    others = {f"{name}{end}" for name in machines for end in ("", "-back", "-join")}

    before = {name: mocks.before(name) & others for name in machines}

    assert before == {
        "control-1": set(),
        "control-2": {"control-1-back"},
        "control-3": {"control-2-back"},
        "general-1": set(),
        "general-2": {"general-1-back"},
        "cheap-1": {"general-2-back"},
    }
    assert {name: mocks.before(f"{name}-back") & others for name in machines} == {
        name: {name} for name in machines
    }


def test_as_many_agents_are_stopped_as_may_change_at_once() -> None:
    mocks = build(change_at_once="2")[0]

    agents = ("general-1", "general-2", "cheap-1")
    back = {f"{name}-back" for name in agents}
    assert [mocks.before(name) & back for name in agents] == [set(), set(), {"general-1-back"}]


def test_a_machine_is_waited_for_when_it_has_changed_and_not_when_it_is_made(guarded: Any) -> None:
    kind, inputs = guarded[0].made["general-1-back"]
    spec = json.loads(inputs["stdin"])

    assert kind == "command:local:Command"
    assert "create" not in inputs
    assert "delete" not in inputs
    assert inputs["update"].endswith("-m components.machine up")
    assert "RETURNED_ADDRESS=10.80.0.9\n" in spec.pop("script")
    assert spec == {
        **{key: joining(guarded[0], "general-1")[key] for key in WAY},
        "name": "general-1",
        "machine": {"id": "general-1-id", "type": "m6i.xlarge"},
        "dial_seconds": 180,
        "store": [],
        "images": None,
    }


def test_before_a_new_machine_is_asked_it_is_waited_for(guarded: Any) -> None:
    kind, inputs = guarded[0].made["general-1-answers"]

    assert kind == "command:local:Command"
    assert inputs["create"] == ".venv/bin/python -m components.machine reach"
    assert not {"update", "delete"} & inputs.keys()
    assert json.loads(inputs["stdin"]) == {
        **{key: joining(guarded[0], "general-1")[key] for key in WAY},
        "name": "general-1",
        "machine": {"id": "general-1-id", "type": "m6i.xlarge"},
        "dial_seconds": 180,
    }
    assert guarded[0].recorder["general-1-answers"].deleted_with == "general-1"
    assert guarded[0].before("general-1-join") >= {"general-1-answers", "general-1-back"}


def test_each_machine_is_asked_once_by_its_way_in_and_without_the_key() -> None:
    who: Asked = []
    build(bastion=True, ask=asking(who))

    login = {"port": 22, "user": "admin", "key": "~/.ssh/id_ed25519", "host_key": ED25519}
    bastion = {**login, "address": "198.51.100.9"}
    way = {**login, "address": "10.80.0.9", "bastion": bastion}
    assert sorted(who, key=lambda one: one[0]) == [
        ("cheap-1", {"agent"}, way),
        ("control-1", {"control"}, way),
        ("control-2", {"control"}, way),
        ("control-3", {"control"}, way),
        ("general-1", {"agent"}, way),
        ("general-2", {"agent"}, way),
    ]


def test_what_a_machine_lacks_stands_on_the_command_line_where_a_preview_shows_it(
    plain: Any,
) -> None:
    created = {name: plain[0].inputs(f"{name}-join")["create"] for name in ("general-1", "cheap-1")}

    up = ".venv/bin/python -m components.machine up"
    words = "repair 2: package conntrack is missing"
    assert created == {"general-1": f"{up} '{words}'", "cheap-1": up}


def test_what_may_be_kept_is_the_command_of_a_machine_that_does_not_answer(plain: Any) -> None:
    recorder = plain[0].recorder

    assert {made.name for made in recorder.made if made.transforms} == {
        f"{name}-join" for name, _, _ in placements(GROUPS, ("a", "b"))
    }


WAY = ("address", "port", "user", "key", "host_key", "bastion")


def test_operators_are_told_how_to_log_in_and_what_each_host_shows(
    plain: Any, guarded: Any
) -> None:
    open_to, behind = plain[2], guarded[2]

    assert open_to["ssh"]["control-1"] == "ssh -i ~/.ssh/id_ed25519 admin@198.51.100.9"
    assert open_to["known_hosts"] == f"198.51.100.9 {ED25519}\n" * 6
    assert set(behind["ssh"]) == {*open_to["ssh"], "bastion"}
    assert behind["ssh"]["bastion"] == open_to["ssh"]["control-1"]
    assert behind["ssh"]["control-1"] == (
        "ssh -i ~/.ssh/id_ed25519 -J admin@198.51.100.9 admin@10.80.0.9"
    )
    assert behind["known_hosts"].splitlines() == [
        f"198.51.100.9 {ED25519}",
        *[f"10.80.0.9 {ED25519}"] * 6,
    ]


ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/aws.md").read_text()
README = (ROOT / "README.md").read_text()


def test_the_documented_prices_are_those_of_the_estimate() -> None:
    sizes = re.search(r"^\| USD a month \| (.*) \|$", DOCUMENT, re.MULTILINE)
    rows = re.findall(r"^\| ([cmrt]\d[a-z]*) \| (.*) \|$", DOCUMENT, re.MULTILINE)
    assert sizes
    written = {
        f"{family}.{size}": price
        for family, prices in rows
        for size, price in zip(sizes[1].split(" | "), prices.split(" | "), strict=True)
        if price.strip()
    }

    smaller = {f"t3.{size}" for size in ("nano", "micro", "small", "medium")}
    assert written == {
        kind: f"{(price + PUBLIC_IPV4_HOUR) * HOURS:.0f}"
        for kind, price in HOUR.items()
        if kind not in smaller
    }


def test_the_documented_example_costs_what_is_said_of_it() -> None:
    settings = parse_settings("aws", stack_file("aws"))
    assert isinstance(settings.hosts, AwsHostsSettings)
    control = settings.hosts.control
    pools = [(pool.type, pool.disk_gb, pool.count) for pool in settings.hosts.agents]
    items = [(control.type, control.disk_gb, control.count), *pools]

    each = [monthly_usd([(kind, disk)] * count, balancers=0) for kind, disk, count in items]
    everything = monthly_usd([(kind, disk) for kind, disk, count in items for _ in range(count)])

    documented = re.findall(r"^\| (?:\d+ |balancer|all).* \| (\d+) \|$", README, re.MULTILINE)
    assert documented == [f"{usd:.0f}" for usd in (*each, monthly_usd([]), everything) if usd]
    assert f"comes to {everything:.0f} " in DOCUMENT
    shown = re.search(r"^```yaml\n(hosts:\n  on: aws\n.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert shown
    example = stack_file("aws")
    given = dict(stack_files.load(shown[1])["hosts"], public_key=example["hosts"]["public_key"])
    assert parse_settings("aws", {**example, "hosts": given}).hosts == settings.hosts
