"""Cluster, KubeDns and SmokeTest: what is put into the cluster."""

from __future__ import annotations

import pytest
from pulumi_command import local

from components.cluster import Cluster, ClusterArgs
from components.kube_dns import KubeDns, KubeDnsArgs, corefile_text
from components.smoke_test import SmokeTest, SmokeTestArgs
from tests.components.machines import host, variables


def make_cluster():
    api_server = local.Command("api-server")
    nodes = local.Command("nodes")
    return Cluster(
        "cluster",
        ClusterArgs(
            kubeconfig="KUBECONFIG",
            identifier="kubernetes-mesos/test",
            ends_with=api_server,
            runs_pods=[nodes],
        ),
    )


def make_dns(**more):
    return KubeDns(
        "kube-dns",
        KubeDnsArgs(
            **{
                "cluster": make_cluster(),
                "service_ip": "10.10.10.10",
                "domain": "cluster.local",
                "kube_master_url": "https://10.10.10.1",
                "etcd_image": "etcd:1",
                "skydns_image": "coredns:1",
                "kube2sky_image": "kube2sky:1",
                **more,
            }
        ),
    )


def test_the_provider_knows_its_cluster_whatever_its_kubeconfig_says(recorder, run):
    run(lambda: make_cluster().urn)

    assert recorder.children("cluster") == [("cluster-objects", "pulumi:providers:kubernetes")]
    inputs = recorder["cluster-objects"].inputs
    assert inputs["kubeconfig"] == "KUBECONFIG"
    assert inputs["clusterIdentifier"] == "kubernetes-mesos/test"
    assert str(inputs["enableServerSideApply"]).lower() == "true"


def test_objects_that_a_killed_up_has_made_are_taken_up_again(recorder, run):
    run(lambda: make_cluster().urn)

    inputs = recorder["cluster-objects"].inputs
    assert str(inputs["upsertExistingObjects"]).lower() == "true"


def test_kube_dns_is_the_guides_trio(recorder, run):
    run(lambda: make_dns(replicas=2).urn)

    assert recorder.children("kube-dns") == [
        ("kube-dns-account", "kubernetes:core/v1:ServiceAccount"),
        ("kube-dns-binding", "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding"),
        ("kube-dns-controller", "kubernetes:core/v1:ReplicationController"),
        ("kube-dns-corefile", "kubernetes:core/v1:ConfigMap"),
        ("kube-dns-role", "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole"),
        ("kube-dns-service", "kubernetes:core/v1:Service"),
    ]
    spec = recorder["kube-dns-controller"].inputs["spec"]
    containers = spec["template"]["spec"]["containers"]
    assert spec["replicas"] == 2
    assert {one["name"]: one["image"] for one in containers} == {
        "etcd": "etcd:1",
        "kube2sky": "kube2sky:1",
        "skydns": "coredns:1",
    }
    (kube2sky,) = [one for one in containers if one["name"] == "kube2sky"]
    assert kube2sky["args"] == ["--domain=cluster.local", "--kube_master_url=https://10.10.10.1"]


def test_every_container_says_what_it_needs(recorder, run):
    run(lambda: make_dns().urn)

    spec = recorder["kube-dns-controller"].inputs["spec"]
    for container in spec["template"]["spec"]["containers"]:
        assert sorted(container["resources"]["requests"]) == ["cpu", "memory"]
        assert list(container["resources"]["limits"]) == ["memory"]


def test_the_service_has_the_address_that_pods_ask(recorder, run):
    run(lambda: make_dns().urn)

    spec = recorder["kube-dns-service"].inputs["spec"]
    assert spec["clusterIP"] == "10.10.10.10"
    assert [(port["port"], port["protocol"]) for port in spec["ports"]] == [
        (53, "UDP"),
        (53, "TCP"),
    ]


def test_objects_end_with_their_cluster_and_only_pods_wait_for_nodes(recorder, run):
    run(lambda: make_dns().urn)

    for name, type_ in recorder.children("kube-dns"):
        made = recorder[name]
        assert made.deleted_with == "api-server", name
        assert ("nodes" in made.depends_on) == type_.endswith("ReplicationController"), name


def test_records_are_kept_under_the_domain():
    assert corefile_text("example.test").startswith("example.test:53 in-addr.arpa:53 {")


def make_smoke_test():
    dns = local.Command("dns")
    return SmokeTest(
        "smoke-test",
        SmokeTestArgs(
            cluster=make_cluster(),
            control=host("control-1"),
            image="busybox:1.35",
            dns_service_ip="10.10.10.10",
            service_address="10.10.10.1",
            after=[dns],
        ),
    )


def test_the_smoke_pod_is_asked_once_it_and_dns_are_there(recorder, run):
    answer = run(lambda: make_smoke_test().answer)

    assert recorder.children("smoke-test") == [
        ("smoke-test-control-1", "command:remote:Command"),
        ("smoke-test-pod", "kubernetes:core/v1:Pod"),
    ]
    assert recorder["smoke-test-control-1"].depends_on == ("dns", "smoke-test-pod")
    assert answer == "output of smoke-test-control-1"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SMOKE_NAME", "kubernetes"),
        ("SMOKE_SERVER", "10.10.10.10"),
        ("SMOKE_ADDRESS", "10.10.10.1"),
        ("SMOKE_POD", "busybox"),
    ],
)
def test_the_question_is_the_guides(recorder, run, variable, value):
    run(lambda: make_smoke_test().answer)

    assert variables(recorder["smoke-test-control-1"].inputs["stdin"])[variable] == value
