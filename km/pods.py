"""What a pod needs of a node: its effective requests and limits, and where it may go.

The rules are Kubernetes' own, so that km and kube-scheduler count the same:

* requests and limits of a pod: k8s.io/component-helpers/resource ``PodRequests``/``PodLimits``
  (https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers,
  https://kubernetes.io/docs/concepts/scheduling-eviction/pod-overhead/)
* quantities: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any

from km.objects import Requirement, Toleration
from km.resources import UNITS, Resources, number, ports

KINDS = ("cpu", "memory", "ephemeral-storage", "nvidia.com/gpu")
MIB = 2**20
MOST_EXPONENT = 40
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([eE][+-]?[0-9]+|[A-Za-z]*)")
_SUFFIXES = {
    "": Fraction(1),
    **{s: Fraction(1, 1000**n) for n, s in enumerate(("m", "u", "n"), start=1)},
    **{s: Fraction(1000**n) for n, s in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{s + "i": Fraction(1024**n) for n, s in enumerate(("K", "M", "G", "T", "P", "E"), start=1)},
}

Amounts = Mapping[str, Fraction]
"""Kubernetes' resource names to exact amounts: cpus, bytes, bytes, gpus."""


@lru_cache(maxsize=4096)
def quantity(text: str) -> Fraction:
    """A Kubernetes quantity, exactly: ``100m``, ``1.5Gi``, ``1e3``. Raises ValueError."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a quantity: {text!r}; written like 100m, 0.5, 64Mi, 1.5Gi or 1e3")
    digits, suffix = match.groups()
    if suffix[:1] in ("e", "E") and suffix[1:]:
        # Kubernetes itself ends at 2^63; a number with a billion digits would end us.
        exponent = max(-MOST_EXPONENT, min(int(suffix[1:]), MOST_EXPONENT))
        return Fraction(digits) * Fraction(10) ** exponent
    if suffix not in _SUFFIXES:
        raise ValueError(
            f"not a quantity: {text!r}; the suffix {suffix!r} is none of {', '.join(_SUFFIXES)}"
        )
    return Fraction(digits) * _SUFFIXES[suffix]


# Requests and limits ------------------------------------------------------------------------------


def _amounts(listed: Mapping[str, Any] | None) -> dict[str, Fraction]:
    return {kind: quantity(str(listed[kind])) for kind in KINDS if kind in listed} if listed else {}


def _requests(container: Mapping[str, Any]) -> dict[str, Fraction]:
    """A container's requests; a limit without a request counts as the request."""
    resources = container.get("resources") or {}
    return {**_amounts(resources.get("limits")), **_amounts(resources.get("requests"))}


def _limits(container: Mapping[str, Any]) -> dict[str, Fraction]:
    return _amounts((container.get("resources") or {}).get("limits"))


def _add(left: Amounts, right: Amounts) -> dict[str, Fraction]:
    return {
        kind: left.get(kind, Fraction(0)) + right.get(kind, Fraction(0))
        for kind in {**left, **right}
    }


def _most(left: Amounts, right: Amounts) -> dict[str, Fraction]:
    return {
        kind: max(left.get(kind, Fraction(0)), right.get(kind, Fraction(0)))
        for kind in {**left, **right}
    }


def _combined(
    spec: Mapping[str, Any], of: Callable[[Mapping[str, Any]], dict[str, Fraction]]
) -> dict[str, Fraction]:
    """Containers and sidecars together, or the largest moment of initialisation if that is more.

    While an init container runs, the sidecars (restartable init containers) declared before it run
    beside it; afterwards all sidecars run beside the containers.
    """
    sidecars: dict[str, Fraction] = {}
    starting: dict[str, Fraction] = {}
    for container in spec.get("initContainers") or ():
        if _is_sidecar(container):
            sidecars = _add(sidecars, of(container))
            starting = _most(starting, sidecars)
        else:
            starting = _most(starting, _add(sidecars, of(container)))
    running = sidecars
    for container in spec.get("containers") or ():
        running = _add(running, of(container))
    return _most(running, starting)


def effective_requests(spec: Mapping[str, Any]) -> dict[str, Fraction]:
    """What a pod asks for in all: containers, or pod-level resources (1.34+), and overhead."""
    total = _combined(spec, _requests)
    total.update(_requests(spec))
    return _add(total, _amounts(spec.get("overhead")))


def effective_limits(spec: Mapping[str, Any]) -> dict[str, Fraction]:
    """The limits of the pod as a whole; a kind that any container leaves open is left out."""
    declared = _combined(spec, _limits)
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    bound = {
        kind: amount
        for kind, amount in declared.items()
        if all(_limits(container).get(kind) for container in containers)
    }
    bound.update(_limits(spec))
    overhead = _amounts(spec.get("overhead"))
    return {kind: amount + overhead.get(kind, 0) for kind, amount in bound.items()}


def _up(amount: Fraction) -> int:
    """Thousandths, rounded up: what is granted is never less than what is asked for."""
    return -int(-(amount * 1000) // 1)


def need_of(spec: Mapping[str, Any], default: Resources) -> Resources:
    """A pod's effective requests as Mesos resources; ``default`` for cpus or memory unasked for."""
    asked = effective_requests(spec)
    return Resources(
        cpus=_up(asked.get("cpu", Fraction(0))) or default.cpus,
        mem=_up(asked.get("memory", Fraction(0)) / MIB) or default.mem,
        disk=_up(asked.get("ephemeral-storage", Fraction(0)) / MIB),
        gpus=_up(asked.get("nvidia.com/gpu", Fraction(0))),
        ports=ports(_host_ports(spec)),
    )


def _host_ports(spec: Mapping[str, Any]) -> Iterable[int]:
    sidecars = filter(_is_sidecar, spec.get("initContainers") or ())
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield int(port["hostPort"])


@dataclass(frozen=True, slots=True)
class Limits:
    """A task's limits in thousandths of a cpu and of a MiB; None is no limit."""

    cpus: int | None = None
    mem: int | None = None

    def shortfall(self, wanted: Limits) -> str:
        """Which wanted limits are above these: ``a limit of 64 of 128 MiB memory``; or empty."""
        return ", ".join(
            f"a limit of {number(have)} of {'any' if want is None else number(want)} {unit}"
            for have, want, unit in (
                (self.cpus, wanted.cpus, UNITS["cpus"]),
                (self.mem, wanted.mem, UNITS["mem"]),
            )
            if have is not None and (want is None or want > have)
        )


def limits_of(spec: Mapping[str, Any], need: Resources) -> Limits:
    """A pod's limits as Mesos limits, never below what it is given anyway."""
    bound = effective_limits(spec)
    cpus, mem = bound.get("cpu"), bound.get("memory")
    return Limits(
        None if cpus is None else max(_up(cpus), need.cpus),
        None if mem is None else max(_up(mem / MIB), need.mem),
    )


# Where a pod may go -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spread:
    """A hard topology spread constraint that counts the pod's own siblings."""

    key: str
    max_skew: int


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that decides where a pod may go. Pods of one shape are interchangeable."""

    need: Resources
    selector: tuple[tuple[str, str], ...] = ()
    """``nodeSelector``, sorted."""

    affinity: tuple[tuple[Requirement, ...], ...] = ()
    """Required node affinity: one of these terms has to match. Empty: anywhere."""

    tolerations: tuple[Toleration, ...] = ()
    spread: tuple[Spread, ...] = ()
    apart: tuple[str, ...] = ()
    """Topology keys by which the pod keeps away from its own siblings (required anti-affinity)."""

    siblings: str = ""
    """Who the siblings are; empty when neither ``spread`` nor ``apart`` asks."""

    nodes: tuple[str, ...] = ()
    """Node names that ``matchFields`` binds it to (DaemonSets)."""


Named = tuple[tuple[str, Mapping[str, Any]], ...]
"""Container names and their ``resources``."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What can be resized in place, as Kubernetes has it: to put it back after a refused resize."""

    containers: Named = ()
    sidecars: Named = ()
    pod: Mapping[str, Any] = field(default_factory=dict)
    """The pod's own ``resources`` (pod-level resources), empty without."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A Kubernetes pod as km sees it."""

    uid: str
    namespace: str
    name: str
    shape: Shape
    limits: Limits = Limits()
    node: str = ""
    """The node it is bound to, empty while it waits."""

    phase: str = "Pending"
    scheduler: str = "default-scheduler"
    deleting: bool = False
    gated: bool = False
    """Has scheduling gates: kube-scheduler leaves it alone."""

    daemon: bool = False
    """Of a DaemonSet: never a reason to start a node, never in the way of ending one."""

    mirror: bool = False
    """A static pod's image in the API: not km's business."""

    priority: int = 0
    created: float = 0.0
    """Wall clock, seconds since 1970."""

    unschedulable: str = ""
    """What kube-scheduler said when it last found no node, empty before that."""

    sizes: Sizes = field(default=Sizes(), hash=False)

    @property
    def need(self) -> Resources:
        return self.shape.need

    @property
    def finished(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def waits(self) -> bool:
        """Waits for kube-scheduler to find it a node."""
        return not (self.node or self.finished or self.deleting or self.gated or self.mirror)


def pod_from_kubernetes(pod: Mapping[str, Any], default: Resources) -> Pod:
    """A Pod object's JSON as plain data; ``default`` is what pods without requests are given.

    Raises ValueError when a quantity can not be read (which the API server does not let through).
    """
    metadata, spec = pod.get("metadata", {}), pod.get("spec") or {}
    status = pod.get("status") or {}
    need = need_of(spec, default)
    owners = metadata.get("ownerReferences") or ()
    return Pod(
        uid=str(metadata.get("uid", "")),
        namespace=str(metadata.get("namespace", "default")),
        name=str(metadata.get("name", "")),
        shape=shape_of(metadata, spec, need),
        limits=limits_of(spec, need),
        node=str(spec.get("nodeName") or ""),
        phase=str(status.get("phase") or "Pending"),
        scheduler=str(spec.get("schedulerName") or "default-scheduler"),
        deleting="deletionTimestamp" in metadata,
        gated=bool(spec.get("schedulingGates")),
        daemon=any(owner.get("kind") == "DaemonSet" for owner in owners),
        mirror="kubernetes.io/config.mirror" in (metadata.get("annotations") or {}),
        priority=int(spec.get("priority") or 0),
        created=_seconds(str(metadata.get("creationTimestamp") or "")),
        unschedulable=_verdict(status.get("conditions") or ()),
        sizes=Sizes(
            _sizes(spec.get("containers") or ()),
            _sizes(c for c in spec.get("initContainers") or () if _is_sidecar(c)),
            spec.get("resources") or {},
        ),
    )


def _sizes(containers: Iterable[Mapping[str, Any]]) -> Named:
    return tuple((str(c.get("name", "")), c.get("resources") or {}) for c in containers)


def _is_sidecar(container: Mapping[str, Any]) -> bool:
    """Restartable init containers run beside the containers."""
    return container.get("restartPolicy") == "Always"


def unreadable_pod(pod: Mapping[str, Any], default: Resources) -> Pod:
    """A pod whose spec can not be read, as far as it can: no reason to start a node or a task."""
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    return Pod(
        uid=str(metadata.get("uid", "")),
        namespace=str(metadata.get("namespace", "default")),
        name=str(metadata.get("name", "")),
        shape=Shape(need=default),
        node=str((pod.get("spec") or {}).get("nodeName") or ""),
        phase=str(status.get("phase") or "Pending"),
        deleting="deletionTimestamp" in metadata,
        gated=True,
    )


def _seconds(timestamp: str) -> float:
    try:
        return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def _verdict(conditions: Iterable[Mapping[str, Any]]) -> str:
    for condition in conditions:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return str(condition.get("message") or "unschedulable")
    return ""


def shape_of(metadata: Mapping[str, Any], spec: Mapping[str, Any], need: Resources) -> Shape:
    """What decides where the pod may go, in a form that can be compared."""
    affinity = spec.get("affinity") or {}
    required = (affinity.get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms = required.get("nodeSelectorTerms") or ()
    labels = metadata.get("labels") or {}
    spread = tuple(_spreads(spec.get("topologySpreadConstraints") or (), labels))
    apart = tuple(_aparts(affinity.get("podAntiAffinity") or {}, labels))
    return Shape(
        need=need,
        selector=tuple(sorted((spec.get("nodeSelector") or {}).items())),
        affinity=tuple(tuple(map(_requirement, t.get("matchExpressions") or ())) for t in terms),
        tolerations=tuple(map(_toleration, spec.get("tolerations") or ())),
        spread=spread,
        apart=apart,
        siblings=_siblings(metadata) if spread or apart else "",
        nodes=tuple(_fields(terms)),
    )


def _requirement(expression: Mapping[str, Any]) -> Requirement:
    return Requirement(
        str(expression.get("key", "")),
        str(expression.get("operator", "")),
        tuple(map(str, expression.get("values") or ())),
    )


def _toleration(toleration: Mapping[str, Any]) -> Toleration:
    return Toleration(
        str(toleration.get("key") or ""),
        str(toleration.get("operator") or "Equal"),
        str(toleration.get("value") or ""),
        str(toleration.get("effect") or ""),
    )


def _fields(terms: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for term in terms:
        for expression in term.get("matchFields") or ():
            if expression.get("key") == "metadata.name" and expression.get("operator") == "In":
                yield from map(str, expression.get("values") or ())


def _siblings(metadata: Mapping[str, Any]) -> str:
    owner = next((o for o in metadata.get("ownerReferences") or () if o.get("controller")), None)
    return f"{metadata.get('namespace')}/{owner['uid'] if owner else metadata.get('name')}"


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; an absent one matches nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    expressions = map(_requirement, selector.get("matchExpressions") or ())
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        expression.matches(labels) for expression in expressions
    )


def _spreads(
    constraints: Iterable[Mapping[str, Any]], labels: Mapping[str, str]
) -> Iterable[Spread]:
    for constraint in constraints:
        hard = constraint.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule"
        if hard and selects(constraint.get("labelSelector"), labels):
            yield Spread(str(constraint.get("topologyKey")), int(constraint.get("maxSkew", 1)))


def _aparts(anti: Mapping[str, Any], labels: Mapping[str, str]) -> Iterable[str]:
    for term in anti.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
        if selects(term.get("labelSelector"), labels):
            yield str(term.get("topologyKey"))
