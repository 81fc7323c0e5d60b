"""How km speaks HTTP to a master: who it is, where it goes, what an answer means."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from km.mesos.errors import CallRefusedError, MesosError, NotLeadingError, UnavailableError

JSON = {"Content-Type": "application/json", "Accept": "application/json"}

UNAVAILABLE = (502, 503, 504)
"""503 is what a master says while it is electing or recovering its registry."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A Mesos principal and its secret, sent as HTTP basic authentication."""

    principal: str
    secret: str

    @property
    def auth(self) -> httpx.BasicAuth:
        return httpx.BasicAuth(self.principal, self.secret)


def error_of(call: str, master: str, response: httpx.Response) -> MesosError:
    """Say what an answer that is no success means; its body must have been read."""
    if response.is_redirect:
        return NotLeadingError(f"{master} does not lead", leader=leader_of(response))
    text = " ".join(response.text.split())[:300] or response.reason_phrase
    if response.status_code in UNAVAILABLE:
        return UnavailableError(f"{master} is not ready for {call}: {response.status_code} {text}")
    return CallRefusedError(call, status=response.status_code, message=text)


def leader_of(response: httpx.Response) -> str | None:
    """The `host:port` that a 307 of a follower points at: `Location: //host:port/path`."""
    parts = urlsplit(response.headers.get("Location", ""))
    return parts.netloc or None
