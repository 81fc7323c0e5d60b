"""Settings of roles and frameworks: what may be said, and the one message for what may not."""

from __future__ import annotations

import pytest

from stacks.problems import SettingsError
from stacks.settings import parse_settings

HOSTS = {"hosts": {"on": "lab"}}
CHRONOS = {"name": "chronos", "command": "exec chronos"}
SHA256 = "0" * 64


def roles(*entries):
    return {**HOSTS, "mesos": {"roles": list(entries)}}


def frameworks(*entries):
    return {**HOSTS, "frameworks": list(entries)}


def test_nobody_is_named_unless_the_file_does():
    settings = parse_settings("local", HOSTS)

    assert settings.mesos.roles == ()
    assert settings.frameworks == ()
    assert settings.kubernetes.roles == ("*",)


def test_a_share_is_said_in_our_units_and_told_in_mesos():
    limits = {"memory_mb": 2048, "disk_gb": 1.5, "gpus": 1}
    (role,) = parse_settings(
        "local", roles({"name": "spark", "guarantees": {"cpus": 2}, "limits": limits})
    ).mesos.roles

    assert role.weight == 1
    assert role.guarantees.in_mesos == {"cpus": 2}
    assert role.limits.in_mesos == {"mem": 2048, "disk": 1536, "gpus": 1}


def test_a_framework_needs_a_name_and_a_command_only():
    (chronos,) = parse_settings("local", frameworks(CHRONOS)).frameworks

    assert (chronos.mesos_name, chronos.role, chronos.user) == ("chronos", "*", "nobody")
    assert (chronos.runs_on, chronos.uris, chronos.environment) == ("first", (), {})
    assert chronos.ports == ()


def test_ports_of_all_frameworks_are_known_together():
    given = frameworks(
        {**CHRONOS, "ports": [9050, 4400]}, {**CHRONOS, "name": "other", "ports": [9060]}
    )

    assert parse_settings("local", given).scheduler_ports == (9050, 4400, 9060)


MISTAKES = [
    pytest.param(
        {**HOSTS, "kubernetes": {"roles": []}},
        "cluster.kubernetes.roles",
        "[]",
        "at least one role",
        id="no role for pods",
    ),
    pytest.param(
        {**HOSTS, "kubernetes": {"roles": ["a", "a"]}},
        "cluster.kubernetes.roles",
        '["a", "a"]',
        "each role once",
        id="role of pods twice",
    ),
    pytest.param(
        {**HOSTS, "kubernetes": {"roles": ["-a"]}},
        "cluster.kubernetes.roles.0",
        '"-a"',
        "a Mesos role",
        id="option as role",
    ),
    *(
        pytest.param(
            roles({"name": name}),
            "cluster.mesos.roles.0.name",
            f'"{name}"',
            "a Mesos role",
            id=case,
        )
        for name, case in [
            ("", "empty"),
            ("a b", "blank"),
            ("a//b", "nothing between"),
            ("a/..", "dots"),
            ("*/a", "star"),
            ("a,b", "comma"),
        ]
    ),
    pytest.param(
        roles({"name": "a", "weight": 0}),
        "cluster.mesos.roles.0.weight",
        "0",
        "more than 0",
        id="weight 0",
    ),
    pytest.param(
        roles({"name": "a", "wieght": 2}),
        "cluster.mesos.roles.0.wieght",
        "unknown key",
        "weight",
        id="misspelt",
    ),
    pytest.param(
        roles({"name": "a", "limits": {"cpus": -1}}),
        "cluster.mesos.roles.0.limits.cpus",
        "-1",
        "0 or more",
        id="negative",
    ),
    pytest.param(
        roles({"name": "a", "limits": {"cpus": "2"}}),
        "cluster.mesos.roles.0.limits.cpus",
        '"2"',
        "a number, without quotes",
        id="number in quotes",
    ),
    pytest.param(
        roles({"name": "a"}, {"name": "a"}),
        "cluster.mesos.roles",
        "a twice",
        "each name once",
        id="role twice",
    ),
    pytest.param(
        roles({"name": "a/b", "limits": {"cpus": 1}}),
        "cluster.mesos.roles.0.limits",
        "quota for a/b",
        "a weight alone",
        id="quota that Mesos does not know",
    ),
    pytest.param(
        roles({"name": "a", "guarantees": {"memory_mb": 512}, "limits": {"memory_mb": 256}}),
        "cluster.mesos.roles.0.guarantees",
        "mem 512",
        "at most the limit of a: mem 256",
        id="more kept than allowed",
    ),
    pytest.param(
        frameworks({"name": "chronos"}),
        "cluster.frameworks.0.command",
        "missing",
        "Bash that runs it",
        id="no command",
    ),
    pytest.param(
        frameworks({**CHRONOS, "command": " "}),
        "cluster.frameworks.0.command",
        '" "',
        "a command for bash",
        id="empty command",
    ),
    pytest.param(
        frameworks({**CHRONOS, "name": "My Chronos"}),
        "cluster.frameworks.0.name",
        '"My Chronos"',
        "a DNS label",
        id="name that is no unit's",
    ),
    pytest.param(
        frameworks({**CHRONOS, "registers_as": "Kubernetes"}),
        "cluster.frameworks.0.registers_as",
        "Kubernetes",
        "not Kubernetes",
        id="our own name",
    ),
    pytest.param(
        frameworks(CHRONOS, {**CHRONOS, "name": "other", "registers_as": "chronos"}),
        "cluster.frameworks.1.registers_as",
        "chronos",
        "not Kubernetes, chronos",
        id="same name in Mesos",
    ),
    pytest.param(
        frameworks({**CHRONOS, "user": "Root"}),
        "cluster.frameworks.0.user",
        '"Root"',
        "a Unix user",
        id="no user",
    ),
    pytest.param(
        frameworks({**CHRONOS, "environment": {"A": "1\n2"}}),
        "cluster.frameworks.0.environment",
        '{"A": "1\\n2"}',
        "values of one line",
        id="lines",
    ),
    pytest.param(
        frameworks({**CHRONOS, "uris": [{"url": "ftp://x/y", "sha256": SHA256}]}),
        "cluster.frameworks.0.uris.0.url",
        '"ftp://x/y"',
        "a URL of a file",
        id="unknown scheme",
    ),
    pytest.param(
        frameworks({**CHRONOS, "uris": [{"url": "https://x/y"}]}),
        "cluster.frameworks.0.uris.0.sha256",
        "missing",
        "What its content must be",
        id="file without digest",
    ),
    pytest.param(
        frameworks({**CHRONOS, "uris": [{"url": "https://x/y", "sha256": "abc"}]}),
        "cluster.frameworks.0.uris.0.sha256",
        '"abc"',
        "String should match pattern '^[0-9a-f]{64}$'",
        id="file with no digest",
    ),
    pytest.param(
        frameworks({**CHRONOS, "runs_on": "agents"}),
        "cluster.frameworks.0.runs_on",
        '"agents"',
        "'first' or 'every'",
        id="no such place",
    ),
    pytest.param(
        frameworks({**CHRONOS, "ports": [9050, 5050]}),
        "cluster.frameworks.0.ports.1",
        "5050",
        "that the cluster does not use itself",
        id="the masters' port",
    ),
    pytest.param(
        frameworks({**CHRONOS, "ports": [31000]}),
        "cluster.frameworks.0.ports.0",
        "31000",
        "a port from 1024 to 30999",
        id="a port of tasks",
    ),
    pytest.param(
        frameworks({**CHRONOS, "ports": [9050]}, {**CHRONOS, "name": "other", "ports": [9050]}),
        "cluster.frameworks.1.ports",
        "9050",
        "chronos has this one",
        id="a port of another framework",
    ),
    pytest.param(
        frameworks({**CHRONOS, "ports": [9050, 9050]}),
        "cluster.frameworks.0.ports",
        "9050",
        "chronos has this one",
        id="a port twice",
    ),
]


@pytest.mark.parametrize(("given", "place", "value", "allowed"), MISTAKES)
def test_a_mistake_is_one_message_with_place_value_allowed_and_remedy(given, place, value, allowed):
    with pytest.raises(SettingsError) as raised:
        parse_settings("local", given)

    head, where, says, remedy = str(raised.value).splitlines()
    assert head == "stacks/Pulumi.local.yaml has 1 mistake; nothing was changed."
    assert where == f"  {place}: {value}"
    assert allowed in says
    assert remedy.startswith("    do this: ")
