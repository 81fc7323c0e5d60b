"""The VPC that the cluster's machines stand in, and who may talk to whom.

Makes the VPC, one public subnet a zone, gateway, routes and the security groups with their rules.
Every machine has a public address, because packages come from the internet and NAT gateways cost
more than the machines of a small cluster; the groups decide who may use it.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
import pulumi_aws as aws

from components.aws_rules import GROUPS, Rule, incoming, outgoing

RULE_KINDS = {
    "from": aws.vpc.SecurityGroupIngressRule,
    "to": aws.vpc.SecurityGroupEgressRule,
}


@dataclass(frozen=True, kw_only=True)
class AwsNetworkArgs:
    """Where, and who may come in."""

    region: str
    zones: Sequence[str]
    """Letters."""

    network: IPv4Network
    operators: Sequence[str]
    """Networks that may use SSH and the API."""

    scheduler_ports: Sequence[int]
    """Where frameworks listen on control hosts."""

    bastion: bool
    tags: Mapping[str, str]


class AwsNetwork(pulumi.ComponentResource):
    """A VPC with a public subnet in each zone, and a security group for each kind of machine.

    Makes: ``<name>-vpc``, ``-gateway``, ``-routes``, ``-world``, for each zone ``-<zone>`` and
    ``-<zone>-routes``, for each group ``-<group>`` and its rules.
    """

    vpc_id: pulumi.Output[str]
    subnet_ids: dict[str, pulumi.Output[str]]
    """By zone letter."""

    group_ids: dict[str, pulumi.Output[str]]
    """By kind of machine: control, agent, api and, if there is one, bastion."""

    ways_out: list[pulumi.Resource]
    """The routes to the internet: what has a public address is made after them, and goes before.

    AWS refuses to make a balancer while there is no gateway, and to take the gateway away while
    addresses are left."""

    def __init__(
        self, name: str, args: AwsNetworkArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:AwsNetwork", name, {}, opts)
        self._name = name
        self._args = args
        self._child = pulumi.ResourceOptions(parent=self)
        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=str(args.network),
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=self._tags("vpc"),
            opts=self._child,
        )
        self.vpc_id = vpc.id
        self.ways_out = []
        self.subnet_ids = self._make_subnets(self._make_routes())
        self.group_ids = self._make_groups()
        for rule in incoming(args.operators, args.scheduler_ports, bastion=args.bastion):
            self._make_rule("from", rule)
        for rule in outgoing(str(args.network), bastion=args.bastion):
            self._make_rule("to", rule)
        self.register_outputs({})

    def _tags(self, what: str) -> dict[str, str]:
        return {**self._args.tags, "Name": f"{self._name}-{what}"}

    def _make_routes(self) -> aws.ec2.RouteTable:
        gateway = aws.ec2.InternetGateway(
            f"{self._name}-gateway",
            vpc_id=self.vpc_id,
            tags=self._tags("gateway"),
            opts=self._child,
        )
        table = aws.ec2.RouteTable(
            f"{self._name}-routes", vpc_id=self.vpc_id, tags=self._tags("routes"), opts=self._child
        )
        world = aws.ec2.Route(
            f"{self._name}-world",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=self._child,
        )
        self.ways_out.append(world)
        return table

    def _make_subnets(self, table: aws.ec2.RouteTable) -> dict[str, pulumi.Output[str]]:
        made: dict[str, pulumi.Output[str]] = {}
        for zone, network in subnets(self._args.network, self._args.zones).items():
            subnet = aws.ec2.Subnet(
                f"{self._name}-{zone}",
                vpc_id=self.vpc_id,
                availability_zone=f"{self._args.region}{zone}",
                cidr_block=str(network),
                map_public_ip_on_launch=False,
                tags=self._tags(zone),
                opts=self._child,
            )
            routes = aws.ec2.RouteTableAssociation(
                f"{self._name}-{zone}-routes",
                subnet_id=subnet.id,
                route_table_id=table.id,
                opts=self._child,
            )
            self.ways_out.append(routes)
            made[zone] = subnet.id
        return made

    def _make_groups(self) -> dict[str, pulumi.Output[str]]:
        kinds = [kind for kind in GROUPS if kind != "bastion" or self._args.bastion]
        return {
            kind: aws.ec2.SecurityGroup(
                f"{self._name}-{kind}",
                description=GROUPS[kind],
                vpc_id=self.vpc_id,
                tags=self._tags(kind),
                opts=self._child,
            ).id
            for kind in kinds
        }

    def _make_rule(self, direction: str, rule: Rule) -> None:
        make = RULE_KINDS[direction]
        other_group = self.group_ids.get(rule.other)
        make(
            f"{self._name}-{rule.group}-{direction}-{rule.slug}",
            security_group_id=self.group_ids[rule.group],
            referenced_security_group_id=other_group,
            cidr_ipv4=None if other_group else rule.other,
            ip_protocol=rule.protocol,
            # AWS refuses ports where all protocols are meant.
            from_port=None if rule.protocol == "-1" else rule.ports[0],
            to_port=None if rule.protocol == "-1" else rule.ports[1],
            description=rule.why,
            tags=self._tags(f"{rule.group}-{direction}-{rule.slug}"),
            opts=self._child,
        )


def subnets(network: IPv4Network, zones: Sequence[str]) -> dict[str, IPv4Network]:
    """Give each zone the /24 that its letter stands for, so that a new zone moves no other."""
    parts = list(network.subnets(new_prefix=24))
    return {zone: parts[string.ascii_lowercase.index(zone)] for zone in zones}
