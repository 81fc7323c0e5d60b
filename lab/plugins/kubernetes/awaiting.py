"""Waiting for objects: to be ready, and to be gone."""

from __future__ import annotations

import asyncio

from lab.plugins.kubernetes.client import ApiError, Client, NoKindError, Object, UnreachableError
from lab.plugins.kubernetes.objects import annotation, identifier, outputs, place
from lab.plugins.kubernetes.ready import NeverReadyError, waiting_for
from lab.plugins.provider import NotReadyError, ProviderError, Request
from lab.plugins.values import Properties

TIMEOUT = 600.0
"""Seconds, as in the real plugin; customTimeouts or pulumi.com/timeoutSeconds say otherwise."""

FIRST_PAUSE, LONGEST_PAUSE = 0.15, 1.0


def now() -> float:
    return asyncio.get_running_loop().time()


def deadline(request: Request, thing: Properties) -> float:
    return now() + (request.timeout or float(annotation(thing, "timeoutSeconds") or TIMEOUT))


async def look(client: Client, resource_id: str, thing: Properties) -> Object | None:
    """The live object with this id, or None."""
    namespace, name = place(resource_id)
    return await client.get(thing["apiVersion"], thing["kind"], namespace, name)


async def until_ready(client: Client, request: Request, live: Object) -> Properties:
    """Wait for the object; returns its outputs. Raises NotReadyError, whose state is kept."""
    if annotation(request.inputs, "skipAwait") == "true":
        return live
    wait_for = annotation(request.inputs, "waitFor")
    end = deadline(request, request.inputs)
    waiting: str | None = None
    pause = FIRST_PAUSE
    try:
        while message := await waiting_for(client, live, wait_for):
            if message != waiting:
                await request.status(message)
            waiting = message
            if now() > end:
                raise NeverReadyError(f"timed out waiting to be ready: {waiting}")
            await asyncio.sleep(pause)
            pause = min(pause * 1.4, LONGEST_PAUSE)
            live = await still_there(client, live)
    except asyncio.CancelledError:
        problem = f"cancelled while waiting: {waiting}"
    except (NeverReadyError, ApiError, NoKindError, UnreachableError) as error:
        problem = str(error)
    else:
        return live
    named = identifier(live)
    reasons = [f"{live['kind']} {named} was made but did not become ready", problem]
    raise NotReadyError(named, live, request.inputs, reasons)


async def still_there(client: Client, live: Object) -> Object:
    fresh = await look(client, identifier(live), live)
    if fresh is None:
        raise NeverReadyError("it was deleted while waiting for it to be ready")
    return outputs(fresh)


async def until_gone(client: Client, request: Request) -> None:
    """Wait until a deleted object is gone, finalizers and all. Raises ProviderError when late."""
    state = request.state
    if annotation(state, "skipAwait") == "true":
        return
    end = deadline(request, state)
    pause, said = FIRST_PAUSE, ""
    while live := await look(client, request.id, state):
        old = state.get("metadata", {}).get("uid")
        if old and live["metadata"].get("uid") != old:
            return  # another object of the same name
        message = leaving(live)
        if now() > end:
            what = f"{state['kind']} {request.id} is still there"
            raise ProviderError(f"{what}: {message}; remove what holds it, then run this again")
        if message != said and pause > FIRST_PAUSE:
            await request.status(said := message)
        await asyncio.sleep(pause)
        pause = min(pause * 1.4, LONGEST_PAUSE)


def leaving(live: Object) -> str:
    """Why a deleted object is still there."""
    holders = list(live["metadata"].get("finalizers") or [])
    conditions = (live.get("status") or {}).get("conditions") or []
    blocked = [
        item.get("message", "")
        for item in conditions
        if live["kind"] == "Namespace" and item["type"] in LEFT and item["status"] == "True"
    ]
    by = f" (finalizers: {', '.join(holders)})" if holders else ""
    return f"waiting for the deletion{by}" + "".join(f"; {text}" for text in blocked)


LEFT = ("NamespaceContentRemaining", "NamespaceFinalizersRemaining")
