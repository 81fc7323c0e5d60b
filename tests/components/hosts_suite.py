"""What every kind of hosts promises to all above it; give it yours (docs/adding-a-cloud.md)."""

from __future__ import annotations

import re

from components.hosts import Host, Hosts, Role


def check(hosts: Hosts) -> None:
    """Fail with the first promise that is not kept."""
    names = [host.name for host in hosts.machines]
    assert len(set(names)) == len(names), "each host has a name of its own"
    assert len(hosts.control) % 2 == 1, "an odd number of control hosts"
    assert hosts.agents, "at least one agent"
    with_domain = [host for host in hosts.machines if host.fault_domain]
    assert len(with_domain) in {0, len(hosts.machines)}, "a fault domain for all, or for none"
    for host in hosts.machines:
        check_host(host, names)


def check_host(host: Host, names: list[str]) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", host.name), "a DNS label"
    assert host.roles, "what it is for"
    assert host.roles <= set(Role)
    assert host.machine is not None, "the resource that it disappears with"
    assert host.connection.host_key is not None, "nobody logs in to a host with an unknown key"
    assert host.connection.private_key is not None
    assert host.user, "who logs in"
    assert host.after is None or host.after in names
    assert host.after != host.name
