"""What the core is told of Kubernetes, whatever Kubernetes sends."""

from __future__ import annotations

import asyncio
import logging

import httpx

from km import events
from km.cluster.client import Cluster
from km.cluster.feeds import feed_pods
from km.cluster.kubeconfig import Access
from km.resources import Resources


def pod(name: str, cpu: object, **spec: object) -> dict:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
    return {
        "metadata": {"uid": name, "namespace": "default", "name": name},
        "spec": {"containers": [container], **spec},
        "status": {"phase": "Running"},
    }


async def listed(*pods: dict) -> events.PodsListed:
    """What the core is told when the API server lists these pods."""
    answer = {"items": list(pods), "metadata": {"resourceVersion": "1"}}

    def handler(request: httpx.Request) -> httpx.Response:
        watch = "watch" in request.url.params
        return httpx.Response(503) if watch else httpx.Response(200, json=answer)

    transport = httpx.MockTransport(handler)
    cluster = Cluster(Access(servers=("http://k",)), transport=transport)
    told: asyncio.Future[events.Event] = asyncio.get_running_loop().create_future()
    feed = asyncio.create_task(feed_pods(cluster, told.set_result, Resources.of(cpus=0.1, mem=32)))
    try:
        event = await asyncio.wait_for(told, 5)
    finally:
        feed.cancel()
        await cluster.close()
    assert isinstance(event, events.PodsListed)
    return event


async def test_a_pod_that_can_not_be_read_keeps_km_from_no_other_pod(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        event = await listed(pod("odd", "many", nodeName="a"), pod("plain", "1"))

    odd, plain = event.pods
    assert (odd.uid, odd.node, odd.phase, odd.waits) == ("odd", "a", "Running", False)
    assert plain.need.cpus == 1000
    unread = [each.pod for each in caplog.records if each.getMessage() == "cannot read a pod"]
    assert unread == ["default/odd"]


async def test_a_pod_without_a_node_that_can_not_be_read_starts_nothing() -> None:
    (odd,) = (await listed(pod("odd", {"not": "a quantity"}))).pods

    assert not odd.waits
