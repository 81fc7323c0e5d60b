"""What Kubernetes tells the core: pods, nodes and certificate requests, followed for ever."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from km import actions, events
from km.cluster.certificates import COLLECTION as REQUESTS
from km.cluster.certificates import SIGNER, is_open, requested
from km.cluster.client import Cluster
from km.cluster.csr import CsrError
from km.cluster.watch import Changed, Listed, follow
from km.objects import Node, node_from_kubernetes
from km.pods import Pod, pod_from_kubernetes, unreadable_pod
from km.resources import Resources

log = logging.getLogger("km.cluster")

Tell = Callable[[events.Event], None]
Kept = TypeVar("Kept")


async def feed_pods(cluster: Cluster, tell: Tell, default: Resources) -> None:
    """All pods of all namespaces; ``default`` is what those without requests are given.

    One pod that can not be read must not keep km from all others: it is seen as far as it can be.
    """

    def read_pod(pod: Mapping[str, Any]) -> Pod:
        try:
            return pod_from_kubernetes(pod, default)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            unread = unreadable_pod(pod, default)
            log.warning("cannot read a pod", extra={"pod": unread.full_name, "error": error})
            return unread

    async for news in follow(cluster, "/api/v1/pods", read_pod):
        if isinstance(news, Listed):
            tell(events.PodsListed(pods=tuple(news.items)))
        elif isinstance(news, Changed):
            tell(events.PodSeen(pod=news.item))
        else:
            tell(events.PodGone(uid=news.item.uid))


async def feed_nodes(cluster: Cluster, tell: Tell) -> None:
    """All nodes; changes that the core does not see (heartbeats) are left out."""
    known: dict[str, Node] = {}
    async for news in follow(cluster, "/api/v1/nodes", node_from_kubernetes):
        if isinstance(news, Listed):
            known = {node.name: node for node in news.items}
            tell(events.NodesListed(nodes=tuple(news.items)))
        elif isinstance(news, Changed):
            if known.get(news.item.name) != news.item:
                known[news.item.name] = news.item
                tell(events.NodeSeen(node=news.item))
        else:
            known.pop(news.item.name, None)
            tell(events.NodeGone(name=news.item.name))


async def feed_certificates(
    cluster: Cluster, tell: Tell, deny: Callable[[actions.DenyCertificate], None]
) -> None:
    """Open requests for kubelets' serving certificates; what is out of order is denied at once."""
    selector = f"spec.signerName={SIGNER}"
    async for news in follow(cluster, REQUESTS, dict, fieldSelector=selector):
        found = news.items if isinstance(news, Listed) else [news.item]
        if not isinstance(news, (Listed, Changed)):
            continue
        for request in found:
            if not is_open(request):
                continue
            try:
                tell(requested(request))
            except CsrError as error:
                name = request["metadata"]["name"]
                deny(actions.DenyCertificate(reason=f"the request {error}", name=name))
