"""Mesos' JSON and km's plain data, both ways. Pure.

The rules: https://mesos.apache.org/documentation/latest/scheduler-http-api/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from km import actions, events
from km.mesos.errors import reading
from km.offers import (
    inverse_offer_from_mesos,
    offer_from_mesos,
    status_from_mesos,
)

CAPABILITIES = (
    "MULTI_ROLE",  # several roles, or none but `*`
    "RESERVATION_REFINEMENT",  # reservations of parts of reservations, in today's format
    "PARTITION_AWARE",  # TASK_UNREACHABLE, TASK_GONE … instead of TASK_LOST
    "TASK_KILLING_STATE",
    "GPU_RESOURCES",  # agents with GPUs are offered only to frameworks that ask for it
    "REGION_AWARE",  # agents in other regions as well
)


def framework_info(
    *,
    framework_id: str | None,
    name: str,
    user: str,
    roles: Iterable[str],
    failover_timeout: float,
    hostname: str,
    webui_url: str,
    principal: str | None,
) -> dict[str, Any]:
    """The FrameworkInfo that km subscribes with."""
    info: dict[str, Any] = {
        "name": name,
        "user": user,
        "roles": list(roles),
        "failover_timeout": failover_timeout,
        "checkpoint": True,  # executors outlive a restart of their agent
        "hostname": hostname,
        "webui_url": webui_url,
        "capabilities": [{"type": capability} for capability in CAPABILITIES],
    }
    if framework_id:
        info["id"] = {"value": framework_id}
    if principal:
        info["principal"] = principal
    return info


# Events -------------------------------------------------------------------------------------------


def events_of(message: Mapping[str, Any]) -> list[events.Event]:
    """What one message of the stream tells the core; nothing for kinds it need not know.

    Raises:
        MalformedStreamError: the message lacks what its type promises.
    """
    read = READERS.get(message["type"])
    if read is None:
        return []
    with reading(f"a {message['type']} event"):
        return read(message)


def _offers(message: Mapping[str, Any]) -> list[events.Event]:
    listed = message["offers"]
    found: list[events.Event] = []
    if listed.get("offers"):
        offers = tuple(offer_from_mesos(offer) for offer in listed["offers"])
        found.append(events.OffersReceived(offers=offers))
    if listed.get("inverse_offers"):
        found += _inverse(listed["inverse_offers"])
    return found


def _inverse(listed: Iterable[Mapping[str, Any]]) -> list[events.Event]:
    offers = tuple(inverse_offer_from_mesos(offer) for offer in listed)
    return [events.InverseOffersReceived(inverse_offers=offers)]


def _failure(message: Mapping[str, Any]) -> list[events.Event]:
    failure = message["failure"]
    agent_id = failure.get("agent_id", {}).get("value", "")
    if "executor_id" not in failure:
        return [events.AgentRemoved(agent_id=agent_id)]
    return [
        events.ExecutorExited(
            agent_id=agent_id,
            executor_id=failure["executor_id"]["value"],
            status=failure.get("status"),
        )
    ]


READERS: dict[str, Callable[[Mapping[str, Any]], list[events.Event]]] = {
    "OFFERS": _offers,
    "INVERSE_OFFERS": lambda m: _inverse(m["inverse_offers"]["inverse_offers"]),
    "RESCIND": lambda m: [events.OfferRescinded(offer_id=m["rescind"]["offer_id"]["value"])],
    "RESCIND_INVERSE_OFFER": lambda m: [
        events.InverseOfferRescinded(
            inverse_offer_id=m["rescind_inverse_offer"]["inverse_offer_id"]["value"]
        )
    ],
    "UPDATE": lambda m: [events.TaskUpdated(status=status_from_mesos(m["update"]["status"]))],
    "FAILURE": _failure,
}


# Calls --------------------------------------------------------------------------------------------

Call = tuple[str, dict[str, Any]]
"""The type of a call and its body, as `Subscription.call` takes them."""


def call_of(action: actions.Action) -> Call | None:
    """The scheduler call that carries out an action; None for actions that are no such call."""
    make = MAKERS.get(type(action))
    return None if make is None else make(cast("Any", action))


def _ids(values: Iterable[str]) -> list[dict[str, str]]:
    return [{"value": value} for value in values]


def _accept(action: actions.Accept) -> Call:
    launch = {"type": "LAUNCH", "launch": {"task_infos": list(action.task_infos)}}
    body = {
        "offer_ids": _ids(action.offer_ids),
        "operations": [launch] if action.task_infos else [],
        "filters": {"refuse_seconds": action.refuse_seconds},
    }
    return "ACCEPT", {"accept": body}


def _decline(action: actions.Decline) -> Call:
    filters = {"refuse_seconds": action.refuse_seconds}
    return "DECLINE", {"decline": {"offer_ids": _ids(action.offer_ids), "filters": filters}}


def _acknowledge(action: actions.Acknowledge) -> Call:
    body = {
        "agent_id": {"value": action.agent_id},
        "task_id": {"value": action.task_id},
        "uuid": action.uuid,
    }
    return "ACKNOWLEDGE", {"acknowledge": body}


def _task(task_id: str, agent_id: str) -> dict[str, Any]:
    task: dict[str, Any] = {"task_id": {"value": task_id}}
    if agent_id:
        task["agent_id"] = {"value": agent_id}
    return task


def _kill(action: actions.KillTask) -> Call:
    # At once: a KILL that does not say so comes from Mesos, which drains the agent.
    policy = {"grace_period": {"nanoseconds": 0}}
    return "KILL", {"kill": {**_task(action.task_id, action.agent_id), "kill_policy": policy}}


def _shutdown(action: actions.ShutdownExecutor) -> Call:
    body = {
        "executor_id": {"value": action.executor_id},
        "agent_id": {"value": action.agent_id},
    }
    return "SHUTDOWN", {"shutdown": body}


def _reconcile(action: actions.Reconcile) -> Call:
    return "RECONCILE", {"reconcile": {"tasks": [_task(*task) for task in action.tasks]}}


def _accept_inverse(action: actions.AcceptInverse) -> Call:
    body = {"inverse_offer_ids": _ids(action.inverse_offer_ids)}
    return "ACCEPT_INVERSE_OFFERS", {"accept_inverse_offers": body}


def _decline_inverse(action: actions.DeclineInverse) -> Call:
    body = {
        "inverse_offer_ids": _ids(action.inverse_offer_ids),
        "filters": {"refuse_seconds": action.refuse_seconds},
    }
    return "DECLINE_INVERSE_OFFERS", {"decline_inverse_offers": body}


MAKERS: dict[type, Callable[[Any], Call]] = {
    actions.Accept: _accept,
    actions.Decline: _decline,
    actions.Revive: lambda _: ("REVIVE", {}),
    actions.Suppress: lambda _: ("SUPPRESS", {}),
    actions.Acknowledge: _acknowledge,
    actions.KillTask: _kill,
    actions.ShutdownExecutor: _shutdown,
    actions.Reconcile: _reconcile,
    actions.AcceptInverse: _accept_inverse,
    actions.DeclineInverse: _decline_inverse,
}
