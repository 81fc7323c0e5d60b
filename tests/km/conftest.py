"""Fixtures for km against real programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import control_plane, mesos_cluster
from tests.km.km_process import Stage


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[control_plane.ControlPlane]:
    """etcd and kube-apiserver, shared by the tests of a module."""
    if missing := control_plane.missing_programs():
        pytest.skip(f"not built: {', '.join(missing)}")
    with control_plane.control_plane(tmp_path_factory.mktemp("control-plane")) as made:
        yield made


@pytest.fixture
def mesos(tmp_path: Path) -> Iterator[mesos_cluster.MesosCluster]:
    if reason := mesos_cluster.missing():
        pytest.skip(reason)
    with mesos_cluster.mesos_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def zookeeper(mesos: mesos_cluster.MesosCluster) -> str:
    """The `zk://` URL of a ZooKeeper that runs."""
    if reason := mesos_cluster.missing_zookeeper():
        pytest.skip(reason)
    return mesos.start_zookeeper()


@pytest.fixture
def stage(
    tmp_path: Path, kube: control_plane.ControlPlane, mesos: mesos_cluster.MesosCluster
) -> Iterator[Stage]:
    """A clean cluster for one test: no pod, no node, no framework ID, no lease from before."""
    for kind in ("pods", "nodes"):
        kube.kubectl("delete", kind, "--all", "--force", "--grace-period=0")
    for name in ("configmap/km-framework", "lease/km-scheduler"):
        kube.kubectl("-n", "kube-system", "delete", name, "--ignore-not-found")
    made = Stage(tmp_path, kube, mesos)
    yield made
    made.close()
