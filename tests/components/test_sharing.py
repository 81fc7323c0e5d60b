"""MesosSharing and MesosFramework: what is made, and in which order it goes."""

from __future__ import annotations

import json
import subprocess

import pytest
from pulumi_command import local

from components.mesos_framework import MesosFramework, MesosFrameworkArgs, environment_text
from components.mesos_sharing import MesosSharing, MesosSharingArgs, RoleShare, roles_text
from tests.components.machines import hosts, variables

SPARK = RoleShare(name="spark", weight=2, guarantees={"cpus": 1}, limits={"mem": 2048, "cpus": 3})
BATCH = RoleShare(name="batch")


def sharing(*roles):
    return MesosSharing(
        "mesos-sharing",
        MesosSharingArgs(hosts=hosts(control=3).control, roles=roles, after=[local.Command("m")]),
    )


def test_one_command_sets_all_roles_once_masters_and_agents_are_there(recorder, run):
    run(lambda: sharing(SPARK, BATCH).urn)

    assert recorder.children("mesos-sharing") == [
        ("mesos-sharing-control-1", "command:remote:Command")
    ]
    made = recorder["mesos-sharing-control-1"]
    given = variables(made.inputs["stdin"])
    assert made.depends_on == ("m",)
    assert given["SHARING_MASTERS"] == "10.90.7.10:5050,10.90.7.11:5050,10.90.7.12:5050"
    assert json.loads(given["SHARING_ROLES"])["spark"] == {
        "weight": 2,
        "guarantees": {"cpus": 1},
        "limits": {"cpus": 3, "mem": 2048},
    }


def test_without_roles_nothing_is_made(recorder, run):
    run(lambda: sharing().urn)

    assert recorder.children("mesos-sharing") == []


def test_each_role_is_one_line_so_that_a_preview_shows_which_changes():
    before, after = (
        roles_text([RoleShare(name="spark", weight=weight), BATCH]) for weight in (1, 3)
    )

    changed = set(after.splitlines()) - set(before.splitlines())
    assert changed == {'"spark": {"guarantees": {}, "limits": {}, "weight": 3}'}
    assert roles_text([SPARK, BATCH]) == roles_text([BATCH, SPARK])


def framework(**more):
    return MesosFramework(
        "framework-chronos",
        MesosFrameworkArgs(
            **{
                "hosts": hosts(control=3).control,
                "mesos_master": "zk://10.90.7.10:2181/mesos",
                "name": "chronos",
                "command": "exec chronos",
                "mesos_name": "Chronos 2",
                "after": [local.Command("m")],
                **more,
            }
        ),
    )


def test_a_framework_runs_on_the_first_host_and_is_torn_down_after_its_unit(recorder, run):
    run(lambda: framework(role="batch", uris={"https://x/y.jar": "ab"}, cpus=0.5).urn)

    assert recorder.children("framework-chronos") == [
        ("framework-chronos-control-1", "command:remote:Command"),
        ("teardown-Chronos 2", "command:remote:Command"),
    ]
    unit, teardown = recorder["framework-chronos-control-1"], recorder["teardown-Chronos 2"]
    assert unit.depends_on == ("m", "teardown-Chronos 2"), "what depends goes first"
    assert teardown.depends_on == ("m",)
    assert "create" not in teardown.inputs
    assert variables(teardown.inputs["stdin"])["FRAMEWORK_MESOS_NAME"] == "Chronos 2"
    given = variables(unit.inputs["stdin"])
    assert given["RECIPE"] == "mesos-framework-chronos"
    assert given["FRAMEWORK_URIS"] == "ab https://x/y.jar"
    assert given["FRAMEWORK_CPU_QUOTA"] == "50%"
    assert given["FRAMEWORK_ENVIRONMENT"].splitlines() == [
        'LIBPROCESS_IP="10.90.7.10"',
        'MESOS_MASTER="zk://10.90.7.10:2181/mesos"',
        'MESOS_ROLE="batch"',
    ]


def test_the_first_of_its_ports_is_where_mesos_answers_a_framework(recorder, run):
    run(lambda: framework(ports=(9050, 4400)).urn)

    given = variables(recorder["framework-chronos-control-1"].inputs["stdin"])
    assert 'LIBPROCESS_PORT="9050"' in given["FRAMEWORK_ENVIRONMENT"].splitlines()


def test_a_framework_that_chooses_its_leader_runs_on_every_control_host(recorder, run):
    run(lambda: framework(on_every_host=True).urn)

    names = [name for name, _ in recorder.children("framework-chronos")]
    assert names == [*(f"framework-chronos-control-{n}" for n in (1, 2, 3)), "teardown-Chronos 2"]


@pytest.mark.parametrize("value", ["plain", "two words", 'a "b" $HOME `id` \\n', "it's", "50%", ""])
def test_a_variable_keeps_its_value_between_systemds_quotes(value):
    # The quoting rules of systemd's EnvironmentFile are, for these, the shell's.
    text = environment_text({"NAME": value})
    done = subprocess.run(
        ["bash", "-c", f'{text}; printf %s "$NAME"'], capture_output=True, text=True, check=True
    )

    assert done.stdout == value
