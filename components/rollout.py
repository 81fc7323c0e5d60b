"""In what order agents change: a share at a time, the next only when the ones before are healthy.

Pure. Pulumi does the rest: a recipe ends only when its service answers, what depends on it starts
only then, and nothing that depends on a failed one starts at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from components.hosts import Host, Role


def at_once(share: str, agents: int) -> int:
    """Turn ``25%`` or ``2`` into a number of agents, at least one."""
    if share.endswith("%"):
        return max(1, agents * int(share.removesuffix("%")) // 100)
    return max(1, int(share))


def in_order(hosts: Sequence[Host], share: str) -> tuple[Host, ...]:
    """Say of each host after which other one its agent changes."""
    before = predecessors([host for host in hosts if Role.AGENT in host.roles], share)
    return tuple(replace(host, after=before.get(host.name)) for host in hosts)


def predecessors(hosts: Sequence[Host], share: str) -> dict[str, str | None]:
    """Name for each host the one that must be done before it, by host name.

    Hosts that do not belong to the cluster yet disturb nobody: they need not wait. The others form
    as many chains as may change at once, so that a slow host holds up its own chain only.
    """
    members = [host.name for host in hosts if host.member]
    new: dict[str, str | None] = {host.name: None for host in hosts}
    return {**new, **chains(members, at_once(share, len(members)))}


def chains(names: Sequence[str], width: int) -> dict[str, str | None]:
    """Put names into ``width`` chains; name for each the one before it."""
    return {
        name: names[index - width] if index >= width else None for index, name in enumerate(names)
    }
