"""Whom preflight asks: hosts and the way to them, without a word of where they come from."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.ssh import Login


@dataclass(frozen=True, kw_only=True)
class Target:
    """A host that is to be, or already is, part of the cluster."""

    name: str
    login: Login
    peers: frozenset[str] = frozenset()
    """``address:port`` that this host must reach."""

    ports: dict[int, str] = field(default_factory=dict)
    """TCP ports it will listen on → the systemd unit that will."""

    control: bool = False
    """It is one of the control hosts."""

    recipes: tuple[str, ...] = ()
    """The recipes that run on it, each of which leaves a manifest there."""

    chosen: tuple[str, ...] = ()
    """And those that run on it because the stack file asks for them; not all leave a manifest."""

    cpus: int = 1
    memory_mb: int = 1800
    disk_mb: int = 8000
    """The least it must have; disk is free space under /var/lib."""
