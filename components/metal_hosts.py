"""Hosts that somebody owns, reached over SSH.

Makes two local commands for each machine: by one it joins the cluster (packages, the cluster's
mark, our programs), by the other it leaves it again. Does not make machines, and asks no network
question: what preflight found out comes in as plain data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi_command import local, remote

from components.hosts import FaultDomain, Host, Hosts, Role
from components.joining import Joining, join, leave
from components.mesos_source import Repository
from components.programs import Versions
from components.rollout import in_order


@dataclass(frozen=True, kw_only=True)
class MetalBastion:
    address: str
    port: int
    user: str
    key: Path
    host_key: str


@dataclass(frozen=True, kw_only=True)
class MetalMachine:
    """One machine, with everything said that the stack file may leave out."""

    name: str
    address: str
    roles: frozenset[Role]
    user: str
    port: int
    key: Path
    host_key: str
    bastion: MetalBastion | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    fault_domain: FaultDomain | None = None
    member: bool = False
    """It already belongs to the cluster."""

    repairs: Mapping[str, str] = field(default_factory=dict)
    """Recipe → the words of its last or next repair."""


@dataclass(frozen=True, kw_only=True)
class MetalHostsArgs:
    machines: Sequence[MetalMachine]
    cluster: str
    """What the machines remember that they belong to."""

    versions: Versions
    repository: Repository | None = None
    """Where machines fetch Mesos' packages, if they do."""

    change_at_once: str = "25%"
    """A share or a number of the agents."""

    bundle: str = ""
    """Machines reach no mirror, packages come from here as well: changes with them."""

    gone: Sequence[str] = ()
    """Names of agents that are dead: nobody logs in there any more."""

    stack_file: str = "stacks/Pulumi.metal.yaml"
    """Where the operator says so."""


class MetalHosts(pulumi.ComponentResource):
    """Machines people own.

    Makes: ``<host>-leave`` and ``<host>`` for each machine.
    """

    hosts: Hosts
    """What the rest of the program works on."""

    def __init__(
        self, name: str, args: MetalHostsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:MetalHosts", name, {}, opts)
        self._args = args
        made = [self._make_host(machine) for machine in args.machines]
        self.hosts = Hosts(machines=in_order(made, args.change_at_once), gone=tuple(args.gone))
        self.register_outputs({})

    def _make_host(self, machine: MetalMachine) -> Host:
        return Host(
            name=machine.name,
            roles=machine.roles,
            address=pulumi.Output.from_input(machine.address),
            connection=connection(machine),
            user=machine.user,
            attributes=machine.attributes,
            labels=machine.labels,
            fault_domain=machine.fault_domain,
            member=machine.member,
            repairs=machine.repairs,
            machine=self._join(machine),
        )

    def _join(self, machine: MetalMachine) -> local.Command:
        joining = Joining(
            name=machine.name,
            roles=machine.roles,
            way={**way(machine), "bastion": way(machine.bastion) if machine.bastion else None},
            cluster=self._args.cluster,
            versions=self._args.versions,
            repository=self._args.repository,
            bundle=self._args.bundle,
            repairs=machine.repairs,
            stack_file=self._args.stack_file,
        )
        leaving = leave(f"{machine.name}-leave", joining, pulumi.ResourceOptions(parent=self))
        return join(
            machine.name, joining, pulumi.ResourceOptions(parent=self, depends_on=[leaving])
        )


def way(login: MetalMachine | MetalBastion) -> dict[str, Any]:
    """The way in, for ``components.machine``: the key's place, never the key."""
    return {
        "address": login.address,
        "port": login.port,
        "user": login.user,
        "key": str(login.key),
        "host_key": login.host_key,
    }


DIAL_ERRORS = 2
DIAL_SECONDS = 10
"""Preflight has just talked to the machine: one that is silent now has died, and is not dialled for
minutes."""


def connection(machine: MetalMachine) -> remote.ConnectionArgs:
    bastion = machine.bastion
    return remote.ConnectionArgs(
        host=machine.address,
        port=machine.port,
        user=machine.user,
        private_key=private_key(machine.key),
        host_key=machine.host_key,
        proxy=remote.ProxyConnectionArgs(
            host=bastion.address,
            port=bastion.port,
            user=bastion.user,
            private_key=private_key(bastion.key),
            host_key=bastion.host_key,
            dial_error_limit=DIAL_ERRORS,
            per_dial_timeout=DIAL_SECONDS,
        )
        if bastion
        else None,
        dial_error_limit=DIAL_ERRORS,
        per_dial_timeout=DIAL_SECONDS,
    )


def private_key(key: Path) -> pulumi.Output[str]:
    """Read the operator's key; encrypted wherever Pulumi keeps it."""
    return pulumi.Output.secret(key.read_text())
