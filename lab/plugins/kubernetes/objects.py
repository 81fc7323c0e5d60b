"""What the provider knows about objects without asking a cluster. Pure."""

from __future__ import annotations

import base64
import copy
import re
from typing import Any

from lab.plugins.values import Properties

SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation")
"""Metadata that only the server sets."""

IMMUTABLE = {
    "ConfigMap": r"(data|binaryData)",
    "Secret": r"(type|data|stringData)",
    "Pod": r"(?!spec\.(activeDeadlineSeconds|tolerations))spec",
    "Service": r"spec\.clusterIPs?",
    "Deployment": r"spec\.selector",
    "ReplicaSet": r"spec\.selector",
    "DaemonSet": r"spec\.selector",
    "StatefulSet": r"spec\.(selector|serviceName|podManagementPolicy|volumeClaimTemplates)",
    "Job": r"spec\.(selector|template|completions|completionMode)",
    "PersistentVolumeClaim": r"spec\.(?!resources)",
    "PersistentVolume": r"spec\.(?!capacity|accessModes|persistentVolumeReclaimPolicy|claimRef)",
    "StorageClass": r"(provisioner|parameters|reclaimPolicy|volumeBindingMode)",
    "RoleBinding": r"roleRef",
    "ClusterRoleBinding": r"roleRef",
}
"""Changes that mean another object, by kind: the API server refuses most of them, and pods do not
see a ConfigMap or Secret change, so the real plugin replaces these as well."""


def replaces(kind: str, path: str, mutable: set[str]) -> bool:
    """Whether a change at `path` needs a replacement; `mutable` kinds never do."""
    pattern = IMMUTABLE.get(kind)
    return pattern is not None and kind not in mutable and re.match(pattern, path) is not None


def annotation(thing: Properties, name: str) -> str | None:
    """The value of `pulumi.com/<name>`; None also while the annotations are unknown."""
    metadata = thing.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return annotations.get(f"pulumi.com/{name}") if isinstance(annotations, dict) else None


def merge(old: Any, new: Any) -> Any:
    """The new value with what only the old one has, such as the server's defaults."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merge(old.get(key), value) for key, value in new.items()}}
    return new


def select(live: Any, shape: Any) -> Any:
    """The live values of the fields that `shape` has."""
    if isinstance(live, dict) and isinstance(shape, dict):
        return {key: select(live[key], shape[key]) for key in shape if key in live}
    if isinstance(live, list) and isinstance(shape, list) and len(live) == len(shape):
        return [select(item, pattern) for item, pattern in zip(live, shape, strict=True)]
    return live


def identifier(thing: Properties) -> str:
    """`namespace/name`, or `name` for what has no namespace: the resource's id."""
    metadata = thing["metadata"]
    return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))


def place(resource_id: str) -> tuple[str | None, str]:
    """(namespace, name) of a resource's id."""
    namespace, _, name = resource_id.rpartition("/")
    return namespace or None, name


def outputs(live: Properties) -> Properties:
    live["metadata"].pop("managedFields", None)
    return live


def body(inputs: Properties) -> Properties:
    """What to apply: the inputs, with stringData as data, which apply can take away again."""
    thing = copy.deepcopy(inputs)
    if thing["kind"] == "Secret" and "stringData" in thing:
        text = thing.pop("stringData")
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        thing["data"] = {**thing.get("data", {}), **encoded}
    return thing


def inputs_of(live: Properties, shape: Properties) -> Properties:
    """What of a live object counts as its inputs; without a known shape (an import), its spec."""
    if shape:
        known = {key: value for key, value in shape.items() if key not in live}
        return {**select(live, shape), **known}
    inputs = {key: value for key, value in live.items() if key != "status"}
    inputs["metadata"] = {k: v for k, v in live["metadata"].items() if k not in SERVER_FIELDS}
    return inputs


def kind_of(type_token: str) -> Properties:
    """The apiVersion and kind that a type token such as `kubernetes:core/v1:Pod` names."""
    _, version, kind = type_token.split(":")
    return {"apiVersion": version.removeprefix("core/"), "kind": kind}
