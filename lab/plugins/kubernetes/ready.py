"""When an object counts as ready, and what to say while it is not."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from lab.plugins.kubernetes.client import ApiError, Client, NoKindError, Object


class NeverReadyError(Exception):
    """Waiting longer cannot help."""


Check = Callable[[Client, Object], Awaitable[str | None]]
"""None when the object is ready, else what it still waits for."""


def condition(thing: Object, name: str) -> Object:
    for item in (thing.get("status") or {}).get("conditions") or []:
        if item["type"] == name:
            found: Object = item
            return found
    return {}


def holds(thing: Object, name: str) -> bool:
    return bool(condition(thing, name).get("status") == "True")


def reason(item: Object) -> str:
    return ": ".join(filter(None, (item.get("reason"), item.get("message"))))


async def waiting_for(client: Client, thing: Object, wait_for: str | None) -> str | None:
    """What the object still waits for, or None. `wait_for`: the annotation of that name."""
    if wait_for:
        return unmet(thing, wait_for)
    status = thing.get("status") or {}
    observed = status.get("observedGeneration")
    check = CHECKS.get(thing["kind"])
    if check and observed is not None and observed < thing["metadata"].get("generation", 0):
        return "waiting for the controller to observe the change"
    return await check(client, thing) if check else None


def unmet(thing: Object, wait_for: str) -> str | None:
    """Judge `pulumi.com/waitFor`: `condition=Type[=Status]`, `jsonpath=PATH[=VALUE]`, or a list."""
    terms = json.loads(wait_for) if wait_for.startswith("[") else [wait_for]
    for term in terms:
        kind, _, rest = term.partition("=")
        name, _, value = rest.partition("=")
        if kind == "condition":
            met = condition(thing, name).get("status", "").lower() == (value or "true").lower()
        elif kind == "jsonpath":
            found = at_path(thing, name)
            met = found is not None and (not value or str(found) == value)
        else:
            raise NeverReadyError(
                f"pulumi.com/waitFor: {term!r} is neither condition=Type[=Status] nor "
                "jsonpath={.a.b}[=value]"
            )
        if not met:
            return f"waiting for {term}"
    return None


def at_path(thing: Any, path: str) -> Any:
    """The value at `{.a.b[0].c}`, or None."""
    for part in path.strip("{}").replace("[", ".").replace("]", "").split("."):
        if not part:
            continue
        if isinstance(thing, list):
            at = int(part)
            thing = thing[at] if at < len(thing) else None
        else:
            thing = thing.get(part) if isinstance(thing, dict) else None
    return thing


async def pod(_client: Client, thing: Object) -> str | None:
    status = thing.get("status") or {}
    if status.get("phase") == "Succeeded" or holds(thing, "Ready"):
        return None
    if status.get("phase") == "Failed":
        raise NeverReadyError(f"the pod failed: {reason(status) or pod_problem(thing)}")
    return pod_problem(thing)


def pod_problem(thing: Object) -> str:
    status = thing.get("status") or {}
    containers = (status.get("initContainerStatuses") or []) + (
        status.get("containerStatuses") or []
    )
    for container in containers:
        state = container.get("state") or {}
        stopped = state.get("waiting") or state.get("terminated")
        harmless = ("ContainerCreating", "PodInitializing", "Completed")
        if stopped and not container.get("ready") and stopped.get("reason") not in harmless:
            return f"container {container['name']}: {reason(stopped)}"
    scheduled = condition(thing, "PodScheduled")
    if scheduled.get("status") == "False":
        return reason(scheduled)
    return f"the pod is {status.get('phase', 'Pending')}, not ready"


async def replicas(client: Client, thing: Object, wanted: int, found: int, noun: str) -> str | None:
    """Compare replica counts; when they differ, add what is wrong with the first unready pod."""
    if found >= wanted:
        return None
    selector = thing["spec"].get("selector") or {}
    labels = selector.get("matchLabels", selector)
    query = ",".join(f"{key}={value}" for key, value in labels.items() if isinstance(value, str))
    pods = await client.list("v1", "Pod", thing["metadata"]["namespace"], labelSelector=query)
    problems = [
        f"; pod {item['metadata']['name']}: {pod_problem(item)}"
        for item in pods
        if not holds(item, "Ready")
    ]
    return f"{found} of {wanted} {noun}" + (problems[0] if problems else "")


async def replication_controller(client: Client, thing: Object) -> str | None:
    spec, status = parts(thing)
    if status.get("observedGeneration") is None:
        return "waiting for the replication controller"
    available = status.get("availableReplicas", 0)
    return await replicas(client, thing, spec.get("replicas", 1), available, "available")


async def deployment(client: Client, thing: Object) -> str | None:
    spec, status = parts(thing)
    progressing = condition(thing, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        raise NeverReadyError(reason(progressing))
    if status.get("observedGeneration") is None:
        return "waiting for the deployment controller"
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    available = status.get("availableReplicas", 0)
    return (
        await replicas(client, thing, wanted, updated, "updated")
        or (f"{old} old replicas remain" if (old := status.get("replicas", 0) - updated) else None)
        or await replicas(client, thing, wanted, available, "available")
    )


async def stateful_set(client: Client, thing: Object) -> str | None:
    spec, status = parts(thing)
    if status.get("observedGeneration") is None:
        return "waiting for the statefulset controller"
    wanted = spec.get("replicas", 1)
    if status.get("updateRevision") != status.get("currentRevision"):
        updated = status.get("updatedReplicas", 0)
        return await replicas(client, thing, wanted, updated, "updated") or "rolling out"
    return await replicas(client, thing, wanted, status.get("readyReplicas", 0), "ready")


async def daemon_set(client: Client, thing: Object) -> str | None:
    _, status = parts(thing)
    if status.get("observedGeneration") is None:
        return "waiting for the daemonset controller"
    wanted = status.get("desiredNumberScheduled", 0)
    updated, available = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    return await replicas(client, thing, wanted, updated, "updated") or await replicas(
        client, thing, wanted, available, "available"
    )


async def job(client: Client, thing: Object) -> str | None:
    spec, status = parts(thing)
    if holds(thing, "Failed"):
        raise NeverReadyError(reason(condition(thing, "Failed")))
    if holds(thing, "Complete") or spec.get("suspend"):
        return None
    succeeded, wanted = status.get("succeeded", 0), spec.get("completions", 1)
    return await replicas(client, thing, wanted, succeeded, "succeeded") or "not complete yet"


async def service(client: Client, thing: Object) -> str | None:
    spec, status = parts(thing)
    if spec.get("type") == "LoadBalancer" and not (status.get("loadBalancer") or {}).get("ingress"):
        return "waiting for a load balancer address"
    headless = spec.get("clusterIP") == "None"
    if spec.get("type") == "ExternalName" or headless or not spec.get("selector"):
        return None
    metadata = thing["metadata"]
    slices = await client.list(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        metadata["namespace"],
        labelSelector=f"kubernetes.io/service-name={metadata['name']}",
    )
    endpoints = [endpoint for item in slices for endpoint in item.get("endpoints") or []]
    ready = any((endpoint.get("conditions") or {}).get("ready") for endpoint in endpoints)
    return None if ready else "no ready endpoint yet: no ready pod has the selector's labels"


async def namespace(_client: Client, thing: Object) -> str | None:
    _, status = parts(thing)
    return None if status.get("phase") == "Active" else "the namespace is not active"


async def claim(client: Client, thing: Object) -> str | None:
    spec, status = parts(thing)
    if status.get("phase") == "Bound":
        return None
    if name := spec.get("storageClassName"):
        try:
            found = await client.get("storage.k8s.io/v1", "StorageClass", None, name)
        except (ApiError, NoKindError):
            found = None
        if (found or {}).get("volumeBindingMode") == "WaitForFirstConsumer":
            return None
    return "the claim is not bound"


async def ingress(_client: Client, thing: Object) -> str | None:
    _, status = parts(thing)
    return None if (status.get("loadBalancer") or {}).get("ingress") else "no address yet"


async def definition(_client: Client, thing: Object) -> str | None:
    return None if holds(thing, "Established") else "the definition is not established"


def parts(thing: Object) -> tuple[Object, Object]:
    """Spec and status, never None."""
    return thing.get("spec") or {}, thing.get("status") or {}


CHECKS: dict[str, Check] = {
    "Pod": pod,
    "ReplicationController": replication_controller,
    "ReplicaSet": replication_controller,
    "Deployment": deployment,
    "StatefulSet": stateful_set,
    "DaemonSet": daemon_set,
    "Job": job,
    "Service": service,
    "Namespace": namespace,
    "PersistentVolumeClaim": claim,
    "Ingress": ingress,
    "CustomResourceDefinition": definition,
}
