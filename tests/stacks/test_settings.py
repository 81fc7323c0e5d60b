"""Settings of a lab stack: what may be said, and the one message for what may not."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network

import pulumi
import pytest
from pydantic import ValidationError

from lab import network
from stacks.problems import SettingsError, models_in
from stacks.settings import LAB_POOL, LabHosts, StackSettings, parse_settings
from stacks.table import settings_table
from tests.stacks.stack_files import stack_files


def lab(**more):
    return {"hosts": {"on": "lab", **more}}


def test_the_smallest_stack_file_says_only_where_the_hosts_are():
    settings = parse_settings("local", lab())

    assert isinstance(settings.hosts, LabHosts)
    assert settings.hosts.control.count == 1
    assert settings.hosts.agents.count == 2
    assert settings.hosts.network is None
    assert settings.networks.pods == IPv4Network("10.244.0.0/16")
    assert settings.networks.kubernetes_service == "10.10.10.1"
    assert settings.dns.service_ip == IPv4Address("10.10.10.10")
    assert settings.dns.domain == "cluster.local"
    assert settings.dns.replicas == 1
    assert settings.kubernetes.nodes == "on-demand"
    assert settings.mesos.allocation_interval == "200ms"


@pytest.mark.parametrize("agents", [3, {"count": 3}])
def test_a_number_of_agents_may_stand_alone(agents):
    assert parse_settings("local", lab(agents=agents)).hosts.agents.count == 3


@pytest.mark.parametrize("ports", [[], ["80", "443"], ["1-21", "23-2000", "11000-65535"]])
def test_agents_may_offer_ports_that_are_nobodys(ports):
    mesos = parse_settings("local", {**lab(), "mesos": {"agent_ports": ports}}).mesos
    assert mesos.agent_ports == tuple(ports)


def test_settings_cannot_be_changed():
    settings = parse_settings("local", lab())

    with pytest.raises(ValidationError, match="frozen"):
        settings.certificates_issue = 2


MISTAKES = [
    pytest.param({}, "cluster.hosts", "missing", "The machines", id="no hosts"),
    pytest.param(5, "cluster", "5", "a mapping of keys to values", id="no mapping"),
    pytest.param(lab(control=2), "cluster.hosts.control.count", "2", "an odd number", id="even"),
    pytest.param(lab(control=7), "cluster.hosts.control.count", "7", "5 or less", id="too many"),
    pytest.param(
        lab(agents="3"),
        "cluster.hosts.agents.count",
        '"3"',
        "a whole number, without quotes",
        id="number in quotes",
    ),
    pytest.param(lab(agents=2.5), "cluster.hosts.agents.count", "2.5", "whole number", id="half"),
    pytest.param(lab(agents=0), "cluster.hosts.agents.count", "0", "1 or more", id="no agent"),
    pytest.param(
        lab(agents={"count": True}), "cluster.hosts.agents.count", "true", "a whole", id="boolean"
    ),
    pytest.param(lab(agents=[1]), "cluster.hosts.agents", "[1]", "a mapping", id="list"),
    pytest.param(
        lab(agents={"memory_mb": 100}),
        "cluster.hosts.agents.memory_mb",
        "100",
        "1536 or more",
        id="too little memory",
    ),
    pytest.param(lab(agent=3), "cluster.hosts.agent", "unknown key", "agents", id="unknown key"),
    pytest.param(
        lab(network="10.90.7.0/16"),
        "cluster.hosts.network",
        '"10.90.7.0/16"',
        "its first address",
        id="host bits",
    ),
    pytest.param(lab(network="lan"), "cluster.hosts.network", '"lan"', "IPv4 network", id="word"),
    pytest.param(lab(network=10), "cluster.hosts.network", "10", "IPv4 network", id="not text"),
    pytest.param(
        lab(network="10.90.0.0/16"), "cluster.hosts.network", "10.90.0.0/16", "24", id="too large"
    ),
    pytest.param(
        {**lab(network="10.244.7.0/24")},
        "cluster.networks.pods",
        "10.244.0.0/16",
        "shares no address with cluster.hosts.network (10.244.7.0/24)",
        id="hosts in the pods' network",
    ),
    pytest.param(
        {**lab(), "networks": {"pods": "10.90.0.0/16"}},
        "cluster.networks.pods",
        "10.90.0.0/16",
        "shares no address with cluster.hosts.network (unset, so picked) (10.90.0.0/16)",
        id="pods where the lab picks",
    ),
    pytest.param(
        {
            **lab(),
            "networks": {"services": "10.90.200.0/24"},
            "dns": {"service_ip": "10.90.200.10"},
        },
        "cluster.networks.services",
        "10.90.200.0/24",
        "shares no address with cluster.hosts.network (unset, so picked) (10.90.0.0/16)",
        id="services where the lab picks",
    ),
    pytest.param(
        {**lab(), "networks": {"pods": "10.10.0.0/16"}},
        "cluster.networks.services",
        "10.10.10.0/24",
        "shares no address with cluster.networks.pods",
        id="services in the pods' network",
    ),
    pytest.param(
        {**lab(agents=5), "networks": {"pods": "10.244.0.0/22"}},
        "cluster.networks.pods",
        "10.244.0.0/22",
        "a /24 for each of the 5 agents",
        id="too few pods",
    ),
    pytest.param(
        {
            **lab(),
            "networks": {"services": "10.10.10.0/30"},
            "dns": {"service_ip": "10.10.10.2"},
        },
        "cluster.networks.services",
        "10.10.10.0/30",
        "a length from 12 to 28",
        id="too few services",
    ),
    pytest.param(
        {**lab(), "dns": {"service_ip": "10.10.11.10"}},
        "cluster.dns.service_ip",
        "10.10.11.10",
        "from 10.10.10.2 to 10.10.10.254",
        id="service address outside",
    ),
    pytest.param(
        {**lab(), "dns": {"service_ip": "10.10.10.1"}},
        "cluster.dns.service_ip",
        "10.10.10.1",
        "10.10.10.1 is `kubernetes` itself",
        id="service address taken",
    ),
    pytest.param(
        {**lab(), "dns": {"domain": "cluster_local"}},
        "cluster.dns.domain",
        '"cluster_local"',
        "DNS labels",
        id="no DNS label",
    ),
    pytest.param(
        {**lab(), "dns": {"replicas": 0}}, "cluster.dns.replicas", "0", "1 or more", id="no DNS"
    ),
    pytest.param(
        {**lab(), "kubernetes": {"nodes": "always"}},
        "cluster.kubernetes.nodes",
        '"always"',
        "'on-demand' or 'every-agent'",
        id="no such choice",
    ),
    pytest.param(
        {**lab(), "mesos": {"allocation_interval": "0.2"}},
        "cluster.mesos.allocation_interval",
        '"0.2"',
        "ms, secs or mins",
        id="no unit",
    ),
    pytest.param(
        {**lab(), "mesos": {"agent_ports": ["32000-31000"]}},
        "cluster.mesos.agent_ports",
        '["32000-31000"]',
        "as 31000-32000 or 443",
        id="backwards",
    ),
    pytest.param(
        {**lab(), "mesos": {"agent_ports": ["0-9"]}},
        "cluster.mesos.agent_ports",
        '["0-9"]',
        "ports from 1 to 65535",
        id="port 0",
    ),
    pytest.param(
        {**lab(), "mesos": {"agent_ports": [443]}},
        "cluster.mesos.agent_ports.0",
        "443",
        "text",
        id="port without quotes",
    ),
    pytest.param(
        {**lab(), "mesos": {"agent_ports": ["31000-32000", "80", "32000"]}},
        "cluster.mesos.agent_ports",
        '["31000-32000", "80", "32000"]',
        "each port once",
        id="port twice",
    ),
    pytest.param(
        {**lab(), "mesos": {"agent_ports": ["10000-11000"]}},
        "cluster.mesos.agent_ports",
        '["10000-11000"]',
        "nothing of the cluster itself listens on",
        id="port of our own",
    ),
    pytest.param(
        {**lab(), "images": {"busybox": "busybox"}},
        "cluster.images.busybox",
        '"busybox"',
        "a tag or a digest",
        id="image without version",
    ),
    pytest.param(
        lab(agents={"attributes": {"agent-1": {"rack": "a;b"}}}),
        "cluster.hosts.agents.attributes.agent-1",
        '{"rack": "a;b"}',
        "letters, digits",
        id="attribute that Mesos would split",
    ),
    pytest.param(
        lab(agents={"attributes": {"agent-3": {"rack": "a"}}}),
        "cluster.hosts.agents.attributes.agent-3",
        "attributes for an unknown agent",
        "agent-1, agent-2",
        id="attribute of nobody",
    ),
]


@pytest.mark.parametrize(("given", "place", "value", "allowed"), MISTAKES)
def test_a_mistake_is_one_message_with_place_value_allowed_and_remedy(given, place, value, allowed):
    with pytest.raises(SettingsError) as raised:
        parse_settings("local", given)

    head, where, says, remedy = str(raised.value).splitlines()
    assert head == "stacks/Pulumi.local.yaml has 1 mistake; nothing was changed."
    assert where == f"  {place}: {value}"
    assert says.startswith("    allowed: ")
    assert allowed in says
    assert remedy.startswith("    do this: ")
    assert len(remedy) > len("    do this: ")


def test_pods_may_be_where_a_lab_would_pick_when_it_need_not_pick():
    given = {**lab(network="10.91.7.0/24"), "networks": {"pods": "10.90.0.0/16"}}

    assert str(parse_settings("local", given).networks.pods) == "10.90.0.0/16"


def test_the_lab_picks_where_the_settings_say_that_it_does():
    assert network.POOL == LAB_POOL


def test_all_mistakes_are_told_at_once():
    given = {**lab(control=2, agents="x", nework=1), "dns": {"domain": ".", "replicas": -1}}

    with pytest.raises(SettingsError) as raised:
        parse_settings("local", given)

    places = [
        line.split(":")[0].strip()
        for line in str(raised.value).splitlines()
        if line.startswith("  cluster")
    ]
    assert sorted(places) == [
        "cluster.dns.domain",
        "cluster.dns.replicas",
        "cluster.hosts.agents.count",
        "cluster.hosts.control.count",
        "cluster.hosts.nework",
    ]


def test_all_contradictions_are_told_at_once():
    given = {**lab(network="10.244.7.0/24"), "dns": {"service_ip": "10.1.1.1"}}

    with pytest.raises(SettingsError, match="2 mistakes"):
        parse_settings("local", given)


def test_a_misspelt_key_is_recognised():
    with pytest.raises(SettingsError, match="did you mean 'network'"):
        parse_settings("local", lab(nework=None))


def test_an_error_shows_as_one_message_without_a_stack_trace():
    assert issubclass(SettingsError, pulumi.RunError)


@pytest.mark.parametrize(("stack", "given"), stack_files().items(), ids=list(stack_files()))
def test_every_stack_file_is_valid(stack, given):
    parse_settings(stack, given)


def leaves(model):
    for field in model.model_fields.values():
        inner = list(models_in(field.annotation))
        yield from (leaf for one in inner for leaf in leaves(one))
        if not inner:
            yield field


def test_the_table_has_a_row_for_every_setting_with_its_meaning():
    table = settings_table(StackSettings)

    for field in leaves(StackSettings):
        assert field.description
        assert f"| {field.description} |" in table


def test_the_table_shows_defaults_as_the_file_would_write_them():
    table = settings_table(StackSettings)

    assert "| `networks.pods` | network | `10.244.0.0/16` |" in table
    assert "| `dns.replicas` | whole number | `1` |" in table
    assert "| `kubernetes.nodes` | `on-demand` or `every-agent` | `on-demand` |" in table


def test_settings_survive_the_way_through_pulumis_json():
    given = json.loads(json.dumps(lab(agents=3)))

    assert parse_settings("local", given) == parse_settings("local", lab(agents=3))
