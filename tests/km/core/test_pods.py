"""Effective requests and limits, as Kubernetes defines them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from km.objects import Taint, Toleration, node_from_kubernetes
from km.pods import Limits, Spread, limits_of, need_of, pod_from_kubernetes, quantity
from km.resources import Resources, ports

DEFAULT = Resources.of(cpus=0.01, mem=32)


def box(cpu=None, memory=None, *, limits=None, **more):
    requests = {k: v for k, v in (("cpu", cpu), ("memory", memory)) if v}
    return {"name": "c", "resources": {"requests": requests, "limits": limits or {}}, **more}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", Fraction(1, 10)), ("0.5", Fraction(1, 2)), ("1.5Gi", 3 * 2**29), ("1e3", 1000),
        ("2E", 2 * 10**18), ("100n", Fraction(1, 10**7)), ("1Ki", 1024), ("5k", 5000),
        (".5", Fraction(1, 2)), ("1.", 1), ("12E2", 1200), ("-1", -1), ("1u", Fraction(1, 10**6)),
    ],
)  # fmt: skip
def test_quantities_are_read_exactly(text, value) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize("text", ["", "abc", "1 Gi", "1GiB", "--1", "1e", "0x10"])
def test_what_is_no_quantity_is_refused_with_what_is_allowed(text) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)


@given(st.integers(0, 10**9))
def test_milli_cpus_survive_exactly(milli) -> None:
    assert need_of({"containers": [box(f"{milli}m", "1Mi")]}, Resources()).cpus == milli


@pytest.mark.parametrize(
    ("spec", "cpus", "mem"),
    [
        pytest.param(
            {"containers": [box("100m", "64Mi"), box("200m", "64Mi")]}, 300, 128, id="sum"
        ),
        pytest.param({"containers": [{}]}, 10, 32, id="defaults"),
        pytest.param({"containers": [box("100m")]}, 100, 32, id="default-memory-only"),
        pytest.param(
            {"containers": [box("100m", "64Mi")], "initContainers": [box("1", "32Mi")]},
            1000, 64, id="init-container-larger-in-one-kind",
        ),
        pytest.param(
            {
                "containers": [box("100m", "64Mi")],
                "initContainers": [box("50m", "16Mi", restartPolicy="Always"), box("200m", "8Mi")],
            },
            250, 80, id="sidecar-beside-init-and-containers",
        ),
        pytest.param(
            {
                "containers": [box("100m", "64Mi")],
                "initContainers": [box("200m", "8Mi"), box("50m", "16Mi", restartPolicy="Always")],
            },
            200, 80, id="init-before-the-sidecar-runs-alone",
        ),
        pytest.param(
            {"containers": [box("100m", "64Mi")], "overhead": {"cpu": "10m", "memory": "16Mi"}},
            110, 80, id="overhead",
        ),
        pytest.param(
            {"containers": [box("100m", "64Mi")], "resources": {"requests": {"cpu": "1"}}},
            1000, 64, id="pod-level-requests-win",
        ),
        pytest.param(
            {"containers": [{"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}]},
            2000, 1024, id="a-limit-without-a-request-is-the-request",
        ),
    ],
)  # fmt: skip
def test_effective_requests_follow_kubernetes(spec, cpus, mem) -> None:
    need = need_of(spec, DEFAULT)

    assert (need.cpus, need.mem) == (cpus, mem * 1000)


def test_disk_gpus_and_host_ports_are_counted() -> None:
    container = {
        "resources": {"requests": {"ephemeral-storage": "1Gi"}, "limits": {"nvidia.com/gpu": "2"}},
        "ports": [{"hostPort": 8080}, {"containerPort": 80}],
    }

    need = need_of({"containers": [container]}, DEFAULT)

    assert (need.disk, need.gpus, need.ports) == (1024_000, 2000, ports([8080]))


def test_a_byte_more_is_rounded_up() -> None:
    assert need_of({"containers": [box("1", str(2**20 + 1))]}, DEFAULT).mem == 1001


@pytest.mark.parametrize(
    ("spec", "limits"),
    [
        pytest.param({"containers": [box("100m", "64Mi")]}, Limits(), id="none"),
        pytest.param(
            {"containers": [box("1", "64Mi", limits={"cpu": "2", "memory": "128Mi"})]},
            Limits(2000, 128_000), id="both",
        ),
        pytest.param(
            {"containers": [box("1", "64Mi", limits={"memory": "128Mi"}), box("1", "64Mi")]},
            Limits(), id="one-container-open",
        ),
        pytest.param(
            {"containers": [box("1", "64Mi")], "resources": {"limits": {"memory": "256Mi"}}},
            Limits(None, 256_000), id="pod-level",
        ),
    ],
)  # fmt: skip
def test_limits_bind_only_when_every_container_has_one(spec, limits) -> None:
    assert limits_of(spec, need_of(spec, DEFAULT)) == limits


def pod(spec=None, status=None, **metadata):
    return pod_from_kubernetes(
        {
            "metadata": {"uid": "u", "namespace": "n", "name": "p", **metadata},
            "spec": {"containers": [box("1", "1Mi")], **(spec or {})},
            "status": status or {},
        },
        DEFAULT,
    )


@pytest.mark.parametrize(
    ("changes", "waits"),
    [
        ({}, True),
        ({"spec": {"nodeName": "a"}}, False),
        ({"spec": {"schedulingGates": [{"name": "g"}]}}, False),
        ({"status": {"phase": "Succeeded"}}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, False),
        ({"annotations": {"kubernetes.io/config.mirror": "x"}}, False),
    ],
)
def test_only_pods_that_kube_scheduler_looks_at_wait(changes, waits) -> None:
    assert pod(**changes).waits is waits


def test_daemon_pods_are_recognised_by_owner_and_node_name() -> None:
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    found = pod(
        spec={"affinity": {"nodeAffinity": required}},
        ownerReferences=[{"kind": "DaemonSet", "uid": "d", "controller": True}],
    )

    assert found.daemon
    assert found.shape.nodes == ("a",)


def test_spread_and_anti_affinity_count_only_among_siblings() -> None:
    selector = {"matchLabels": {"app": "web"}}
    spread = {"topologyKey": "zone", "maxSkew": 1, "labelSelector": selector}
    anti = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    terms = {"requiredDuringSchedulingIgnoredDuringExecution": [anti]}
    spec = {"topologySpreadConstraints": [spread], "affinity": {"podAntiAffinity": terms}}

    assert pod(spec=spec, labels={"app": "web"}).shape.spread == (Spread("zone", 1),)
    assert pod(spec=spec, labels={"app": "web"}).shape.apart == ("kubernetes.io/hostname",)
    assert pod(spec=spec, labels={"app": "other"}).shape.apart == ()


def test_pods_of_one_owner_have_one_shape() -> None:
    assert hash(pod(uid="a").shape) == hash(pod(uid="b", name="q").shape)


def test_kube_schedulers_verdict_is_read() -> None:
    condition = {"type": "PodScheduled", "reason": "Unschedulable", "message": "0/2 nodes"}

    assert pod(status={"conditions": [condition]}).unschedulable == "0/2 nodes"


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        (Toleration("k", "Equal", "v", "NoSchedule"), True),
        (Toleration("k", "Equal", "v", ""), True),
        (Toleration("k", "Exists"), True),
        (Toleration("", "Exists"), True),
        (Toleration("k", "Equal", "w"), False),
        (Toleration("k", "Equal", "v", "NoExecute"), False),
        (Toleration("", "Equal", "v"), False),
    ],
)
def test_tolerations_match_as_kubernetes_says(toleration, tolerated) -> None:
    assert toleration.tolerates(Taint("k", "NoSchedule", "v")) is tolerated


def test_a_cordon_is_ours_only_with_our_annotation() -> None:
    theirs = node_from_kubernetes({"metadata": {"name": "a"}, "spec": {"unschedulable": True}})
    annotations = {"k8s.mesosphere.io/cordoned-by-km": "idle", "other": "x"}
    ours = node_from_kubernetes(
        {"metadata": {"name": "a", "annotations": annotations}, "spec": {"unschedulable": True}}
    )

    assert theirs.cordoned_by_operator
    assert not ours.cordoned_by_operator
