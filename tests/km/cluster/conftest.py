"""A client of the real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from km.cluster.client import Cluster
from km.cluster.kubeconfig import load_kubeconfig
from tests.control_plane import ControlPlane


@pytest.fixture
async def cluster(kube: ControlPlane) -> AsyncIterator[Cluster]:
    made = Cluster(load_kubeconfig(kube.kubeconfig))
    yield made
    await made.close()
