"""Settings that are each fine and cannot be true together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from itertools import chain, combinations, product
from typing import Protocol

from stacks.mesos_source_settings import MesosSource, sources
from stacks.problems import Problem
from stacks.sharing_settings import Mesos as SharedMesos
from stacks.sharing_settings import Shared, sharing


class Group(Protocol):
    @property
    def count(self) -> int: ...


class Agents(Group, Protocol):
    @property
    def attributes(self) -> Mapping[str, Mapping[str, str]]: ...


class Hosts(Protocol):
    @property
    def on(self) -> str: ...
    @property
    def agent_count(self) -> int: ...
    @property
    def reserved(self) -> Mapping[str, IPv4Network]: ...
    def contradictions(self) -> Iterator[Problem]: ...


class Networks(Protocol):
    @property
    def pods(self) -> IPv4Network: ...
    @property
    def services(self) -> IPv4Network: ...


class Dns(Protocol):
    @property
    def service_ip(self) -> IPv4Address: ...


class Mesos(SharedMesos, Protocol):
    @property
    def source(self) -> MesosSource: ...


class Checked(Shared, Protocol):
    """The part of the settings that the checks look at."""

    @property
    def mesos(self) -> Mesos: ...
    @property
    def hosts(self) -> Hosts: ...
    @property
    def networks(self) -> Networks: ...
    @property
    def dns(self) -> Dns: ...


def contradictions(settings: Checked) -> list[Problem]:
    """Find every contradiction, so that one run of the program shows them all."""
    return [
        *overlaps(settings),
        *sizes(settings),
        *service_address(settings),
        *sharing(settings),
        *sources(settings.mesos.source, settings.hosts),
        *settings.hosts.contradictions(),
    ]


def overlaps(settings: Checked) -> Iterator[Problem]:
    """Two networks with an address in common: traffic to one would go to the other."""
    reserved = settings.hosts.reserved
    cluster = {
        "cluster.networks.pods": settings.networks.pods,
        "cluster.networks.services": settings.networks.services,
    }
    # Hosts among themselves are left out: their own kind looks at that.
    pairs = chain(product(reserved.items(), cluster.items()), combinations(cluster.items(), 2))
    for (place, network), (other, taken) in pairs:
        if network.overlaps(taken):
            yield Problem(
                place=other,
                given=str(taken),
                allowed=f"a network that shares no address with {place} ({network})",
                remedy=f"move {other} or {place} elsewhere in 10.0.0.0/8",
            )


def sizes(settings: Checked) -> Iterator[Problem]:
    """A network that is too small for what has to fit into it."""
    agents = settings.hosts.agent_count
    if 2 ** max(24 - settings.networks.pods.prefixlen, 0) < agents:
        yield Problem(
            place="cluster.networks.pods",
            given=str(settings.networks.pods),
            allowed=f"a network with a /24 for each of the {agents} agents",
            remedy="make it larger: a smaller number after the slash",
        )
    if not 12 <= settings.networks.services.prefixlen <= 28:
        yield Problem(
            place="cluster.networks.services",
            given=str(settings.networks.services),
            allowed="a network of a length from 12 to 28",
            remedy=f"write {settings.networks.services.network_address}/24",
        )


def lab_network(network: IPv4Network | None) -> Iterator[Problem]:
    """A lab's network gives each host an address by its last byte."""
    if network and network.prefixlen != 24:
        yield Problem(
            place="cluster.hosts.network",
            given=str(network),
            allowed="a network of length 24",
            remedy=f"write {network.network_address}/24",
        )


def service_address(settings: Checked) -> Iterator[Problem]:
    """kube-dns' address outside its range, or one that is taken."""
    services, address = settings.networks.services, settings.dns.service_ip
    usable = address in services and address not in (
        services.network_address,
        services.network_address + 1,
        services.broadcast_address,
    )
    if not usable:
        yield Problem(
            place="cluster.dns.service_ip",
            given=str(address),
            allowed=f"an address from {services.network_address + 2} "
            f"to {services.broadcast_address - 1} (cluster.networks.services; "
            f"{services.network_address + 1} is `kubernetes` itself)",
            remedy=f"write {services.network_address + 10}, or move cluster.networks.services",
        )


def unknown_agents(agents: Agents) -> Iterator[Problem]:
    """Attributes for an agent that there is not."""
    names = [f"agent-{number}" for number in range(1, agents.count + 1)]
    for name in agents.attributes:
        if name not in names:
            yield Problem(
                place=f"cluster.hosts.agents.attributes.{name}",
                given="attributes for an unknown agent",
                allowed=", ".join(names),
                remedy=f"remove it, or raise cluster.hosts.agents.count ({agents.count})",
            )
