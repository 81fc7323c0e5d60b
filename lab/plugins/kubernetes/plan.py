"""Previews: the server's own answer to a dry run, as far as there is one."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable

from lab.plugins.kubernetes.client import ApiError, Client, NoKindError, Object, UnreachableError
from lab.plugins.kubernetes.objects import SERVER_FIELDS, merge
from lab.plugins.kubernetes.refusals import refusal
from lab.plugins.provider import Request
from lab.plugins.values import UNKNOWN, Properties, has_unknown

Apply = Callable[[Properties], Awaitable[Object]]
"""A server-side apply as a dry run."""


async def existing(client: Client, inputs: Properties) -> Object | None:
    """The live object that these inputs name, or None."""
    metadata = inputs["metadata"]
    namespace = metadata.get("namespace") or client.namespace
    return await client.get(inputs["apiVersion"], inputs["kind"], namespace, metadata["name"])


async def plan_create(client: Client | None, request: Request, apply: Apply) -> Properties:
    inputs = request.inputs
    planned = copy.deepcopy(inputs)
    if client and not has_unknown(inputs):
        try:
            if not await existing(client, inputs):  # else this step replaces that object
                planned = await apply(inputs)
        except (NoKindError, UnreachableError):
            pass  # the definition or the whole cluster may be made by this very update
        except ApiError as error:
            if error.status != 404:  # the namespace may be made by it too
                raise refusal(inputs, "planned", error) from None
    if planned["metadata"] != UNKNOWN:
        planned["metadata"].update(dict.fromkeys(SERVER_FIELDS, UNKNOWN))
    planned["status"] = UNKNOWN
    if inputs["kind"] == "Service" and isinstance(inputs.get("spec", {}), dict):
        given = inputs.get("spec", {})
        addresses = {name: UNKNOWN for name in ("clusterIP", "clusterIPs") if name not in given}
        planned["spec"] = {**planned.get("spec", {}), **addresses}
    return planned


async def plan_update(client: Client | None, request: Request, apply: Apply) -> Properties:
    if client and not has_unknown(request.inputs):
        try:
            return await apply(request.inputs)
        except (NoKindError, UnreachableError):
            pass
        except ApiError as error:
            raise refusal(request.inputs, "planned", error) from None
    planned: Properties = merge(request.state, request.inputs)
    return planned
