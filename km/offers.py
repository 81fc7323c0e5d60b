"""Mesos' wire shapes as plain data: offers, task states, agents and what runs on them.

Conversions from the v1 JSON are here and pure, so that the HTTP client only calls them. An offer
keeps its resources piece by piece (reservation and allocation verbatim), because what is launched
from it must name the very same pieces again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from km.pods import Limits
from km.resources import (
    NOTHING,
    SCALARS,
    Ranges,
    Resources,
    intersect_ranges,
    ranges,
    scalar,
    subtract_ranges,
    thousandths,
)

TERMINAL = frozenset(
    {
        "TASK_FINISHED",
        "TASK_FAILED",
        "TASK_KILLED",
        "TASK_ERROR",
        "TASK_DROPPED",
        "TASK_GONE",
        "TASK_GONE_BY_OPERATOR",
        "TASK_LOST",
    }
)
"""States after which Mesos knows a task no more. TASK_UNKNOWN answers a reconciliation only."""

LIVE = frozenset({"TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One resource of an offer that a task may be given."""

    name: str
    """``cpus``, ``mem``, ``disk``, ``gpus`` or ``ports``."""

    amount: int
    """Thousandths; 0 for ports."""

    ports: Ranges
    """Only for ``ports``."""

    origin: Mapping[str, Any]
    """``role``, ``reservation(s)`` and ``allocation_info`` as Mesos sent them."""

    reserved: bool
    """Whether it is reserved for our role: used up before what everybody may have."""

    def resources(self) -> Resources:
        if self.name == "ports":
            return Resources(ports=self.ports)
        amounts = [self.amount if kind == self.name else 0 for kind in SCALARS]
        return Resources(amounts[0], amounts[1], amounts[2], amounts[3])

    def to_mesos(self) -> dict[str, Any]:
        """The v1 JSON of this piece, allocation included."""
        if self.name == "ports":
            spans = [{"begin": low, "end": high} for low, high in self.ports]
            return {"name": "ports", "type": "RANGES", "ranges": {"range": spans}, **self.origin}
        return {
            "name": self.name,
            "type": "SCALAR",
            "scalar": {"value": scalar(self.amount)},
            **self.origin,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """What Mesos lets us use on one agent until we answer or it is rescinded."""

    id: str
    agent_id: str
    hostname: str
    role: str
    """The role it is allocated to; all tasks launched from it belong to that role."""

    pieces: tuple[Piece, ...]
    """Usable pieces, reserved ones first. Volumes, revocable and foreign disks are left out."""

    resources: Resources
    """The sum of ``pieces``."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    region: str = ""
    zone: str = ""
    unavailable_from: float | None = None
    """When maintenance of the agent begins (seconds since 1970); None: none is planned."""

    executors: tuple[str, ...] = ()
    """Our framework's executors that run there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseOffer:
    """Mesos asks for an agent back, for maintenance."""

    id: str
    agent_id: str
    """May be empty: then ``hostname`` names the agent."""

    hostname: str
    starts_at: float
    """Wall clock, seconds since 1970."""

    seconds: float | None
    """How long; None means for good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskStatus:
    """A task's state as an UPDATE event carries it."""

    task_id: str
    state: str
    agent_id: str = ""
    executor_id: str = ""
    source: str = ""
    reason: str = ""
    message: str = ""
    uuid: str = ""
    """Base64, present only when the update has to be acknowledged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentRecord:
    """One agent as the master describes it (GET_AGENTS, or AGENT_ADDED)."""

    id: str
    hostname: str
    total: Resources
    """What could ever be ours: without what is reserved for roles that are not ours."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    region: str = ""
    zone: str = ""
    active: bool = True
    """False while the agent is disconnected."""

    draining: bool = False
    """DRAIN_AGENT was called, or maintenance deactivated it."""

    others: Mapping[str, Resources] = field(default_factory=dict)
    """What frameworks other than ours use of ``total``, by framework name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRecord:
    """A live or unreachable task of our framework, as the master knows it."""

    task_id: str
    agent_id: str
    executor_id: str
    state: str
    resources: Resources
    limits: Limits | None = None
    """Those of its pod; None when neither the task nor its labels name any."""

    name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorRecord:
    """A live executor of our framework: its ExecutorInfo has to be repeated at every launch."""

    executor_id: str
    agent_id: str
    info: Mapping[str, Any]
    """The ExecutorInfo, verbatim."""

    resources: Resources


@dataclass(frozen=True, kw_only=True, slots=True)
class MesosState:
    """Everything one GET_STATE says that matters here."""

    agents: tuple[AgentRecord, ...]
    tasks: tuple[TaskRecord, ...]
    executors: tuple[ExecutorRecord, ...]
    recovering: frozenset[str] = frozenset()
    """Agents that a new master has not heard from yet: what runs there is not listed."""


# Conversions from the v1 JSON ---------------------------------------------------------------------


def id_of(value: Any) -> str:
    return str(value.get("value", "")) if isinstance(value, Mapping) else ""


def _usable(resource: Mapping[str, Any]) -> bool:
    """Volumes, shared, revocable and provider resources are not ours to hand to pods.

    A dynamic reservation with labels was made by a framework for itself (the convention of
    stateful frameworks that share a role), so it is left alone as well.
    """
    if any(key in resource for key in ("revocable", "shared", "provider_id", "disk")):
        return False
    stack = list(resource.get("reservations", ()))
    if "reservation" in resource:
        stack.append(resource["reservation"])
    return not any(entry.get("labels", {}).get("labels") for entry in stack)


def _reserved_role(resource: Mapping[str, Any]) -> str:
    """The role a resource is reserved for, empty when everybody may have it."""
    stack = resource.get("reservations")
    if stack:
        return str(stack[-1].get("role", ""))
    role = str(resource.get("role", "*"))
    return "" if role == "*" else role


def _spans(resource: Mapping[str, Any]) -> Ranges:
    listed = resource.get("ranges", {}).get("range", ())
    return ranges((int(span["begin"]), int(span["end"])) for span in listed)


def pieces_from_mesos(resources: Iterable[Mapping[str, Any]], role: str) -> tuple[Piece, ...]:
    """The usable pieces of an offer, reserved first; ``role`` fills in a missing allocation."""
    found: list[Piece] = []
    for resource in resources:
        name = str(resource.get("name", ""))
        if not _usable(resource) or (name not in SCALARS and name != "ports"):
            continue
        origin = {
            key: resource[key]
            for key in ("role", "reservation", "reservations", "allocation_info")
            if key in resource
        }
        origin.setdefault("allocation_info", {"role": role})
        amount = thousandths(float(resource.get("scalar", {}).get("value", 0)))
        spans = _spans(resource) if name == "ports" else ()
        if amount > 0 or spans:
            found.append(Piece(name, amount, spans, origin, bool(_reserved_role(resource))))
    return tuple(sorted(found, key=lambda piece: not piece.reserved))


def sum_pieces(pieces: Iterable[Piece]) -> Resources:
    """All pieces together, whatever their reservation."""
    total = NOTHING
    for piece in pieces:
        total = total + piece.resources()
    return total


def resources_from_mesos(resources: Iterable[Mapping[str, Any]]) -> Resources:
    """The sum of a list of Mesos resources (of an agent, a task, an executor), volumes left out."""
    return sum_pieces(pieces_from_mesos(resources, "*"))


def attributes_from_mesos(attributes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Agent attributes as text: ``rack:r1``, ``ssd:2`` (scalar), ``ports:1-5`` (ranges), sets."""
    found: dict[str, str] = {}
    for attribute in attributes:
        name = str(attribute.get("name", ""))
        if "text" in attribute:
            found[name] = str(attribute["text"].get("value", ""))
        elif "scalar" in attribute:
            found[name] = f"{float(attribute['scalar'].get('value', 0)):g}"
        elif "ranges" in attribute:
            found[name] = ",".join(f"{low}-{high}" for low, high in _spans(attribute))
        elif "set" in attribute:
            found[name] = ",".join(sorted(map(str, attribute["set"].get("item", ()))))
    return found


def domain_from_mesos(domain: Mapping[str, Any]) -> tuple[str, str]:
    """Region and zone of a DomainInfo, empty where unknown."""
    fault = domain.get("fault_domain", {})
    return (
        str(fault.get("region", {}).get("name", "")),
        str(fault.get("zone", {}).get("name", "")),
    )


def offer_from_mesos(offer: Mapping[str, Any]) -> Offer:
    """One entry of an OFFERS event. Raises KeyError on a shape that Mesos never sends."""
    role = str(offer.get("allocation_info", {}).get("role", "*"))
    pieces = pieces_from_mesos(offer.get("resources", ()), role)
    region, zone = domain_from_mesos(offer.get("domain", {}))
    return Offer(
        id=id_of(offer["id"]),
        agent_id=id_of(offer["agent_id"]),
        hostname=str(offer["hostname"]),
        role=role,
        pieces=pieces,
        resources=sum_pieces(pieces),
        attributes=attributes_from_mesos(offer.get("attributes", ())),
        region=region,
        zone=zone,
        executors=tuple(id_of(known) for known in offer.get("executor_ids", ())),
        unavailable_from=(
            int(offer["unavailability"].get("start", {}).get("nanoseconds", 0)) / 1e9
            if "unavailability" in offer
            else None
        ),
    )


def inverse_offer_from_mesos(offer: Mapping[str, Any], hostname: str = "") -> InverseOffer:
    """One entry of an INVERSE_OFFERS event; ``hostname`` when the caller knows the agent's."""
    window = offer.get("unavailability", {})
    duration = window.get("duration")
    return InverseOffer(
        id=id_of(offer.get("id", offer.get("inverse_offer_id", {}))),
        agent_id=id_of(offer.get("agent_id", {})),
        hostname=hostname,
        starts_at=int(window.get("start", {}).get("nanoseconds", 0)) / 1e9,
        seconds=None if duration is None else int(duration.get("nanoseconds", 0)) / 1e9,
    )


def status_from_mesos(status: Mapping[str, Any]) -> TaskStatus:
    """The ``status`` of an UPDATE event."""
    return TaskStatus(
        task_id=id_of(status["task_id"]),
        state=str(status["state"]),
        agent_id=id_of(status.get("agent_id", {})),
        executor_id=id_of(status.get("executor_id", {})),
        source=str(status.get("source", "")),
        reason=str(status.get("reason", "")),
        message=str(status.get("message", "")),
        uuid=str(status.get("uuid", "")),
    )


def agent_record(
    entry: Mapping[str, Any], others: Mapping[str, Resources], roles: frozenset[str]
) -> AgentRecord:
    info = entry.get("agent_info", {})
    listed = entry.get("total_resources") or info.get("resources", ())
    region, zone = domain_from_mesos(info.get("domain", {}))
    return AgentRecord(
        id=id_of(info.get("id", {})),
        hostname=str(info.get("hostname", "")),
        total=resources_from_mesos(within_reach(listed, roles)),
        attributes=attributes_from_mesos(info.get("attributes", ())),
        region=region,
        zone=zone,
        active=bool(entry.get("active", True)),
        draining=bool(entry.get("drain_info")) or bool(entry.get("deactivated")),
        others=others,
    )


def within_reach(
    listed: Iterable[Mapping[str, Any]], roles: frozenset[str]
) -> list[Mapping[str, Any]]:
    """Without what is reserved for roles that are neither ours nor above ours."""
    return [
        resource
        for resource in listed
        if not (role := _reserved_role(resource))
        or any(mine == role or mine.startswith(role + "/") for mine in roles)
    ]


def agent_from_mesos(entry: Mapping[str, Any], roles: Iterable[str] = ("*",)) -> AgentRecord:
    """One agent of GET_AGENTS or AGENT_ADDED, without knowing what others use there."""
    return agent_record(entry, {}, frozenset(roles))


# Taking from an offer -----------------------------------------------------------------------------


def take(
    pieces: Iterable[Piece], need: Resources
) -> tuple[list[dict[str, Any]], tuple[Piece, ...]] | None:
    """Cut ``need`` out of an offer's pieces, reserved pieces first.

    Gives the ``resources`` list for a TaskInfo or ExecutorInfo and the pieces that are left, or
    None when the pieces do not cover the need.
    """
    missing = {kind: getattr(need, kind) for kind in SCALARS}
    wanted = need.ports
    taken: list[dict[str, Any]] = []
    left: list[Piece] = []
    for piece in pieces:
        if piece.name == "ports":
            got = intersect_ranges(piece.ports, wanted)
            if got:
                taken.append(Piece("ports", 0, got, piece.origin, piece.reserved).to_mesos())
                wanted = subtract_ranges(wanted, got)
                rest = subtract_ranges(piece.ports, got)
                if rest:
                    left.append(Piece("ports", 0, rest, piece.origin, piece.reserved))
                continue
        elif missing[piece.name] > 0:
            part = min(piece.amount, missing[piece.name])
            missing[piece.name] -= part
            taken.append(Piece(piece.name, part, (), piece.origin, piece.reserved).to_mesos())
            if piece.amount > part:
                rest_amount = piece.amount - part
                left.append(Piece(piece.name, rest_amount, (), piece.origin, piece.reserved))
            continue
        left.append(piece)
    if wanted or any(amount > 0 for amount in missing.values()):
        return None
    return taken, tuple(left)
