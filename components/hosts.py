"""A machine, as everything above it sees it: wherever it stands, whoever made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pulumi
from pulumi_command import remote

from components.repairs import Repairs


class Role(StrEnum):
    """What a host is for."""

    CONTROL = "control"
    """ZooKeeper, a Mesos master, etcd and the Kubernetes control plane."""

    AGENT = "agent"
    """A Mesos agent, on which pods run."""


@dataclass(frozen=True, kw_only=True)
class FaultDomain:
    """Where a host stands, in Mesos' words; Kubernetes calls it topology."""

    region: str
    zone: str


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine with systemd and an SSH server."""

    name: str
    """Its name in Mesos and Kubernetes. Resources are named after it, so it never changes."""

    roles: frozenset[Role]

    address: pulumi.Output[str]
    """Where the other hosts reach it. May be known before the machine answers."""

    connection: remote.ConnectionArgs
    """How to log in, host key included. Known when the machine answers."""

    user: str = "root"
    """Who logs in; anybody but root needs sudo without a password."""

    kind: str | None = None
    """The type of machine, where that may change: then its agent looks again at what it has."""

    cpus: float | None = None
    """Processors; None: all that the machine has."""

    memory_mb: int | None = None
    """Memory in MiB; None: all that the machine has."""

    disk_gb: int | None = None
    """Disk in GiB; None: all that the machine has."""

    attributes: Mapping[str, str] = field(default_factory=dict)
    """Mesos attributes; they become labels of the Kubernetes node."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the Kubernetes node."""

    fault_domain: FaultDomain | None = None
    """Where it stands, if that is known; then it is known of all hosts."""

    member: bool = False
    """It already belongs to the cluster: changing it disturbs what runs there."""

    after: str | None = None
    """Name of the host whose agent must have changed, and be healthy, before this one's does."""

    repairs: Repairs = field(default_factory=dict)
    """What its recipes are told to repair."""

    machine: pulumi.Resource | None = None
    """The resource that the host disappears with, if the program made it."""


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """All machines of a cluster, in the order in which the stack file names them."""

    machines: tuple[Host, ...]

    gone: tuple[str, ...] = ()
    """Names of agents that are dead: Mesos and Kubernetes are told, nobody logs in."""

    api_address: pulumi.Output[str] | None = None
    """Name or address in front of all API servers, if something stands there."""

    @property
    def control(self) -> tuple[Host, ...]:
        return self.with_role(Role.CONTROL)

    @property
    def agents(self) -> tuple[Host, ...]:
        return self.with_role(Role.AGENT)

    @property
    def agent_labels(self) -> dict[str, dict[str, str]]:
        """The agents' node labels, of those that have any."""
        return {host.name: dict(host.labels) for host in self.agents if host.labels}

    def with_role(self, role: Role) -> tuple[Host, ...]:
        return tuple(host for host in self.machines if role in host.roles)


def domain_text(domain: FaultDomain | None) -> str:
    """Write a fault domain the way Mesos reads it, or nothing."""
    if domain is None:
        return ""
    parts = {"region": {"name": domain.region}, "zone": {"name": domain.zone}}
    return json.dumps({"fault_domain": parts})
