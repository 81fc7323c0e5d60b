"""Kubernetes' nodes, taints and selectors as plain data, and how they match.

The matching rules are Kubernetes' own; they are needed only to choose agents that are not nodes
yet, since kube-scheduler applies them to nodes that exist. Their source:
https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/
https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "k8s.mesosphere.io/"
ATTRIBUTE = "attribute-"
LABEL_NAME = 63
"""So long may a label's name be, without its prefix."""

CORDONED_BY_KM = PREFIX + "cordoned-by-km"
"""Annotation on nodes that km made unschedulable, so that it never undoes an operator's cordon."""

FREE_ANNOTATION = PREFIX + "free"
"""What the agent has free; its change makes kube-scheduler look at waiting pods again."""

VERSION_LABEL = PREFIX + "node-version"
"""The ``node_version`` a node was started with."""


@dataclass(frozen=True, slots=True)
class Taint:
    """A node's taint; identified by key and effect."""

    key: str
    effect: str
    value: str = ""


IP_ADDRESSES = ("InternalIP", "ExternalIP")
"""Kinds of a Node's addresses that a certificate has as IP addresses."""

AGENT_UNREACHABLE = Taint(PREFIX + "agent-unreachable", "NoSchedule")
"""Put on a node at once when Mesos loses sight of its agent."""


@dataclass(frozen=True, slots=True)
class Toleration:
    """A pod's toleration. An empty key with ``Exists`` tolerates everything."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, taint: Taint) -> bool:
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return bool(self.key) and self.value == taint.value


@dataclass(frozen=True, slots=True)
class Requirement:
    """One ``matchExpressions`` entry of a node selector term."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator == "In":
            return value in self.values
        if self.operator == "NotIn":
            return value is None or value not in self.values
        if self.operator == "Exists":
            return value is not None
        if self.operator == "DoesNotExist":
            return value is None
        return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        try:
            have, want = int(value or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        if self.operator == "Gt":
            return have > want
        return self.operator == "Lt" and have < want


@dataclass(frozen=True, slots=True)
class Node:
    """What km needs to know of a Node object."""

    name: str
    uid: str = ""
    ready: bool = False
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Only km's own (``k8s.mesosphere.io/…``)."""

    provider_id: str = ""
    addresses: tuple[str, ...] = ()
    """IP addresses that its kubelet reports."""

    @property
    def ours(self) -> bool:
        """Whether an executor of km registered it."""
        return self.provider_id.startswith("mesos://")

    @property
    def cordoned_by_operator(self) -> bool:
        return self.unschedulable and CORDONED_BY_KM not in self.annotations


def taint_from_kubernetes(taint: Mapping[str, Any]) -> Taint:
    return Taint(
        str(taint.get("key", "")), str(taint.get("effect", "")), str(taint.get("value") or "")
    )


def node_from_kubernetes(node: Mapping[str, Any]) -> Node:
    """A Node object's JSON as plain data."""
    metadata, spec = node.get("metadata", {}), node.get("spec") or {}
    status = node.get("status") or {}
    conditions = status.get("conditions") or ()
    return Node(
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        ready=any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions),
        unschedulable=bool(spec.get("unschedulable")),
        taints=tuple(map(taint_from_kubernetes, spec.get("taints") or ())),
        labels={str(k): str(v) for k, v in (metadata.get("labels") or {}).items()},
        annotations={
            str(key): str(value)
            for key, value in (metadata.get("annotations") or {}).items()
            if key.startswith(PREFIX)
        },
        provider_id=str(spec.get("providerID") or ""),
        addresses=tuple(
            str(address.get("address", ""))
            for address in status.get("addresses") or ()
            if address.get("type") in IP_ADDRESSES
        ),
    )


def _label_value(text: str) -> str:
    """A text that Kubernetes takes as a label's value: 63 characters, no odd ones at the ends."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)[:63]
    return kept.strip("-_.")


def labels_of_agent(
    hostname: str, attributes: Mapping[str, str], region: str, zone: str
) -> dict[str, str]:
    """The labels that an agent's node has (or would have): attributes and fault domain."""
    labels = {
        "kubernetes.io/hostname": hostname,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    if region:
        labels["topology.kubernetes.io/region"] = _label_value(region)
    if zone:
        labels["topology.kubernetes.io/zone"] = _label_value(zone)
    for name, value in sorted(attributes.items()):
        if key := attribute_label(name):
            labels[key] = _label_value(value)
    return labels


def attribute_label(name: str) -> str:
    """The label of an attribute; empty when nothing of its name can stand in a label.

    A name that is too long ends in a digest instead: cut, two of them could be the same.
    """
    kept, room = _label_value(name), LABEL_NAME - len(ATTRIBUTE)
    if len(kept) > room:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        kept = f"{kept[: room - 1 - len(digest)]}-{digest}"
    return PREFIX + ATTRIBUTE + kept if kept else ""


def renamed_attributes(attributes: Mapping[str, str]) -> str:
    """Which attributes have labels of other names, or none, for people; empty when none has."""
    labels = {name: attribute_label(name) for name in sorted(attributes)}
    parts = [
        f"attribute {name} is label {label}" if label else f"attribute {name} can be no label"
        for name, label in labels.items()
        if label != PREFIX + ATTRIBUTE + name
    ]
    return "; ".join(parts)
