"""Hosts for tests of what stands on them."""

from __future__ import annotations

import shlex
from typing import Any

import pulumi
from pulumi_command import remote

from components.hosts import Host, Hosts, Role

VERSIONS = {
    "cni": "1.9.1",
    "etcd": "3.6.14",
    "flannel": "0.26.7",
    "km": "abc",
    "kube2sky": "def",
    "kubernetes": "1.36.3",
    "mesos": "1.11.0",
    "pause": "012",
}


def host(name: str, **more: Any) -> Host:
    role, _, number = name.partition("-")
    first = {"control": 10, "agent": 21}[role]
    address = f"10.90.7.{first + int(number) - 1}"
    return Host(
        **{
            "name": name,
            "roles": frozenset({Role(role)}),
            "address": pulumi.Output.from_input(address),
            "connection": remote.ConnectionArgs(host=address, user="root", host_key=f"{name} KEY"),
            **more,
        }
    )


def hosts(control: int = 1, agents: int = 2) -> Hosts:
    return Hosts(
        machines=(
            *(host(f"control-{number}") for number in range(1, control + 1)),
            *(host(f"agent-{number}") for number in range(1, agents + 1)),
        )
    )


def variables(stdin: str) -> dict[str, str]:
    """The variables that stand before a recipe, as its shell sees them."""
    found: dict[str, str] = {}
    header, begun, _ = stdin.partition("\nset -euo pipefail\n")
    assert begun, stdin
    for word in shlex.split(header, comments=False):
        name, _, value = word.partition("=")
        found[name] = value
    return found
