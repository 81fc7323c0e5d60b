"""``hosts.on: aws``: machines that the program makes on EC2."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stacks.metal_settings import Attributes, Labels, Name, Share, Strict
from stacks.problems import Problem, wrong


def _instance_type(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", value):
        raise wrong("an instance type, such as m6i.large", "see `aws ec2 describe-instance-types`")
    if re.match(r"(a1|[a-z]+\d+g[a-z]*|mac\S*)\.", value):
        raise wrong(
            "a type with x86_64 processors: Mesos has no packages for Arm",
            "take the same family's i or a type, such as m6i.large or m6a.large",
        )
    return value


def _vpc_network(value: str) -> str:
    try:
        network = IPv4Network(value)
    except ValueError as error:
        raise wrong("an IPv4 network, such as 10.80.0.0/16", str(error)) from error
    if not 16 <= network.prefixlen <= 20 or not network.is_private:
        raise wrong(
            "a private network of /16 to /20: AWS' largest, down to 16 subnets of 256",
            "for example 10.80.0.0/16",
        )
    return str(network)


def _operators(values: tuple[str, ...]) -> tuple[str, ...]:
    """Write each network the way AWS writes it: two words for one would be two equal rules."""
    networks = [_operators_network(value) for value in values]
    for index, network in enumerate(networks):
        if network in networks[:index]:
            raise wrong("each network once", f"remove {values[index]}: it is {network} again")
    return tuple(networks)


def _operators_network(value: str) -> str:
    try:
        network = IPv4Network(value)
    except ValueError as error:
        raise wrong("IPv4 networks, such as 203.0.113.7/32", str(error)) from error
    if network.prefixlen == 0:
        raise wrong(
            "the networks of the operators, not the whole internet",
            "give your address, such as 203.0.113.7/32",
        )
    return str(network)


def _tag_value(value: str) -> str:
    """Refuse what AWS refuses, before half of the machines have been made."""
    refused = {letter for letter in value if not _in_tags(letter)}
    if refused or value != value.strip() or value.lower().startswith("aws:"):
        raise wrong(
            "the value of an AWS tag: letters, digits, blanks inside, and + - = . _ : / @; "
            "not beginning with aws:",
            f"leave out {' '.join(sorted(map(repr, refused)))}"
            if refused
            else "write for example platform@example.org",
        )
    return value


def _in_tags(letter: str) -> bool:
    return letter in "+-=._:/@" or unicodedata.category(letter)[0] in "LNZ"


InstanceType = Annotated[str, AfterValidator(_instance_type)]
DiskGb = Annotated[int, Field(ge=20, le=16384)]


class AwsControl(Strict):
    """The control hosts, spread over the zones."""

    count: Literal[1, 3, 5] = 3
    """How many; odd, so that a majority exists."""

    type: InstanceType = "m6i.large"
    """Instance type; 2 processors and 4 GiB at least."""

    disk_gb: DiskGb = 40
    """Encrypted gp3 volume, GiB."""


class AwsPool(Strict):
    """Agents of one kind, spread over the zones."""

    name: Name
    """Its hosts are called <name>-1, <name>-2, …"""

    count: int = Field(ge=1, le=500)
    """How many agents."""

    type: InstanceType = "m6i.xlarge"
    """Instance type."""

    disk_gb: DiskGb = 80
    """Encrypted gp3 volume, GiB."""

    market: Literal["on-demand", "spot"] = "on-demand"
    """spot: cheaper, and taken away at two minutes' notice."""

    attributes: Attributes = Field(default_factory=dict)
    """Mesos attributes of these agents; `market` is added."""

    labels: Labels = Field(default_factory=dict)
    """Labels of their Kubernetes nodes."""


class AwsHostsSettings(Strict):
    """The whole cluster's machines."""

    on: Literal["aws"]
    """The kind of hosts."""

    region: str = Field(default="us-east-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    """AWS region."""

    zones: tuple[Annotated[str, Field(pattern=r"^[a-z]$")], ...] = ("a", "b", "c")
    """Letters of the availability zones to spread over."""

    network: Annotated[str, AfterValidator(_vpc_network)] = "10.80.0.0/16"
    """The VPC; each zone gets a /24 of it."""

    operators: Annotated[tuple[str, ...], AfterValidator(_operators)] = Field(min_length=1)
    """Networks that may use SSH and the Kubernetes API."""

    owner: Annotated[str, AfterValidator(_tag_value)] = Field(min_length=1, max_length=128)
    """Who pays and answers; a tag on everything."""

    control: AwsControl = AwsControl()
    """The control hosts."""

    agents: tuple[AwsPool, ...] = (AwsPool(name="agent", count=3),)
    """Pools of agents."""

    bastion: bool = False
    """Hosts without public SSH, behind one small host that has it."""

    debian: Literal[12, 13] = 12
    """Release of the image."""

    public_key: str = Field(pattern=r"^(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/]{40,}={0,3}( .*)?$")
    """The operators' SSH public key."""

    key: str = "~/.ssh/id_ed25519"
    """Its private half, a file of mode 600 on the operator's machine."""

    protect: bool = True
    """Refuse to delete control hosts, whose disks hold the cluster's data."""

    change_at_once: Share = "25%"
    """How many agents may change at the same time."""

    @property
    def agent_count(self) -> int:
        """How many agents need a part of the pods' network."""
        return sum(pool.count for pool in self.agents)

    @property
    def reserved(self) -> dict[str, IPv4Network]:
        """Networks that are the machines' own, by their place in the file."""
        return {"cluster.hosts.network": IPv4Network(self.network)}

    def contradictions(self) -> Iterator[Problem]:
        """Find what cannot be true together within these settings, all of it."""
        if not self.zones or len(set(self.zones)) < len(self.zones):
            yield Problem(
                place="cluster.hosts.zones",
                given=", ".join(self.zones) or "none",
                allowed="one or more zones, each once",
                remedy="write for example [a, b, c]",
            )
        taken = {"control", "bastion"}
        for index, pool in enumerate(self.agents):
            if pool.name in taken:
                yield Problem(
                    place=f"cluster.hosts.agents.{index}.name",
                    given=pool.name,
                    allowed="a name of its own, other than control and bastion",
                    remedy="rename the pool",
                )
            taken.add(pool.name)
        if not self.agents:
            yield Problem(
                place="cluster.hosts.agents",
                given="none",
                allowed="at least one pool",
                remedy="write [{name: agent, count: 3}]",
            )
