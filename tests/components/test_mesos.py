"""MesosMasters, NodeRuntime and MesosAgents: what each host is told."""

from __future__ import annotations

import subprocess

import pulumi
import pytest
from pulumi_command import local

from components.hosts import Role
from components.mesos_agents import MesosAgents, MesosAgentsArgs, attributes_text, size_text
from components.mesos_masters import MesosMasters, MesosMastersArgs
from components.node_runtime import NodeRuntime, NodeRuntimeArgs, api_url
from components.pki import Pki, PkiArgs
from tests.components.machines import VERSIONS, host, hosts, variables

ZK = "zk://10.90.7.10:2181/mesos"


def masters(control):
    return MesosMasters(
        "mesos-master",
        MesosMastersArgs(
            hosts=hosts(control=control).control,
            zookeeper_url=ZK,
            versions=VERSIONS,
            cluster="kubernetes-mesos/test",
        ),
    )


@pytest.mark.parametrize(("control", "quorum"), [(1, "1"), (3, "2"), (5, "3")])
def test_a_quorum_of_masters_is_more_than_half(recorder, run, control, quorum):
    run(lambda: masters(control).url)

    given = variables(recorder["mesos-master-control-1"].inputs["stdin"])
    assert given["MESOS_QUORUM"] == quorum


def test_masters_are_found_through_zookeeper_and_looked_at_on_the_first(recorder, run):
    def program():
        made = masters(3)
        return pulumi.Output.all(made.url, made.found_at)

    assert run(program) == ["http://10.90.7.10:5050", ZK]
    assert recorder.children("mesos-master") == [
        (f"mesos-master-control-{number}", "command:remote:Command") for number in (1, 2, 3)
    ]
    assert recorder["mesos-master-control-3"].depends_on == ("mesos-master-control-2",)


# Three masters that know each other through ZooKeeper; a curl that answers for those that are up.
FIRST, SECOND, THIRD = "10.90.7.10", "10.90.7.11", "10.90.7.12"
FIGURES = '{"master\\/elected":0.0,"registrar\\/log\\/recovered":%s,"system\\/cpus_total":2.0}'


@pytest.mark.parametrize(
    ("figures", "serve"),
    [
        ({FIRST: "1.0", THIRD: "1.0"}, True),
        ({THIRD: "1.0"}, True),
        ({FIRST: "0.0", THIRD: "0.0"}, False),  # they have just begun, too
        ({FIRST: "10.0"}, False),
        ({SECOND: "1.0"}, False),  # that is the one that asks
        ({}, False),
    ],
)
def test_a_master_waits_for_its_vote_where_others_have_theirs(recorder, run, figures, serve):
    run(lambda: masters(3).url)
    stdin = recorder["mesos-master-control-2"].inputs["stdin"]
    stdin = stdin.replace(ZK, f"zk://{FIRST}:2181,{SECOND}:2181,{THIRD}:2181/mesos")
    answers = "".join(
        f"*//{address}:5050/*) echo '{FIGURES % figure}' ;; " for address, figure in figures.items()
    )
    curl = f'curl() {{ case "$*" in {answers} *) return 7 ;; esac; }}'

    said = subprocess.run(
        ["bash", "-s"],
        input=stdin.replace('\nmain "$@"', f"\n{curl}\nif others_serve; then echo they do; fi"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said == ("they do\n" if serve else "")


def runtime(control=1, agents=2, issue=1, **versions):
    made = hosts(control=control, agents=agents)
    pki = Pki("pki", PkiArgs(hosts=made, service_address="10.10.10.1", issue=issue))
    return NodeRuntime(
        "node-runtime",
        NodeRuntimeArgs(
            hosts=made.agents,
            api_servers=made.control,
            pki=pki,
            versions={**VERSIONS, **versions},
            pod_network="10.244.0.0/16",
            pause_image="registry.k8s.io/pause:3.10",
            images=("busybox:1.35", "etcd:3.6"),
        ),
    )


def test_a_node_gets_its_own_certificates_and_no_others(recorder, run):
    run(lambda: runtime().urn)

    given = variables(recorder["node-runtime-agent-1"].inputs["stdin"])
    assert recorder.children("node-runtime") == [
        ("node-runtime-agent-1", "command:remote:Command"),
        ("node-runtime-agent-2", "command:remote:Command"),
    ]
    assert given["NODE_ADDRESS"] == "10.90.7.21"
    assert given["NODE_KEY"] == "kubelet-server KEY"
    assert given["NODE_AUTHORITY"] == "kubernetes CERT"
    assert given["NODE_IMAGES"] == "registry.k8s.io/pause:3.10 busybox:1.35 etcd:3.6"
    foreign = ("kubernetes KEY", "etcd KEY", "SA KEY", "admin KEY")
    assert not any(secret in value for value in given.values() for secret in foreign)


@pytest.mark.parametrize(
    ("control", "server"), [(1, "https://10.90.7.10:6443"), (3, "https://127.0.0.1:6444")]
)
def test_a_node_asks_the_only_api_server_or_the_proxy_before_several(
    recorder, run, control, server
):
    run(lambda: runtime(control).urn)

    given = variables(recorder["node-runtime-agent-1"].inputs["stdin"])
    assert f'"{server}"' in given["NODE_KUBELET_KUBECONFIG"]


def test_the_apis_url_depends_on_how_many_servers_there_are():
    assert api_url(["10.0.0.1"]) == "https://10.0.0.1:6443"
    assert api_url(["10.0.0.1", "10.0.0.2"]) == "https://127.0.0.1:6444"


def test_the_version_of_nodes_changes_with_what_they_are_made_of(recorder, run):
    version = run(lambda: runtime().version)
    others = [{"km": "x"}, {"kubernetes": "x"}, {"flannel": "x"}, {"issue": 2}]

    assert version not in [run(lambda other=other: runtime(**other).version) for other in others]


@pytest.mark.parametrize("same", [{"agents": 3}, {"etcd": "x"}, {"mesos": "x"}, {"cni": "x"}])
def test_the_version_of_nodes_stays_when_they_need_not_start_anew(recorder, run, same):
    assert run(lambda: runtime(**same).version) == run(lambda: runtime().version)


def sized(**more):
    size = {"cpus": 2, "memory_mb": 4096, "disk_gb": 20}
    return host("agent-1", **size, attributes={"b": "2", "a": "1"}, **more)


def agents(**more):
    prepared = local.Command("prepared")
    control_plane = local.Command("api-server")
    return MesosAgents(
        "mesos-agent",
        MesosAgentsArgs(
            **{
                "hosts": [sized()],
                "masters": [host("control-1")],
                "zookeeper_url": ZK,
                "versions": VERSIONS,
                "ports": ("80", "31000-32000"),
                "prepared": {"agent-1": prepared},
                "serving": [local.Command("masters")],
                "control": host("control-1"),
                "control_plane": control_plane,
                **more,
            }
        ),
    )


def test_an_agent_offers_what_its_host_has_once_it_is_prepared_and_masters_serve(recorder, run):
    run(lambda: agents().urn)

    made = recorder["mesos-agent-agent-1"]
    given = variables(made.inputs["stdin"])
    assert made.depends_on == ("masters", "prepared")
    assert given["MESOS_NAME"] == "agent-1"
    assert given["MESOS_MASTERS"] == "10.90.7.10:5050"
    assert given["MESOS_ATTRIBUTES"] == "a:1;b:2"
    assert given["MESOS_PORTS"] == "80-80,31000-32000"
    assert (given["MESOS_CPUS"], given["MESOS_MEMORY_MB"], given["MESOS_DISK_GB"]) == (
        "2",
        "4096",
        "20",
    )
    assert given["MESOS_RESERVED_MB"] == "512"


@pytest.mark.parametrize(("memory", "offered"), [("3200", "mem:888;"), ("16384", "mem:14072;")])
def test_an_agent_on_a_control_host_leaves_the_control_planes_memory_alone(
    recorder, run, memory, offered
):
    both = host("agent-1", roles=frozenset(Role), memory_mb=int(memory), cpus=2, disk_gb=20)
    run(lambda: agents(hosts=[both]).urn)

    stdin = recorder["mesos-agent-agent-1"].inputs["stdin"]
    said = subprocess.run(
        ["bash", "-s"],
        input=stdin.replace('\nmain "$@"', "\nresources"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert variables(stdin)["MESOS_RESERVED_MB"] == "2312"
    assert offered in said


def test_an_agent_looks_again_when_its_machine_is_of_another_type(recorder, run):
    run(lambda: agents(hosts=[sized(kind="m6i.large")]).urn)

    given = variables(recorder["mesos-agent-agent-1"].inputs["stdin"])
    assert given["MESOS_MACHINE"] == "m6i.large"


def test_an_agent_leaves_by_a_drain_before_anything_of_it_goes(recorder, run):
    run(lambda: agents().urn)

    made = recorder["departure-agent-1"]
    assert "create" not in made.inputs
    assert made.inputs["delete"].endswith(" down")
    assert made.inputs["connection"]["host"] == "10.90.7.10"
    assert made.depends_on == ("api-server", "mesos-agent-agent-1")
    assert made.deleted_with == "api-server"
    assert variables(made.inputs["stdin"])["DEPARTURE_AGENT"] == "agent-1"


def test_an_agent_whose_machine_is_gone_leaves_at_once_and_nothing_runs_on_it(recorder, run):
    run(lambda: agents(gone=["agent-7"]).urn)

    made = recorder["departure-agent-7"]
    assert [one.name for one in recorder.made if "agent-7" in one.name] == ["departure-agent-7"]
    assert made.inputs["create"].endswith(" up")
    assert made.inputs["connection"]["host"] == "10.90.7.10"
    assert made.depends_on == ("api-server",)
    assert variables(made.inputs["stdin"])["DEPARTURE_GONE"] == "yes"
    assert variables(recorder["departure-agent-1"].inputs["stdin"])["DEPARTURE_GONE"] == ""


@pytest.mark.parametrize(
    ("attributes", "text"),
    [({}, ""), ({"rack": "r1"}, "rack:r1"), ({"b": "2", "a": "1"}, "a:1;b:2")],
)
def test_attributes_are_written_as_mesos_reads_them(attributes, text):
    assert attributes_text(attributes) == text


@pytest.mark.parametrize(("size", "text"), [(None, ""), (2, "2"), (0.5, "0.5"), (16384, "16384")])
def test_a_size_is_written_plainly_or_not_at_all(size, text):
    assert size_text(size) == text
