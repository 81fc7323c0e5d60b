"""From a stack's settings to whom preflight asks, and what each must offer. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from components.ssh import Login
from preflight.targets import Target
from stacks.metal_settings import BastionSettings, MetalHostsSettings, MetalMachine, Role, key_path
from stacks.sharing_settings import FrameworkSettings, RoleSettings

CONTROL_PORTS = {
    2181: "zookeeper.service",
    2888: "zookeeper.service",
    3888: "zookeeper.service",
    5050: "mesos-master.service",
    2379: "etcd.service",
    2380: "etcd.service",
    2381: "etcd.service",
    6443: "kube-apiserver.service",
    10257: "kube-controller-manager.service",
    10251: "km-scheduler.service",
    10262: "km-scheduler.service",
    10259: "km-scheduler.service",
}
"""TCP ports of a control host → the unit that listens."""

AGENT_PORTS = {
    5051: "mesos-agent.service",
    10248: "mesos-agent.service",
    10249: "mesos-agent.service",
    10250: "mesos-agent.service",
    10256: "mesos-agent.service",
}
"""TCP ports of an agent; kubelet and kube-proxy run below the Mesos agent."""

PROXY_PORTS = {6444: "haproxy.service"}
"""And, where there are several API servers, the proxy in front of them."""

MEMORY_MB = {Role.CONTROL: 1800, Role.AGENT: 1400}
"""The least that a machine of a role has; of one with both, the sum."""

CONTROL_RECIPES = (
    *("machine", "zookeeper", "mesos-master", "etcd", "kube-apiserver"),
    *("kube-controller-manager", "km-scheduler"),
)
AGENT_RECIPES = ("machine", "node-runtime", "mesos-agent")
"""What leaves a manifest on each host of a role; what only some stacks have is `Chosen`."""

CONTROL_TO_CONTROL = (2181, 2888, 3888, 5050, 2379, 2380, 6443)
AGENT_TO_CONTROL = (2181, 5050, 6443)
CONTROL_TO_AGENT = (5051, 10250)
AGENT_TO_AGENT = (10250,)
"""Asked of the next agent only: all pairs of a hundred agents are ten thousand questions."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Recipes that a stack has because its file asks for them, by the control hosts they run on."""

    first: tuple[str, ...] = ()
    every: tuple[str, ...] = ()


NO_MORE = Chosen()


def chosen(frameworks: Sequence[FrameworkSettings], roles: Sequence[RoleSettings]) -> Chosen:
    """Read the settings ``frameworks`` and ``mesos.roles``."""
    runs_on = {f"mesos-framework-{one.name}": one.runs_on for one in frameworks}
    sharing = ("mesos-sharing",) if roles else ()
    return Chosen(
        first=(*sharing, *(recipe for recipe, where in runs_on.items() if where == "first")),
        every=tuple(recipe for recipe, where in runs_on.items() if where == "every"),
    )


def targets(hosts: MetalHostsSettings, more: Chosen = NO_MORE) -> list[Target]:
    """Everybody that is not gone, in the order of the file."""
    control = [machine.name for machine in hosts.alive if Role.CONTROL in machine.roles]
    return [
        Target(
            name=machine.name,
            login=login(hosts, machine),
            peers=_peers(machine, hosts.alive),
            ports=_ports(machine, hosts.alive),
            control=Role.CONTROL in machine.roles,
            recipes=recipes(machine.roles),
            chosen=(
                *(more.first if machine.name in control[:1] else ()),
                *(more.every if machine.name in control else ()),
            ),
            memory_mb=sum(MEMORY_MB[role] for role in machine.roles),
        )
        for machine in hosts.alive
    ]


def login(hosts: MetalHostsSettings, machine: MetalMachine) -> Login:
    """The way to a machine, with what the whole list says filled in."""
    user = machine.user or hosts.user
    key = machine.key or hosts.key
    bastion = machine.bastion or hosts.bastion
    return Login(
        address=machine.address,
        port=machine.port or hosts.port,
        user=user,
        key=key_path(key),
        host_key=machine.host_key,
        bastion=bastion_login(bastion, user, key) if bastion else None,
    )


def bastion_login(bastion: BastionSettings, user: str, key: str) -> Login:
    return Login(
        address=bastion.address,
        port=bastion.port,
        user=bastion.user or user,
        key=key_path(bastion.key or key),
        host_key=bastion.host_key,
    )


def _ports(machine: MetalMachine, everybody: Sequence[MetalMachine]) -> dict[int, str]:
    several = sum(Role.CONTROL in other.roles for other in everybody) > 1
    control = CONTROL_PORTS if Role.CONTROL in machine.roles else {}
    agent = AGENT_PORTS if Role.AGENT in machine.roles else {}
    proxy = PROXY_PORTS if Role.AGENT in machine.roles and several else {}
    return {**control, **agent, **proxy}


def recipes(roles: Collection[str]) -> tuple[str, ...]:
    """List what leaves a manifest on a host of these roles."""
    control = CONTROL_RECIPES if Role.CONTROL in roles else ()
    agent = AGENT_RECIPES if Role.AGENT in roles else ()
    return tuple(dict.fromkeys((*control, *agent)))


def _peers(machine: MetalMachine, everybody: Sequence[MetalMachine]) -> frozenset[str]:
    others = [other for other in everybody if other.name != machine.name]
    control = [other.address for other in others if Role.CONTROL in other.roles]
    agents = [other.address for other in others if Role.AGENT in other.roles]
    peers: set[str] = set()
    if Role.CONTROL in machine.roles:
        peers |= _ways(control, CONTROL_TO_CONTROL) | _ways(agents, CONTROL_TO_AGENT)
    if Role.AGENT in machine.roles:
        peers |= _ways(control, AGENT_TO_CONTROL) | _ways(_next(machine, everybody), AGENT_TO_AGENT)
    return frozenset(peers)


def _ways(addresses: Sequence[str], ports: Sequence[int]) -> set[str]:
    return {f"{address}:{port}" for address in addresses for port in ports}


def _next(machine: MetalMachine, everybody: Sequence[MetalMachine]) -> list[str]:
    ring = [other for other in everybody if Role.AGENT in other.roles]
    after = ring[(ring.index(machine) + 1) % len(ring)]
    return [] if after is machine else [after.address]
