"""Kubernetes resources, by scenario, against a real API server and controller manager.

There are no nodes: a test that waits for pods writes their status itself.
"""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable

import pytest

from tests.control_plane import ControlPlane, free_port
from tests.plugins.project import Project, wait_for

IMPORTS = """
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core import v1
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs as Meta
"""

Program = Callable[[str], str]


@pytest.fixture
def namespace(cluster: ControlPlane) -> str:
    """A namespace for one test, made outside Pulumi; it is not cleaned up: the cluster goes."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def program(cluster: ControlPlane, namespace: str) -> Program:
    """A program's head, with a provider for the test's namespace, before its body."""
    head = (
        IMPORTS
        + f"""
cluster = k8s.Provider(
    "cluster", kubeconfig="{cluster.kubeconfig}", namespace="{namespace}", cluster_identifier="test"
)
here = ResourceOptions(provider=cluster)
"""
    )
    return lambda body: head + body


def config_map(value: str, metadata: str = 'Meta(name="settings")') -> str:
    return (
        f'made = v1.ConfigMap("map", metadata={metadata}, data={{"key": "{value}"}}, opts=here)\n'
    )


def test_an_object_is_created_left_alone_updated_and_deleted(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    service = """
svc = v1.Service("svc", metadata=Meta(name="svc", labels={{"one": "{label}"}}),
    spec=v1.ServiceSpecArgs(ports=[v1.ServicePortArgs(port=80)]), opts=here)
pulumi.export("address", svc.spec.cluster_ip)
"""
    project.up(program(service.format(label="a")))
    made = cluster.object("service", "svc", namespace)
    assert project.output("address") == made["spec"]["clusterIP"]
    assert project.resources()["svc"]["id"] == f"{namespace}/svc"

    assert project.up().changes() == {"unchanged": 3}
    assert "unchanged" in project.preview().output

    assert project.up(program(service.format(label="b"))).changes()["updated"] == 1
    changed = cluster.object("service", "svc", namespace)
    assert changed["metadata"]["labels"] == {"one": "b"}
    assert changed["metadata"]["uid"] == made["metadata"]["uid"]

    project.destroy()
    assert cluster.object("service", "svc", namespace) is None


def test_what_the_program_no_longer_says_is_taken_away(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    labelled = 'v1.ConfigMap("map", metadata=Meta(name="settings"{}), opts=here)'
    project.up(program(labelled.format(', labels={"a": "1", "b": "2"}')))
    cluster.kubectl("-n", namespace, "label", "configmap", "settings", "theirs=yes")
    project.up(program(labelled.format(', labels={"a": "1"}')))
    labels = cluster.object("configmap", "settings", namespace)["metadata"]["labels"]
    assert labels == {"a": "1", "theirs": "yes"}


def test_an_object_without_a_name_gets_one_and_keeps_it(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    body = 'v1.Service("svc", metadata={}, spec={{"ports": [{{"port": 80}}]}}, opts=here)'
    project.up(program(body.format("None")))
    first = project.resources()["svc"]["id"]
    assert first.startswith(f"{namespace}/svc-")
    project.up(program(body.format('Meta(labels={"more": "yes"})')))
    assert project.resources()["svc"]["id"] == first


def test_data_of_a_config_map_replaces_it_before_or_after_as_its_name_allows(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    project.up(program(config_map("one")))
    named = cluster.object("configmap", "settings", namespace)["metadata"]["uid"]
    assert project.up(program(config_map("two"))).changes()["replaced"] == 1
    again = cluster.object("configmap", "settings", namespace)
    assert again["data"] == {"key": "two"}
    assert again["metadata"]["uid"] != named

    project.up(program(config_map("one", "None")))
    first = project.resources()["map"]["id"]
    project.up(program(config_map("two", "None")))
    assert project.resources()["map"]["id"] != first
    assert cluster.object("configmap", first.split("/")[1], namespace) is None


def test_a_preview_asks_the_server_and_changes_nothing(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    result = project.preview(program(config_map("one")))
    assert result.changes()["create"] == 3
    assert cluster.object("configmap", "settings", namespace) is None

    bad = """
v1.Service("svc", metadata=Meta(name="svc"), spec={"ports": [{"port": 99999}]}, opts=here)
"""
    assert "must be between 1 and 65535" in project.preview(program(bad), fails=True).output


def test_a_preview_before_the_cluster_exists_works(project: Project):
    body = (
        IMPORTS
        + f"""
from pulumi_command import local
config = local.Command("kubeconfig", create="cat /nowhere")
later = k8s.Provider("later", kubeconfig=config.stdout)
gone = k8s.Provider("gone", kubeconfig='''
apiVersion: v1
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{free_port()}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: ""}}}}]
current-context: c
''')
for name, provider in (("a", later), ("b", gone)):
    v1.ConfigMap(name, metadata=Meta(name=name), opts=ResourceOptions(provider=provider))
"""
    )
    assert project.preview(body).changes()["create"] == 6


def test_secrets_are_written_nowhere_in_the_clear(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    body = """
v1.Secret("secret", metadata=Meta(name="secret"), string_data={{"key": "{}"}}, opts=here)
"""
    result = project.up(program(body.format("swordfish-1")), "--diff")
    assert "swordfish" not in result.output
    project.up(program(body.format("swordfish-2")))
    assert cluster.object("secret", "secret", namespace)["data"] == {"key": "c3dvcmRmaXNoLTI="}
    written = project.everything_written()
    assert "swordfish" not in written
    assert "c3dvcmRmaXNo" not in written


def test_an_existing_object_is_not_taken_over_silently(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    cluster.kubectl("-n", namespace, "create", "configmap", "settings")
    result = project.up(program(config_map("one")), fails=True)
    assert f"ConfigMap {namespace}/settings" not in result.output.split("already exists")[1]
    assert "ConfigMap settings already exists" in result.output


def test_an_object_can_be_imported(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    cluster.kubectl("-n", namespace, "create", "configmap", "old", "--from-literal=key=value")
    result = project.up(
        program(
            f"""
v1.ConfigMap("map", metadata=Meta(name="old", namespace="{namespace}"), data={{"key": "value"}},
    api_version="v1", kind="ConfigMap",
    opts=ResourceOptions(provider=cluster, import_="{namespace}/old"))
"""
        )
    )
    assert "1 imported" in result.output
    assert project.up().changes() == {"unchanged": 3}


def test_a_conflict_names_the_other_manager_the_fields_and_the_way_out(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    body = """
v1.Service("svc", metadata=Meta(name="svc", annotations={annotations}),
    spec={{"ports": [{{"port": 80}}], "sessionAffinity": "{affinity}"}}, opts=here)
"""
    project.up(program(body.format(annotations="{}", affinity="None")))
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "svc"},
        "spec": {"sessionAffinity": "ClientIP"},
    }
    cluster.kubectl(
        *("-n", namespace, "apply", "--server-side", "--force-conflicts"),
        *("--field-manager=somebody", "-f", "-"),
        stdin=json.dumps(theirs),
    )
    refused = project.up(
        program(body.format(annotations='{"a": "b"}', affinity="None")), fails=True
    )
    message = " ".join(refused.output.split())
    assert "conflict of field managers: somebody manages .spec.sessionAffinity" in message
    forced = '{"pulumi.com/patchForce": "true"}'
    project.up(program(body.format(annotations=forced, affinity="None")))
    live = cluster.object("service", "svc", namespace)
    assert live["spec"]["sessionAffinity"] == "None"


def test_refresh_sees_changes_and_losses(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    project.up(
        program(
            'force = {"pulumi.com/patchForce": "true"}\n'
            'v1.Service("one", metadata=Meta(name="one", labels={"a": "b"}, annotations=force),'
            ' spec={"ports": [{"port": 80}]}, opts=here)\n'
            'v1.ConfigMap("two", metadata=Meta(name="two"), opts=here)'
        )
    )
    cluster.kubectl("-n", namespace, "label", "--overwrite", "service", "one", "a=c")
    cluster.kubectl("-n", namespace, "delete", "configmap", "two")
    assert project.run("refresh", "--yes", "--skip-preview").code == 0
    assert "two" not in project.resources()
    assert project.resources()["one"]["outputs"]["metadata"]["labels"] == {"a": "c"}
    assert project.up().changes()["created"] == 1
    assert cluster.object("service", "one", namespace)["metadata"]["labels"]["a"] == "b"


def test_a_controller_is_waited_for_until_its_pods_are_ready(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    project.write(
        program(
            """
labels = {"app": "web"}
v1.ReplicationController("rc", metadata=Meta(name="web"), opts=here, spec={
    "replicas": 1, "selector": labels, "template": {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "web", "image": "web"}]}}})
v1.ReplicationController("none", metadata=Meta(name="none"), opts=here, spec={
    "replicas": 0, "selector": {"app": "none"}, "template": {
        "metadata": {"labels": {"app": "none"}},
        "spec": {"containers": [{"name": "web", "image": "web"}]}}})
"""
        )
    )
    child = project.start("up", "--yes", "--skip-preview")
    names: list[str] = []

    def made() -> list[str]:
        listed = cluster.kubectl("-n", namespace, "get", "pods", "-l", "app=web", "-o", "name")
        names[:] = listed.split()
        return names

    wait_for(made, what="pod")
    assert child.poll() is None
    become_ready(cluster, namespace, names[0].removeprefix("pod/"))
    output, _ = child.communicate(timeout=30)
    assert child.returncode == 0, output
    assert project.resources()["rc"]["outputs"]["status"]["availableReplicas"] == 1


def test_a_pod_that_does_not_become_ready_is_kept_in_the_state_and_tried_again(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    body = program(
        """
v1.Pod("pod", metadata=Meta(name="pod", annotations={"pulumi.com/timeoutSeconds": "1"}),
    spec={"containers": [{"name": "web", "image": "web"}]}, opts=here)
"""
    )
    result = project.up(body, fails=True)
    assert f"Pod {namespace}/pod was made but did not become ready" in result.output
    assert "timed out waiting to be ready: the pod is Pending, not ready" in result.output
    assert project.resources()["pod"]["id"] == f"{namespace}/pod"
    become_ready(cluster, namespace, "pod")
    assert project.up(body).changes()["updated"] == 1


def test_a_failed_job_fails_at_once_with_the_reason(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    project.write(
        program(
            """
k8s.batch.v1.Job("job", metadata=Meta(name="job"), opts=here, spec={
    "backoffLimit": 0, "template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "work", "image": "work"}]}}})
"""
        )
    )
    child = project.start("up", "--yes", "--skip-preview")
    names: list[str] = []

    def made() -> list[str]:
        listed = cluster.kubectl("-n", namespace, "get", "pods", "-o", "name")
        names[:] = listed.split()
        return names

    wait_for(made, what="pod")
    cluster.set_status("pod", names[0].removeprefix("pod/"), {"phase": "Failed"}, namespace)
    output, _ = child.communicate(timeout=30)
    assert child.returncode != 0
    assert "BackoffLimitExceeded" in output


def test_annotations_skip_the_wait_or_say_what_to_wait_for(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    project.up(
        program(
            """
spec = {"containers": [{"name": "web", "image": "web"}]}
v1.Pod("skipped", metadata=Meta(name="skipped", annotations={"pulumi.com/skipAwait": "true"}),
    spec=spec, opts=here)
v1.Pod("pending", metadata=Meta(name="pending", annotations={
    "pulumi.com/waitFor": "jsonpath={.status.phase}=Pending"}), spec=spec, opts=here)
"""
        )
    )
    assert cluster.object("pod", "skipped", namespace)["status"]["phase"] == "Pending"


def test_an_interrupt_while_waiting_keeps_what_was_made(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    project.write(
        program(
            """
v1.Pod("pod", metadata=Meta(name="pod"), opts=here,
    spec={"containers": [{"name": "web", "image": "web"}]})
"""
        )
    )
    child = project.start("up", "--yes", "--skip-preview")
    wait_for(lambda: cluster.object("pod", "pod", namespace), what="pod")
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=30)
    assert child.returncode != 0, output
    assert project.resources()["pod"]["id"] == f"{namespace}/pod"
    project.destroy()


@pytest.mark.parametrize("upsert", [True, False])
def test_what_a_killed_engine_has_made_is_taken_up_again_where_that_is_allowed(
    project: Project, cluster: ControlPlane, namespace: str, program: Program, upsert: bool
):
    body = program(
        """
v1.Pod("pod", metadata=Meta(name="pod"), opts=here,
    spec={"containers": [{"name": "web", "image": "web"}]})
"""
    ).replace("cluster_identifier=", f"upsert_existing_objects={upsert}, cluster_identifier=")
    project.write(body)
    child = project.start("up", "--yes", "--skip-preview")
    wait_for(lambda: cluster.object("pod", "pod", namespace), what="pod")
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    assert project.run("cancel", "--yes").code == 0
    assert "pod" not in project.resources()
    become_ready(cluster, namespace, "pod")
    made = cluster.object("pod", "pod", namespace)["metadata"]["uid"]

    result = project.up(body, fails=not upsert)

    assert ("Pod pod already exists" in result.output) is not upsert
    assert cluster.object("pod", "pod", namespace)["metadata"]["uid"] == made
    assert ("pod" in project.resources()) is upsert


def test_a_deletion_that_a_finalizer_holds_says_so(
    project: Project, cluster: ControlPlane, namespace: str, program: Program
):
    body = """
v1.ConfigMap("map", metadata=Meta(name="held", finalizers=["example.com/hold"]),
    opts=ResourceOptions(provider=cluster, custom_timeouts=pulumi.CustomTimeouts(delete="1s")))
"""
    project.up(program(body))
    result = project.destroy(fails=True)
    assert "finalizers: example.com/hold" in " ".join(result.output.split())
    released = '{"metadata": {"finalizers": null}}'
    cluster.kubectl("-n", namespace, "patch", "configmap", "held", "--type=merge", "-p", released)
    project.destroy()


def test_namespaces_definitions_and_what_needs_them_come_in_one_update(
    project: Project, cluster: ControlPlane, program: Program
):
    group = f"{uuid.uuid4().hex[:6]}.example.com"
    project.up(
        program(
            f"""
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apiextensions.v1 import CustomResourceDefinition
space = v1.Namespace("space", metadata=Meta(name="{group.partition(".")[0]}-space"), opts=here)
v1.ConfigMap("map", metadata=Meta(name="map", namespace=space.metadata.name), opts=here)
anything = {{"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
CustomResourceDefinition("crd", metadata=Meta(name="things.{group}"), opts=here, spec={{
    "group": "{group}", "scope": "Namespaced",
    "names": {{"kind": "Thing", "plural": "things", "singular": "thing"}},
    "versions": [{{"name": "v1", "served": True, "storage": True,
                   "schema": {{"openAPIV3Schema": anything}}}}]}})
CustomResource("thing", api_version="{group}/v1", kind="Thing", metadata=Meta(name="thing"),
    spec={{"size": 3}}, opts=here)
"""
        )
    )
    assert project.resources()["thing"]["outputs"]["spec"] == {"size": 3}
    project.destroy()
    assert cluster.kubectl("get", "crd", f"things.{group}", check=False) == ""


def test_another_cluster_identifier_replaces_and_another_kubeconfig_does_not(
    project: Project, cluster: ControlPlane, namespace: str
):
    other = cluster.kubeconfig_of("second-admin", ("system:masters",))

    def body(kubeconfig: object, identifier: str) -> str:
        return (
            IMPORTS
            + f"""
cluster = k8s.Provider("cluster", kubeconfig="{kubeconfig}", cluster_identifier="{identifier}",
    namespace="{namespace}")
v1.ConfigMap("map", opts=ResourceOptions(provider=cluster))
"""
        )

    project.up(body(cluster.kubeconfig, "one"))
    first = project.resources()["map"]["id"]
    project.up(body(other, "one"))
    assert project.resources()["map"]["id"] == first
    project.up(body(other, "two"))
    assert project.resources()["map"]["id"] != first


def test_a_cluster_that_is_gone_can_be_let_go(
    project: Project, cluster: ControlPlane, program: Program, monkeypatch: pytest.MonkeyPatch
):
    project.up(program(config_map("one")))
    file = project.state_file
    gone = cluster.kubeconfig.with_name(f"gone-{uuid.uuid4().hex}")
    config = json.loads(cluster.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    gone.write_text(json.dumps(config))
    file.write_text(file.read_text().replace(str(cluster.kubeconfig), str(gone)))

    refused = " ".join(project.destroy(fails=True).output.split())
    assert "the configured Kubernetes cluster is unreachable" in refused
    assert "PULUMI_K8S_DELETE_UNREACHABLE=true" in refused
    assert "map" in project.resources()

    project.environment["PULUMI_K8S_DELETE_UNREACHABLE"] = "true"
    project.destroy()
    assert project.resources() == {}


def test_a_bad_kubeconfig_is_named(project: Project):
    body = (
        IMPORTS
        + """
cluster = k8s.Provider("cluster", kubeconfig="{}", context="nowhere")
v1.ConfigMap("map", opts=ResourceOptions(provider=cluster))
"""
    )
    refused = project.up(body.format("/no/such/file"), fails=True)
    assert "kubeconfig cannot be used: /no/such/file: No such file" in refused.output


def test_what_the_stand_in_lacks_is_refused_by_name(project: Project, program: Program):
    refused = project.preview(
        program('v1.ConfigMapPatch("patch", metadata=Meta(name="x"), opts=here)'), fails=True
    )
    assert "kubernetes:core/v1:ConfigMapPatch is not supported" in refused.output


def become_ready(cluster: ControlPlane, namespace: str, pod: str) -> None:
    """Write what a kubelet would write for a pod that runs."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    cluster.set_status("pod", pod, {"phase": "Running", "conditions": [ready]}, namespace)
