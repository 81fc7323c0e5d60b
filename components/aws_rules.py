"""Who may open which port of whom on AWS: plain data, the least that the cluster works with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

GROUPS = {
    "control": "Kubernetes-Mesos control hosts",
    "agent": "Kubernetes-Mesos agents",
    "api": "Load balancer of the Kubernetes API",
    "bastion": "The way in for operators",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A group's door to another group or a network; which direction, its list says."""

    group: str
    other: str
    """A group's name, or a network."""

    ports: tuple[int, int]
    protocol: str
    why: str

    @property
    def slug(self) -> str:
        """Part of the resource's name: says what the rule is, so that it never changes."""
        other = self.other.replace("/", "-").replace(".", "-")
        return other if self.protocol == "-1" else f"{other}-{self.protocol}-{self.ports[0]}"


def tcp(group: str, other: str, ports: int | tuple[int, int], why: str) -> Rule:
    both = (ports, ports) if isinstance(ports, int) else ports
    return Rule(group=group, other=other, ports=both, protocol="tcp", why=why)


TASK_PORTS = (31000, 32000)
"""What agents offer to tasks of all frameworks."""

INSIDE = (
    tcp("control", "control", 2181, "ZooKeeper clients"),
    tcp("control", "control", 2888, "ZooKeeper followers"),
    tcp("control", "control", 3888, "ZooKeeper elections"),
    tcp("control", "control", 5050, "Mesos masters"),
    tcp("control", "control", (2379, 2380), "etcd"),
    tcp("control", "control", 6443, "Kubernetes API"),
    tcp("control", "agent", 2181, "Agents look for the leading master"),
    tcp("control", "agent", 5050, "Agents register with the master"),
    tcp("control", "agent", 6443, "Kubelets and pods use the Kubernetes API"),
    tcp("control", "api", 6443, "The load balancer passes calls on"),
    tcp("agent", "control", 5051, "Masters launch tasks"),
    tcp("agent", "control", 10250, "The API server reads logs and runs exec"),
    tcp("agent", "control", TASK_PORTS, "Schedulers of frameworks reach their tasks"),
    tcp("agent", "agent", TASK_PORTS, "Tasks of frameworks reach each other"),
    Rule(group="agent", other="agent", ports=(8472, 8472), protocol="udp", why="Pods: VXLAN"),
)
"""What the parts of the cluster need of each other, and nothing more."""

OUTSIDE = (80, 443)
"""Where machines may go in the world: package mirrors, releases, image registries."""


def incoming(
    operators: Sequence[str], scheduler_ports: Sequence[int] = (), *, bastion: bool
) -> Iterator[Rule]:
    """All rules: inside the cluster, and from the operators' networks."""
    yield from INSIDE
    for port in scheduler_ports:
        yield tcp("control", "control", port, "Masters answer the scheduler of a framework")
        yield tcp("control", "agent", port, "Agents and tasks answer the scheduler of a framework")
    door = ("bastion",) if bastion else ("control", "agent")
    for network in operators:
        yield tcp("api", network, 6443, "Operators use the Kubernetes API")
        for group in door:
            yield tcp(group, network, 22, "Operators log in")
    if bastion:
        yield tcp("control", "bastion", 22, "Operators log in through the bastion")
        yield tcp("agent", "bastion", 22, "Operators log in through the bastion")


def outgoing(network: str, *, bastion: bool) -> Iterator[Rule]:
    """Machines talk to each other and fetch; the balancer and the bastion only pass on."""
    for group in ("control", "agent"):
        for port in OUTSIDE:
            yield tcp(group, "0.0.0.0/0", port, "Packages, releases and images")
        yield Rule(group=group, other=network, ports=(-1, -1), protocol="-1", why="The cluster")
    yield tcp("api", "control", 6443, "The Kubernetes API")
    if bastion:
        yield tcp("bastion", network, 22, "Machines of the cluster")
