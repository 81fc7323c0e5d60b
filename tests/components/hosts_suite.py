"""What every kind of hosts promises to all above it; give it yours (docs/adding-a-cloud.md)."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from typing import Any

import pulumi

from components.hosts import Host, Hosts, Role

HOST_KEY = re.compile(r"(ssh-|ecdsa-)\S+ \S+")


def check(hosts: Hosts) -> None:
    """Fail with the first promise that is not kept.

    Call it when the mocked program has ended: what is an output then must have a value.
    """
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
    assert ipaddress.IPv4Address(value(host.address)), "where the other hosts reach it"
    check_connection(host.connection)
    if host.connection.proxy:
        check_connection(host.connection.proxy)
    assert host.user, "who logs in"
    assert value(host.connection.user) in {None, host.user}, "who logs in, said twice"
    assert host.after is None or host.after in names
    assert host.after != host.name


def check_connection(connection: Any) -> None:
    assert value(connection.host), "where its SSH server is"
    key = value(connection.host_key)
    assert key is not None, "nobody logs in to a host with an unknown key"
    assert HOST_KEY.match(key), f"no host key: {key}"
    assert value(connection.private_key), "what to log in with"


def value(known: Any) -> Any:
    """What an output has come to; None when it never got a value."""
    if not isinstance(known, pulumi.Output):
        return known

    async def resolved() -> Any:
        return await asyncio.wait_for(known.future(), 5)

    return asyncio.run(resolved())
