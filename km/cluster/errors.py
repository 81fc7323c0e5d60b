"""What can go wrong between km and a Kubernetes API server.

ClusterError
├── UnreachableError          nobody answered, or the server is not ready: try again
└── ApiError                  the server answered with a Status that is no success
    ├── NotFoundError         404
    ├── ConflictError         409: it exists already, or somebody else changed it first
    ├── GoneError             410: a watch is too old, list again
    └── TooManyRequestsError  429: a PodDisruptionBudget forbids an eviction, or we are throttled
"""

from __future__ import annotations

from typing import Any


class ClusterError(Exception):
    """The base of every error of this package."""


class UnreachableError(ClusterError):
    """No API server answers; the same request may work later."""


class ApiError(ClusterError):
    """The API server refused. `reason` is one word (`AlreadyExists`), `message` a sentence."""

    def __init__(self, what: str, *, status: int, reason: str, message: str) -> None:
        super().__init__(f"{what}: {status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFoundError(ApiError):
    """404."""


class ConflictError(ApiError):
    """409."""


class GoneError(ApiError):
    """410."""


class TooManyRequestsError(ApiError):
    """429."""


KINDS: dict[int, type[ApiError]] = {
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    429: TooManyRequestsError,
}

NOT_READY = (500, 502, 503, 504)
"""Answers that a later try may turn into a success (etcd electing, server starting)."""


def error_of(what: str, status: int, body: Any) -> ClusterError:
    """Turn a `Status` object (or anything else that came with `status`) into the right error."""
    fields = body if isinstance(body, dict) else {}
    message = str(fields.get("message") or body or "no message")[:500]
    if status in NOT_READY:
        return UnreachableError(f"{what}: {status} {message}")
    kind = KINDS.get(status, ApiError)
    return kind(what, status=status, reason=str(fields.get("reason", "Unknown")), message=message)
