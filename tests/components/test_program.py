"""The whole program, once for each lab stack file, and what changes when a number does."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import pulumi
import pytest

import preflight
from tests.stacks.stack_files import stack_files

ROOT = Path(__file__).resolve().parents[2]
STACKS = stack_files()
LAB = sorted(name for name, cluster in STACKS.items() if cluster["hosts"]["on"] == "lab")

COMPONENTS = {
    "cluster": "Cluster",
    "control-plane": "ControlPlane",
    "hosts": "LabHosts",
    "kube-dns": "KubeDns",
    "mesos-agent": "MesosAgents",
    "mesos-master": "MesosMasters",
    "mesos-sharing": "MesosSharing",
    "node-runtime": "NodeRuntime",
    "pki": "Pki",
    "smoke-test": "SmokeTest",
    "zookeeper": "ZooKeeper",
}


@pytest.fixture
def program(recorder, run, monkeypatch):
    """Run ``__main__.py`` with the settings of a stack; its exports."""

    # How large the machine is that runs the tests decides nothing here.
    monkeypatch.setattr(preflight.lab, "refusal", lambda *_: None)

    def run_program(cluster: dict[str, Any]) -> dict[str, Any]:
        exports: dict[str, Any] = {}
        monkeypatch.setattr(pulumi, "export", exports.__setitem__)
        # Only where the language host runs the program.
        monkeypatch.setattr(pulumi, "run", lambda _: None)
        monkeypatch.setattr(pulumi, "get_stack", lambda: "test")
        monkeypatch.setattr(pulumi, "get_project", lambda: "kubernetes-mesos")
        config = {"kubernetes-mesos:cluster": json.dumps(cluster)}
        pulumi.runtime.set_all_config(config)

        def body() -> pulumi.Output[Any]:
            runpy.run_path(str(ROOT / "__main__.py"))
            return pulumi.Output.from_input(dict(exports))

        return run(body)

    yield run_program
    pulumi.runtime.set_all_config({})


@pytest.mark.parametrize("stack", LAB)
def test_a_lab_stack_is_made_of_eleven_components(recorder, program, stack):
    program(STACKS[stack])

    names = {made.name for made in recorder.made}
    top = {made.name: made.type for made in recorder.made if made.parent not in names}
    assert top == {name: f"kubernetes-mesos:index:{kind}" for name, kind in COMPONENTS.items()}


@pytest.mark.parametrize("stack", LAB)
def test_every_other_resource_belongs_to_a_component(recorder, program, stack):
    program(STACKS[stack])

    components = set(COMPONENTS)
    strays = [made.name for made in recorder.made if made.name not in components]
    assert {recorder[name].parent for name in strays} <= components


def test_the_default_stack_makes_exactly_this(recorder, program):
    program({"hosts": {"on": "lab"}})

    kinds = Counter(made.type for made in recorder.made if made.name not in COMPONENTS)
    assert kinds == {
        # network, login; key and host of three; authorities, operator and three bundles
        "command:local:Command": 2 + 6 + 5,
        # zookeeper, mesos-master, five of the control plane, question; three of each agent
        "command:remote:Command": 8 + 2 * 3,
        "pulumi:providers:kubernetes": 1,
        "kubernetes:core/v1:ConfigMap": 1,
        "kubernetes:core/v1:Pod": 1,
        "kubernetes:core/v1:ReplicationController": 1,
        "kubernetes:core/v1:Service": 1,
        "kubernetes:core/v1:ServiceAccount": 1,
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole": 1,
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding": 1,
    }


def test_roles_and_frameworks_are_one_command_and_one_component_each(recorder, program):
    chronos = {"name": "chronos", "command": "exec chronos", "role": "batch"}
    program(
        {
            "hosts": {"on": "lab"},
            "kubernetes": {"roles": ["kubernetes", "*"]},
            "mesos": {"roles": [{"name": "batch", "weight": 2}]},
            "frameworks": [chronos],
        }
    )

    assert recorder["framework-chronos"].type == "kubernetes-mesos:index:MesosFramework"
    assert set(recorder["mesos-sharing-control-1"].depends_on) >= {
        "mesos-agent-agent-1",
        "mesos-agent-agent-2",
        "mesos-master-control-1",
    }
    # Frameworks find their roles set, and leave while masters still answer.
    assert set(recorder["teardown-chronos"].depends_on) >= {
        "mesos-master-control-1",
        "mesos-sharing-control-1",
    }
    assert "KM_ROLES='kubernetes,*'" in recorder["km-scheduler-control-1"].inputs["stdin"]


def test_its_outputs_say_where_to_look(recorder, program):
    exports = program({"hosts": {"on": "lab"}})

    assert exports["nodes"] == ["agent-1", "agent-2"]
    assert exports["mesos_url"] == "http://10.90.7.10:5050"
    assert exports["status_url"] == "http://10.90.7.10:10251"
    assert exports["smoke_test"] == "output of smoke-test-control-1"
    assert "https://10.90.7.10:6443" in exports["kubeconfig"]


def inputs_by_name(recorder):
    return {made.name: made.inputs for made in recorder.made if made.name not in COMPONENTS}


@pytest.fixture
def two(recorder, program):
    program({"hosts": {"on": "lab", "agents": 2}})
    made = inputs_by_name(recorder)
    recorder.made.clear()
    return made


def test_one_more_agent_is_one_more_host_and_nothing_else(recorder, program, two):
    program({"hosts": {"on": "lab", "agents": 3}})

    three = inputs_by_name(recorder)
    assert set(three) - set(two) == {
        "agent-3",
        "agent-3-key",
        "departure-agent-3",
        "mesos-agent-agent-3",
        "node-runtime-agent-3",
        "pki-agent-3",
    }
    assert {name: three[name] for name in two} == two


def test_the_same_settings_ask_for_the_same(recorder, program, two):
    program({"hosts": {"on": "lab", "agents": 2}})

    assert inputs_by_name(recorder) == two


def test_nothing_depends_on_where_the_clone_is_but_the_labs_own_name(recorder, program, two):
    mentions = [
        name for name, inputs in two.items() if str(ROOT) in json.dumps(inputs, default=str)
    ]

    # The network's owner is shown to people: another clone is another lab anyway.
    assert mentions == ["hosts-network"]
