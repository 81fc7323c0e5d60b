"""Carries out the core's actions on Kubernetes objects: one request (or read-change-write) each.

Repeats nothing except a write that another writer overtook. What is already so is a success:
a pod or node that is gone was deleted, a pod bound to the wanted node was bound.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from km import actions
from km.cluster.client import Cluster
from km.cluster.errors import ConflictError, NotFoundError
from km.objects import taint_from_kubernetes
from km.pods import Named, Sizes

PODS = "/api/v1/namespaces/{namespace}/pods/{name}"
NODES = "/api/v1/nodes/{name}"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}"

OVERTAKEN = 5
"""How often a node is read and written again because somebody else wrote it in between."""


class Deeds:
    """What km does to the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._hands: dict[type, Callable[[Any], Awaitable[None]]] = {
            actions.BindPod: self._bind,
            actions.DeletePod: self._delete_pod,
            actions.EvictPod: self._evict,
            actions.RevertResize: self._revert_resize,
            actions.UpdateNode: self._update_node,
            actions.DeleteNode: self._delete_node,
            actions.ApproveCertificate: self._approve,
            actions.DenyCertificate: self._deny,
        }

    def does(self, action: actions.Action) -> bool:
        """Whether this is an action on a Kubernetes object."""
        return type(action) in self._hands

    async def do(self, action: actions.Action) -> None:
        """Carry it out. Raises ClusterError when it could not be."""
        await self._hands[type(action)](action)

    async def _bind(self, action: actions.BindPod) -> None:
        path = PODS.format(namespace=action.namespace, name=action.name)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            # The uid makes the API server refuse a namesake that was created meanwhile.
            "metadata": {"name": action.name, "uid": action.uid},
            "target": {"kind": "Node", "name": action.node},
        }
        try:
            await self._cluster.create(f"{path}/binding", binding)
        except ConflictError:
            pod = await self._cluster.get(path)
            bound_to = (pod.get("spec") or {}).get("nodeName")
            if pod["metadata"].get("uid") != action.uid or bound_to != action.node:
                raise

    async def _delete_pod(self, action: actions.DeletePod) -> None:
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": action.uid},
        }
        if action.grace_seconds is not None:
            options["gracePeriodSeconds"] = action.grace_seconds
        path = PODS.format(namespace=action.namespace, name=action.name)
        try:
            await self._cluster.delete(path, options)
        except NotFoundError:
            return
        except ConflictError as error:
            # Another uid: the pod that was meant is gone, its namesake is none of our business.
            if "uid" not in error.message.lower():
                raise

    async def _evict(self, action: actions.EvictPod) -> None:
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": action.name, "namespace": action.namespace},
            "deleteOptions": {"preconditions": {"uid": action.uid}},
        }
        path = PODS.format(namespace=action.namespace, name=action.name)
        try:
            await self._cluster.create(f"{path}/eviction", eviction)
        except NotFoundError:
            return
        except ConflictError as error:
            if "uid" not in error.message.lower():
                raise

    async def _revert_resize(self, action: actions.RevertResize) -> None:
        path = PODS.format(namespace=action.namespace, name=action.name)
        body = {"metadata": {"uid": action.uid}, "spec": resized(action.sizes)}
        await self._cluster.patch(f"{path}/resize", body, kind="strategic")

    async def _update_node(self, action: actions.UpdateNode) -> None:
        path = NODES.format(name=action.node)
        for attempt in range(OVERTAKEN):
            try:
                patch = node_patch(action)
                if action.add_taints or action.remove_taints:
                    # A node's taints are one atomic list: read it, change it, write it back
                    # unless somebody else did so meanwhile.
                    node = await self._cluster.get(path)
                    patch["metadata"]["resourceVersion"] = node["metadata"]["resourceVersion"]
                    patch.setdefault("spec", {})["taints"] = changed_taints(node, action)
                await self._cluster.patch(path, patch)
            except ConflictError:
                if attempt == OVERTAKEN - 1:
                    raise
            else:
                return

    async def _delete_node(self, action: actions.DeleteNode) -> None:
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            # A call that took long must not delete what the next executor has registered.
            "preconditions": {"uid": action.uid},
        }
        try:
            await self._cluster.delete(NODES.format(name=action.node), options)
        except NotFoundError:
            return
        except ConflictError as error:
            if "uid" not in error.message.lower():
                raise

    async def _approve(self, action: actions.ApproveCertificate) -> None:
        await self._judge(action.name, "Approved", "KmApproved", action.reason)

    async def _deny(self, action: actions.DenyCertificate) -> None:
        await self._judge(action.name, "Denied", "KmDenied", action.reason)

    async def _judge(self, name: str, verdict: str, reason: str, message: str) -> None:
        path = REQUESTS.format(name=name)
        try:
            request = await self._cluster.get(path)
        except NotFoundError:
            return
        conditions = request.setdefault("status", {}).setdefault("conditions", [])
        if any(condition["type"] in ("Approved", "Denied") for condition in conditions):
            return
        conditions.append({"type": verdict, "status": "True", "reason": reason, "message": message})
        await self._cluster.replace(f"{path}/approval", request)


def resized(sizes: Sizes) -> dict[str, Any]:
    """The part of a pod's spec that a resize changes."""
    spec: dict[str, Any] = {"containers": _named(sizes.containers)}
    if sizes.sidecars:
        spec["initContainers"] = _named(sizes.sidecars)
    if sizes.pod:
        spec["resources"] = dict(sizes.pod)
    return spec


def _named(containers: Named) -> list[dict[str, Any]]:
    return [{"name": name, "resources": dict(resources)} for name, resources in containers]


def node_patch(action: actions.UpdateNode) -> dict[str, Any]:
    """The merge patch of everything but the taints; None removes a label or annotation."""
    metadata: dict[str, Any] = {}
    if action.labels:
        metadata["labels"] = dict(action.labels)
    if action.annotations:
        metadata["annotations"] = dict(action.annotations)
    patch: dict[str, Any] = {"metadata": metadata}
    if action.unschedulable is not None:
        # Absent, not false, is what `kubectl uncordon` leaves behind.
        patch["spec"] = {"unschedulable": action.unschedulable or None}
    return patch


def changed_taints(node: dict[str, Any], action: actions.UpdateNode) -> list[dict[str, Any]]:
    """The node's taints with ours added and removed, identified by key and effect."""
    touched = {(taint.key, taint.effect) for taint in (*action.add_taints, *action.remove_taints)}
    kept = []
    for raw in (node.get("spec") or {}).get("taints") or []:
        taint = taint_from_kubernetes(raw)
        if (taint.key, taint.effect) not in touched:
            kept.append(raw)
    for taint in action.add_taints:
        added = {"key": taint.key, "effect": taint.effect}
        kept.append({**added, "value": taint.value} if taint.value else added)
    return kept
