"""What a stack file may say under ``kubernetes-mesos:cluster``, and what it means.

``python3 -m stacks.settings --table`` prints all of it as the Markdown table of the README.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

import pulumi
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from stacks.aws_settings import AwsHostsSettings
from stacks.checks import contradictions, lab_network, unknown_agents
from stacks.fields import Address, Attributes, Domain, Image, Interval, Network, Odd
from stacks.kubernetes_settings import Kubernetes
from stacks.mesos_source_settings import MesosSource
from stacks.metal_settings import MetalHostsSettings
from stacks.ports import AgentPorts
from stacks.problems import Problem, from_pydantic, report
from stacks.sharing_settings import FrameworkSettings, RoleSettings
from stacks.table import settings_table

LAB_POOL = IPv4Network("10.90.0.0/16")
"""Where the lab picks its network from when none is named."""


class Settings(BaseModel):
    """The base of every settings object: immutable, and strict about spelling and types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class ControlHosts(Settings):
    """Hosts with ZooKeeper, a Mesos master, etcd and the Kubernetes control plane."""

    count: Odd = Field(default=1, ge=1, le=5)
    """How many: 1, 3 or 5, so that a majority exists."""

    cpus: int = Field(default=2, ge=1, le=512)
    """Processors of each."""

    memory_mb: int = Field(default=2560, ge=1536)
    """Memory of each, in MiB."""

    disk_gb: int = Field(default=8, ge=5)
    """Disk of each, in GiB."""


class AgentHosts(Settings):
    """Hosts with a Mesos agent, on which pods run."""

    count: int = Field(default=2, ge=1, le=200)
    """How many; they are called agent-1, agent-2, …"""

    cpus: int = Field(default=2, ge=1, le=512)
    """Processors of each."""

    memory_mb: int = Field(default=4096, ge=1536)
    """Memory of each, in MiB; 512 of them are not offered."""

    disk_gb: int = Field(default=12, ge=10)
    """Disk of each, in GiB; 5 of them are not offered."""

    attributes: dict[str, Attributes] = {}
    """Mesos attributes by agent, as in `agent-1: {rack: r1}`; they become node labels."""


class LabHosts(Settings):
    """Hosts on the machine in front of you."""

    on: Literal["lab"]
    """Where the hosts are: `lab` is this machine."""

    control: ControlHosts = ControlHosts()
    """The control hosts; a number alone is their count."""

    agents: AgentHosts = AgentHosts()
    """The agent hosts; a number alone is their count."""

    network: Network | None = None
    """The hosts' network, a private /24; without it a free one is picked."""

    @field_validator("control", "agents", mode="before")
    @classmethod
    def _count_alone(cls, value: Any) -> Any:
        """Let ``agents: 3`` stand for ``agents: {count: 3}``."""
        return {"count": value} if isinstance(value, int | float | str) else value

    @property
    def agent_count(self) -> int:
        """How many agents need a part of the pods' network."""
        return self.agents.count

    @property
    def reserved(self) -> dict[str, IPv4Network]:
        """Networks that are the hosts' own, by their place in the file."""
        if self.network is None:
            return {"cluster.hosts.network (unset, so picked)": LAB_POOL}
        return {"cluster.hosts.network": self.network}

    def contradictions(self) -> Iterator[Problem]:
        """Find what cannot be true together within these settings."""
        yield from lab_network(self.network)
        yield from unknown_agents(self.agents)


class Networks(Settings):
    """Networks inside the cluster."""

    pods: Network = IPv4Network("10.244.0.0/16")
    """Pods' addresses; each node gets a /24 of it."""

    services: Network = IPv4Network("10.10.10.0/24")
    """Services' addresses; the first is `kubernetes` itself."""

    @property
    def kubernetes_service(self) -> str:
        """The address of the service ``kubernetes``."""
        return str(self.services[1])


class Dns(Settings):
    """kube-dns."""

    service_ip: Address = IPv4Address("10.10.10.10")
    """The address that pods ask; in `networks.services`."""

    domain: Domain = "cluster.local"
    """The cluster's domain."""

    replicas: int = Field(default=1, ge=1, le=100)
    """How many pods answer."""


class Mesos(Settings):
    """Mesos itself."""

    allocation_interval: Interval = "200ms"
    """How often the masters hand out what has become free."""

    agent_ports: AgentPorts = ("31000-32000",)
    """Ports that agents offer, for pods with `hostPort` and for others' tasks; may only grow."""

    roles: tuple[RoleSettings, ...] = ()
    """What each role gets; a role that leaves the list is as if it had never been in it."""

    source: MesosSource = MesosSource()
    """Where its programs come from: `built`, by the lab's own means, or one of these two."""

    @field_validator("source", mode="before")
    @classmethod
    def _built(cls, value: Any) -> Any:
        """Let ``source: built`` be said aloud."""
        return {} if value == "built" else value


class Images(Settings):
    """Container images."""

    pause: Image = "registry.k8s.io/pause:3.10"
    """Holds a pod's namespaces."""

    etcd: Image = "registry.k8s.io/etcd:3.6.14"
    """kube-dns: keeps the records."""

    skydns: Image = "docker.io/coredns/coredns:1.14.7"
    """kube-dns: answers from them."""

    kube2sky: Image = "docker.io/kubernetes-mesos/kube2sky:1"
    """kube-dns: writes them."""

    busybox: Image = "docker.io/library/busybox:1.35"
    """The smoke pod."""

    @property
    def for_pods(self) -> tuple[str, ...]:
        """What nodes should have before pods ask for it."""
        return (self.etcd, self.skydns, self.kube2sky, self.busybox)

    @property
    def on_nodes(self) -> tuple[str, ...]:
        """All that nodes should have."""
        return (self.pause, *self.for_pods)


class StackSettings(Settings):
    """Everything under ``kubernetes-mesos:cluster``."""

    hosts: LabHosts | MetalHostsSettings | AwsHostsSettings = Field(discriminator="on")
    """The machines."""

    networks: Networks = Networks()
    """Networks inside the cluster."""

    dns: Dns = Dns()
    """kube-dns."""

    kubernetes: Kubernetes = Kubernetes()
    """How Kubernetes uses Mesos."""

    mesos: Mesos = Mesos()
    """Mesos itself."""

    frameworks: tuple[FrameworkSettings, ...] = ()
    """Other frameworks that come up with the cluster."""

    images: Images = Images()
    """Container images."""

    certificates_issue: int = Field(default=1, ge=1)
    """Raise it to issue all certificates of all hosts anew."""

    @property
    def scheduler_ports(self) -> tuple[int, ...]:
        """Where frameworks of the stack listen on control hosts."""
        return tuple(port for framework in self.frameworks for port in framework.ports)


def load_settings(config: pulumi.Config) -> StackSettings:
    """Read the ``cluster`` key of the current stack, or explain all that is wrong with it.

    Raises:
        SettingsError: The key is missing, or what it holds cannot be used.
    """
    stack = pulumi.get_stack()
    given = config.get_object("cluster")
    if given is None:
        missing = Problem(
            place=f"{config.name}:cluster",
            given="missing",
            allowed="a mapping with at least the key hosts",
            remedy="see stacks/Pulumi.local.yaml for the smallest one",
        )
        raise report(stack, [missing])
    return parse_settings(stack, given)


def parse_settings(stack: str, given: object) -> StackSettings:
    """Turn plain data into settings, or raise one `SettingsError` with all mistakes."""
    try:
        # As JSON, because pydantic's strictness knows that JSON has no networks, tuples or enums.
        settings = StackSettings.model_validate_json(json.dumps(given))
    except ValidationError as error:
        raise report(stack, from_pydantic(StackSettings, error.errors())) from error
    if problems := contradictions(settings):
        raise report(stack, problems)
    return settings


if __name__ == "__main__":
    if sys.argv[1:] != ["--table"]:
        raise SystemExit("usage: python3 -m stacks.settings --table")
    print(settings_table(StackSettings))
