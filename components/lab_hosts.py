"""Hosts on the machine in front of you.

Makes a network, a key pair to log in with, and for each host its own host key and the host itself.
The hosts are whole systems with systemd and sshd; nothing is installed on them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

import pulumi
from pulumi_command import local, remote

from components.hosts import Host, Hosts, Role
from components.program import run_program

FIRST_INDEX = {Role.CONTROL: 10, Role.AGENT: 21}
"""Last byte of the address of the first host of a role."""


@dataclass(frozen=True, kw_only=True)
class LabGroup:
    """Hosts of one kind, all of one size."""

    count: int
    cpus: int
    memory_mb: int
    disk_gb: int
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Mesos attributes by host name."""


@dataclass(frozen=True, kw_only=True)
class LabHostsArgs:
    """What the lab is made of."""

    lab: str
    """Id of the lab: other clones and stacks on this machine have others."""

    owner: str
    """Whose lab it is, in a person's words."""

    machine: str
    """The machine that it is on. Others may have a clone at the same path, and this state."""

    control: LabGroup
    agents: LabGroup

    network: IPv4Network | None = None
    """A private /24; None: one that is free."""


class LabHosts(pulumi.ComponentResource):
    """Hosts on this machine.

    Makes: ``<name>-network``, ``<name>-login`` and for each host ``<host>-key`` and ``<host>``.
    """

    hosts: Hosts
    """What the rest of the program works on."""

    def __init__(
        self, name: str, args: LabHostsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:LabHosts", name, {}, opts)

        self._args = args
        self._network = run_program(
            f"{name}-network",
            "lab network up",
            {
                "lab": args.lab,
                "owner": args.owner,
                "machine": args.machine,
                "network": str(args.network) if args.network else None,
            },
            pulumi.ResourceOptions(parent=self),
            delete="lab network down",
        )
        self._login = self._make_key(f"{name}-login", f"operator of {args.lab}")
        self.hosts = Hosts(
            machines=(
                *self._make_hosts(Role.CONTROL, args.control),
                *self._make_hosts(Role.AGENT, args.agents),
            )
        )
        self.register_outputs({})

    def _make_key(self, name: str, comment: str) -> local.Command:
        return run_program(
            name,
            "components.keys ssh",
            {"comment": comment},
            pulumi.ResourceOptions(parent=self),
            secret=True,
        )

    def _make_hosts(self, role: Role, group: LabGroup) -> list[Host]:
        names = enumerate(host_names(role, group.count), start=1)
        return [self._make_host(role, group, name, number) for number, name in names]

    def _make_host(self, role: Role, group: LabGroup, name: str, number: int) -> Host:
        index = FIRST_INDEX[role] + number - 1
        key = self._make_key(f"{name}-key", name)
        machine = run_program(
            name,
            "lab host up",
            {
                "lab": self._args.lab,
                "name": name,
                "index": index,
                "cpus": group.cpus,
                "memory_mb": group.memory_mb,
                "disk_gb": group.disk_gb,
                "authorized_key": part(self._login, "public"),
                "host_key": part(key, "private"),
                "base": "bookworm",
                "roles": [role],
            },
            # The network goes last and comes first, though no value of it is needed.
            pulumi.ResourceOptions(parent=self, depends_on=[self._network]),
            delete="lab host down",
        )
        return Host(
            name=name,
            roles=frozenset({role}),
            address=self._network.stdout.apply(lambda made: address_in(made, index)),
            connection=remote.ConnectionArgs(
                host=machine.stdout.apply(lambda made: str(json.loads(made)["address"])),
                user="root",
                private_key=part(self._login, "private"),
                host_key=part(key, "public"),
            ),
            cpus=group.cpus,
            memory_mb=group.memory_mb,
            disk_gb=group.disk_gb,
            attributes=group.attributes.get(name, {}),
            machine=machine,
        )


def lab_id(clone: Path, stack: str) -> str:
    """Tell the labs of all clones and stacks on one machine apart."""
    return hashlib.sha256(f"{clone}{stack}".encode()).hexdigest()[:8]


def host_names(role: Role, count: int) -> list[str]:
    """Name the hosts of a role."""
    return [f"{role}-{number}" for number in range(1, count + 1)]


def part(key: local.Command, which: str) -> pulumi.Output[str]:
    """Take ``private`` or ``public`` out of a key pair."""
    return key.stdout.apply(lambda pair: str(json.loads(pair)[which]))


def address_in(network: str, index: int) -> str:
    """Give the address with a last byte in the network that ``lab network up`` made."""
    return str(IPv4Network(json.loads(network)["network"])[index])
