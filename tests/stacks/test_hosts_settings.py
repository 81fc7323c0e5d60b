"""Settings of metal and aws: every mistake is one message with place, value, allowed, remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from preflight import stack_file
from stacks.aws_settings import AwsHostsSettings
from stacks.metal_settings import MetalHostsSettings
from stacks.problems import SettingsError
from stacks.settings import parse_settings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHG8rSCkeRc+L9nVWVYj0gIaY2eVeyC636bntrN0WLEP"
STACKS = Path(__file__).resolve().parent.parent.parent / "stacks"


def control(**more: Any) -> dict[str, Any]:
    return {"name": "rack1", "address": "10.0.0.11", "roles": ["control"], **more}


def agent(**more: Any) -> dict[str, Any]:
    return {"name": "rack2", "address": "10.0.0.12", "roles": ["agent"], **more}


def metal(*machines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"hosts": {"on": "metal", "machines": list(machines), **more}}


def aws(**more: Any) -> dict[str, Any]:
    needed = {"owner": "me", "operators": ["203.0.113.0/24"], "public_key": KEY}
    return {"hosts": {"on": "aws", **needed, **more}}


@pytest.mark.parametrize("stack", ["metal", "aws"])
def test_the_example_stack_files_are_good(stack: str) -> None:
    data = stack_file.load((STACKS / f"Pulumi.{stack}.yaml").read_text())

    settings = parse_settings(stack, data["config"]["kubernetes-mesos:cluster"])

    assert settings.hosts.on == stack


def test_machines_that_are_gone_stay_in_the_file_and_nowhere_else() -> None:
    given = metal(control(), agent(), agent(name="rack3", address="10.0.0.12", gone=True))

    hosts = parse_settings("metal", given).hosts

    assert isinstance(hosts, MetalHostsSettings)
    assert [machine.name for machine in hosts.alive] == ["rack1", "rack2"]


@pytest.mark.parametrize("bundle", [True, False, "/srv/b.tar", "~/b.tar"])
def test_a_bundle_is_in_the_caches_or_in_a_file(bundle: bool | str) -> None:
    hosts = parse_settings("metal", metal(control(), agent(), bundle=bundle)).hosts

    assert isinstance(hosts, MetalHostsSettings)
    assert hosts.bundle == bundle


@pytest.mark.parametrize(
    ("given", "network"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.0/255.255.255.0", "203.0.113.0/24"),
    ],
)
def test_operators_are_written_the_way_aws_writes_networks(given: str, network: str) -> None:
    hosts = parse_settings("aws", aws(operators=[given])).hosts

    assert isinstance(hosts, AwsHostsSettings)
    assert hosts.operators == (network,)


@pytest.mark.parametrize("owner", ["platform@example.org", "Büro 3", "team=a+b/c:d_e-f"])
def test_an_owner_may_be_what_a_tag_may_be(owner: str) -> None:
    assert parse_settings("aws", aws(owner=owner)).hosts.owner == owner


@pytest.mark.parametrize(
    ("given", "place", "value", "allowed"),
    [
        pytest.param(
            metal(control(), agent(name="rack1")),
            *("hosts.machines.1.name", "rack1", "each name once"),
            id="duplicate name",
        ),
        pytest.param(
            metal(control(), agent(address="10.0.0.11")),
            *("hosts.machines.1.address", "10.0.0.11", "each address once"),
            id="duplicate address",
        ),
        pytest.param(
            metal(control(roles=["master"]), agent()),
            *("hosts.machines.0.roles.0", '"master"', "'control' or 'agent'"),
            id="a role that does not exist",
        ),
        pytest.param(
            metal(control()),
            *("hosts.machines", "no machine with role agent", "at least one"),
            id="a role nobody has",
        ),
        pytest.param(
            metal(agent()),
            *("hosts.machines", "0 with role control", "1, 3 or 5"),
            id="no control host",
        ),
        pytest.param(
            metal(control(), agent(roles=["control", "agent"])),
            *("hosts.machines", "2 with role control (rack1, rack2)", "1, 3 or 5"),
            id="an even number of control hosts",
        ),
        pytest.param(
            metal(
                control(),
                control(name="rack4", address="10.0.0.14"),
                control(name="rack5", address="10.0.0.15", gone=True),
                agent(),
            ),
            *(
                "hosts.machines",
                "2 with role control, and rack5 gone",
                "under the same name and address",
            ),
            id="a control host that is gone",
        ),
        pytest.param(
            metal(control(host_key="AAAA"), agent()),
            *("hosts.machines.0.host_key", '"AAAA"', "ssh-ed25519"),
            id="no host key",
        ),
        pytest.param(
            metal(control(host_key=KEY[:-4]), agent()),
            *("hosts.machines.0.host_key", f'"{KEY[:-4]}"', "all of its base64 text"),
            id="a host key that was cut short",
        ),
        pytest.param(
            metal(control(host_key=KEY.replace("ssh-ed25519", "ssh-rsa")), agent()),
            *("hosts.machines.0.host_key", '"ssh-rsa AAAAC3', "a public key"),
            id="a host key of another kind than it says",
        ),
        pytest.param(
            metal(control(name="Rack 1"), agent()),
            *("hosts.machines.0.name", '"Rack 1"', "DNS label"),
            id="no name",
        ),
        pytest.param(
            metal(control(address="rack1.lan"), agent()),
            *("hosts.machines.0.address", '"rack1.lan"', "IPv4 address"),
            id="no address",
        ),
        pytest.param(
            metal(control(address="10.244.1.1"), agent()),
            *("networks.pods", "10.244.0.0/16", "hosts.machines.0.address"),
            id="an address among the pods'",
        ),
        pytest.param(
            metal(control(), agent(fault_domain={"region": "eu", "zone": "r1"})),
            *("hosts.machines", "no fault_domain for rack1", "for every machine, or for none"),
            id="fault domains for some",
        ),
        pytest.param(
            metal(control(), agent(), key="id_ed25519"),
            *("hosts.key", '"id_ed25519"', "absolute path"),
            id="key by a relative path",
        ),
        pytest.param(
            metal(control(), agent(), bundle="b.tar"),
            *("hosts.bundle", '"b.tar"', "true, false, or the path of a file of `make bundle`"),
            id="bundle by a relative path",
        ),
        pytest.param(
            metal(control(), agent(), bundle=1),
            *("hosts.bundle", "1", "true, false, or the path of a file of `make bundle`"),
            id="bundle by a number",
        ),
        pytest.param(
            metal(control(), agent(), change_at_once="all"),
            *("hosts.change_at_once", '"all"', "25%"),
            id="no share",
        ),
        pytest.param(
            metal(control(port=70000), agent()),
            *("hosts.machines.0.port", "70000", "65535 or less"),
            id="no port",
        ),
        pytest.param(
            metal(control(adress="10.0.0.9"), agent()),
            *("hosts.machines.0.adress", "unknown key", "address"),
            id="unknown key",
        ),
        pytest.param(
            metal(control(), agent(attributes={"a b": "c"})),
            *("hosts.machines.1.attributes", '{"a b": "c"}', "letters, digits"),
            id="no attribute",
        ),
        pytest.param(
            aws(operators=["0.0.0.0/0"]),
            *("hosts.operators", '["0.0.0.0/0"]', "not the whole internet"),
            id="the whole internet as operators",
        ),
        pytest.param(
            aws(operators=["0.0.0.0/0.0.0.0"]),
            *("hosts.operators", '["0.0.0.0/0.0.0.0"]', "not the whole internet"),
            id="the whole internet by its mask",
        ),
        pytest.param(
            aws(operators=["203.0.113.9/24"]),
            *("hosts.operators", '["203.0.113.9/24"]', "IPv4 networks"),
            id="operators by an address that is not a network's",
        ),
        pytest.param(
            aws(operators=["2001:db8::/32"]),
            *("hosts.operators", '["2001:db8::/32"]', "IPv4 networks"),
            id="operators by IPv6",
        ),
        pytest.param(
            aws(operators=["203.0.113.7", "203.0.113.7/32"]),
            *("hosts.operators", '["203.0.113.7", "203.0.113.7/32"]', "each network once"),
            id="the same operators in two words",
        ),
        pytest.param(
            {"hosts": {**aws()["hosts"], "public_key": "ssh-ed25519 AAAA"}},
            *("hosts.public_key", '"ssh-ed25519 AAAA"', "[A-Za-z0-9+/]{40,}"),
            id="half a public key",
        ),
        pytest.param(
            aws(owner="R&D"),
            *("hosts.owner", '"R&D"', "the value of an AWS tag"),
            id="an owner with a letter that no tag may have",
        ),
        pytest.param(
            aws(owner="ops\n"), *("hosts.owner", '"ops\\n"', "AWS tag"), id="an owner of two lines"
        ),
        pytest.param(
            aws(owner="AWS:ops"),
            *("hosts.owner", '"AWS:ops"', "not beginning with aws:"),
            id="an owner with AWS' own prefix",
        ),
        pytest.param(
            aws(agents=[{"name": "arm", "count": 1, "type": "m7g.large"}]),
            *("hosts.agents.0.type", '"m7g.large"', "x86_64"),
            id="an Arm type",
        ),
        pytest.param(
            aws(network="8.8.0.0/16"),
            *("hosts.network", '"8.8.0.0/16"', "private network"),
            id="a network that is not ours",
        ),
        pytest.param(
            aws(network="10.244.0.0/16"),
            *("networks.pods", "10.244.0.0/16", "hosts.network"),
            id="a VPC over the pods",
        ),
        pytest.param(
            aws(agents=[{"name": "control", "count": 1}]),
            *("hosts.agents.0.name", "control", "other than control"),
            id="a pool called control",
        ),
        pytest.param(
            aws(control={"count": 2}),
            *("hosts.control.count", "2", "1, 3 or 5"),
            id="two control hosts",
        ),
        pytest.param(
            aws(zones=["a", "a"]), *("hosts.zones", "a, a", "each once"), id="a zone twice"
        ),
        pytest.param(
            {"hosts": {"on": "azure"}},
            *("hosts.on", '"azure"', "'lab', 'metal', 'aws'"),
            id="unknown kind",
        ),
    ],
)
def test_a_mistake_is_one_message(given: object, place: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings("metal", given)

    text = str(caught.value)
    assert "1 mistake;" in text
    assert f"cluster.{place}: {value}" in text
    assert allowed in text.partition("allowed: ")[2]
    assert "do this: " in text
