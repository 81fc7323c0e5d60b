"""What to tell the user when the cluster says no, or nothing."""

from __future__ import annotations

import re

from lab.plugins.kubernetes.client import ApiError, NoKindError, UnreachableError
from lab.plugins.kubernetes.objects import identifier
from lab.plugins.provider import ProviderError
from lab.plugins.values import Properties

Refused = ApiError | NoKindError | UnreachableError


def refusal(inputs: Properties, done: str, error: Refused) -> ProviderError:
    """The error for an object that could not be `done`: "created", "updated" or "planned"."""
    what = f"{inputs['kind']} {identifier(inputs)} could not be {done}"
    if isinstance(error, UnreachableError):
        return unreachable(what, error)
    if isinstance(error, ApiError) and error.status == 409 and error.causes:
        return ProviderError(f"{what}: {conflict(error)}")
    return ProviderError(f"{what}: {error}")


def unreachable(what: str, error: UnreachableError) -> ProviderError:
    return ProviderError(
        f"{what}: the configured Kubernetes cluster is unreachable: {error}. See that it is up and "
        "that the provider's kubeconfig is the right one. If the cluster is gone for good, set "
        "PULUMI_K8S_DELETE_UNREACHABLE=true: what was in it then leaves the state."
    )


def conflict(error: ApiError) -> str:
    """Who owns which fields, for a conflict of server-side apply."""
    owned: dict[str, list[str]] = {}
    for cause in error.causes:
        found = re.search(r'conflict with "([^"]+)"', cause.get("message", ""))
        owned.setdefault(found[1] if found else "another manager", []).append(
            cause.get("field", "?")
        )
    said = "; ".join(f"{manager} manages {', '.join(fields)}" for manager, fields in owned.items())
    return (
        f"conflict of field managers: {said}. Leave these fields out of the program, have the "
        "other manager give them up, or take them over with the annotation "
        'pulumi.com/patchForce: "true"'
    )
