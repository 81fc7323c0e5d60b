"""ControlPlane: five commands a host, in the order in which they can run."""

from __future__ import annotations

import json

import pulumi
import pytest
import yaml
from pulumi_command import local

from components.control_plane import ControlPlane, ControlPlaneArgs, etcd_members
from components.hosts import Hosts
from components.pki import Pki, PkiArgs
from components.recipe import RECIPES
from stacks.kubernetes_settings import DefaultRequests, Kubernetes, NodeOverhead
from tests.components.machines import VERSIONS, host, hosts, variables


def control_plane(control=1, **more):
    made = hosts(control=control)
    pki = Pki("pki", PkiArgs(hosts=made, service_address="10.10.10.1"))
    return ControlPlane(
        "control-plane",
        ControlPlaneArgs(
            **{
                "hosts": made.control,
                "pki": pki,
                "mesos_master": "zk://10.90.7.10:2181/mesos",
                "versions": VERSIONS,
                "pod_network": "10.244.0.0/16",
                "service_network": "10.10.10.0/24",
                "dns_service_ip": "10.10.10.10",
                "domain": "cluster.local",
                "kubernetes": Kubernetes(),
                "node_version": "v1",
                **more,
            }
        ),
    )


def given(recorder, name):
    return variables(recorder[name].inputs["stdin"])


def test_each_host_gets_five_commands(recorder, run):
    run(lambda: control_plane(control=3).kubeconfig)

    recipes = ("etcd", "kube-apiserver", "kube-controller-manager", "km-scheduler", "node-version")
    assert recorder.children("control-plane") == sorted(
        (f"{recipe}-control-{number}", "command:remote:Command")
        for recipe in recipes
        for number in (1, 2, 3)
    )


def test_etcd_and_api_servers_change_one_after_another_and_etcd_first(recorder, run):
    run(lambda: control_plane(control=3).kubeconfig)

    etcd = {f"etcd-control-{number}" for number in (1, 2, 3)}
    assert recorder["etcd-control-2"].depends_on == (
        "etcd-control-1",
        "pki-authorities",
        "pki-control-2",
    )
    assert etcd <= set(recorder["kube-apiserver-control-1"].depends_on)
    assert "kube-apiserver-control-1" in recorder["kube-apiserver-control-2"].depends_on


@pytest.mark.parametrize("recipe", ["kube-controller-manager", "km-scheduler"])
def test_what_asks_an_api_server_is_started_after_it(recorder, run, recipe):
    run(lambda: control_plane(control=3).kubeconfig)

    for number in (1, 2, 3):
        made = recorder[f"{recipe}-control-{number}"]
        assert f"kube-apiserver-control-{number}" in made.depends_on


def test_etcd_knows_its_members_and_itself(recorder, run):
    run(lambda: control_plane(control=3).kubeconfig)

    values = given(recorder, "etcd-control-2")
    assert values["ETCD_NAME"] == "control-2"
    assert values["ETCD_ADDRESS"] == "10.90.7.11"
    assert values["ETCD_MEMBERS"] == (
        "control-1=https://10.90.7.10:2380,"
        "control-2=https://10.90.7.11:2380,"
        "control-3=https://10.90.7.12:2380"
    )
    assert values["ETCD_KEY"] == "etcd KEY"


def test_the_api_server_gets_every_key_it_needs_and_no_authoritys(recorder, run):
    run(lambda: control_plane().kubeconfig)

    values = given(recorder, "kube-apiserver-control-1")
    assert values["API_ETCD_SERVERS"] == "https://10.90.7.10:2379"
    assert values["API_ISSUER"] == "https://kubernetes.default.svc.cluster.local"
    assert values["API_SERVICE_ACCOUNT_KEY"] == "SA KEY"
    assert {name for name in values if "AUTHORITY" in name and "KEY" in values[name]} == set()


@pytest.mark.parametrize(("control", "elects"), [(1, "false"), (3, "true")])
def test_controllers_elect_a_leader_where_there_are_several(recorder, run, control, elects):
    run(lambda: control_plane(control=control).kubeconfig)

    values = given(recorder, "kube-controller-manager-control-1")
    assert values["CONTROLLERS_LEADER_ELECTION"] == elects


def test_km_is_told_what_the_guide_tells_it(recorder, run):
    run(lambda: control_plane(kubernetes=Kubernetes(nodes="every-agent")).kubeconfig)

    values = given(recorder, "km-scheduler-control-1")
    server = json.loads(values["KM_KUBECONFIG"])["clusters"][0]["cluster"]["server"]
    assert values["KM_MESOS_MASTER"] == "zk://10.90.7.10:2181/mesos"
    assert values["KM_CLUSTER_DNS"] == "10.10.10.10"
    assert values["KM_CLUSTER_DOMAIN"] == "cluster.local"
    assert values["KM_NODES"] == "every-agent"
    assert server == "https://127.0.0.1:6443"


TUNED = Kubernetes(
    idle_timeout="1m30s",
    offer_hold="2s",
    default_requests=DefaultRequests(cpus=0.05, memory_mb=64),
    node_overhead=NodeOverhead(cpus=0.25, memory_mb=256),
)


@pytest.mark.parametrize(
    ("kubernetes", "told"),
    [
        (Kubernetes(), ("5m", "5s", "0.01", "32", "0.1", "192")),
        (TUNED, ("1m30s", "2s", "0.05", "64", "0.25", "256")),
    ],
)
def test_km_is_told_when_nodes_leave_and_what_is_counted(recorder, run, kubernetes, told):
    run(lambda: control_plane(kubernetes=kubernetes).kubeconfig)

    values = given(recorder, "km-scheduler-control-1")
    names = ("IDLE_TIMEOUT", "OFFER_HOLD", "DEFAULT_CPUS", "DEFAULT_MEMORY_MB", "OVERHEAD_CPUS",
             "OVERHEAD_MEMORY_MB")  # fmt: skip
    assert tuple(values[f"KM_{name}"] for name in names) == told


def test_km_is_told_the_labels_of_each_agents_node(recorder, run):
    agents = Hosts(machines=(host("agent-1", labels={"tier": "db"}), host("agent-2")))
    run(lambda: control_plane(agent_labels=agents.agent_labels).kubeconfig)

    labels = json.loads(given(recorder, "km-scheduler-control-1")["KM_AGENT_LABELS"])
    assert labels == {"agent-1": {"tier": "db"}}


def test_km_is_told_of_new_nodes_when_hosts_have_what_they_are_made_of(recorder, run):
    def program():
        prepared = [local.Command("agent-1-has-it")]
        return control_plane(control=2, prepared=prepared).kubeconfig

    run(program)

    first, second = recorder["node-version-control-1"], recorder["node-version-control-2"]
    assert given(recorder, "node-version-control-1")["KM_NODE_VERSION"] == "v1"
    assert {"agent-1-has-it", "km-scheduler-control-1"} <= set(first.depends_on)
    assert "node-version-control-1" in second.depends_on
    assert "agent-1-has-it" not in recorder["km-scheduler-control-1"].depends_on


def test_it_gives_back_a_kubeconfig_and_kms_status_page(recorder, run):
    def program():
        made = control_plane()
        return pulumi.Output.all(made.kubeconfig, made.status_url)

    kubeconfig, status = run(program)

    cluster = json.loads(kubeconfig)["clusters"][0]["cluster"]
    assert cluster["server"] == "https://10.90.7.10:6443"
    assert status == "http://10.90.7.10:10251"


@pytest.mark.parametrize(
    ("more", "contexts"),
    [
        (
            {"control": 3},
            {
                "kubernetes-mesos": "https://10.90.7.10:6443",
                "control-1": "https://10.90.7.10:6443",
                "control-2": "https://10.90.7.11:6443",
                "control-3": "https://10.90.7.12:6443",
            },
        ),
        ({"control": 3, "api_address": "lb"}, {"kubernetes-mesos": "https://lb:6443"}),
    ],
)
def test_each_of_several_api_servers_is_a_context(recorder, run, more, contexts):
    config = json.loads(run(lambda: control_plane(**more).kubeconfig))

    servers = {one["name"]: one["cluster"]["server"] for one in config["clusters"]}
    assert {one["name"]: servers[one["context"]["cluster"]] for one in config["contexts"]} == (
        contexts
    )
    assert config["current-context"] == "kubernetes-mesos"


def test_members_are_written_as_etcd_reads_them():
    assert etcd_members(["a", "b"], ["10.0.0.1", "10.0.0.2"]) == (
        "a=https://10.0.0.1:2380,b=https://10.0.0.2:2380"
    )


def test_rights_go_to_those_whose_certificates_exist():
    documents = list(yaml.safe_load_all((RECIPES / "access.yaml").read_text()))
    users = {
        subject["name"]
        for document in documents
        for subject in document.get("subjects", ())
        if subject["kind"] == "User"
    }

    assert users == {"kube-apiserver-kubelet-client", "system:km", "system:flannel"}
