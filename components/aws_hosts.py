"""Hosts on EC2: network, machines and the balancer of the API, from nothing.

Each machine's SSH host key is made here and placed by cloud-init, so that the first login already
knows whom it talks to; then it joins the cluster like a machine that somebody owns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi_command import local, remote

from components.aws_api import AwsApi, AwsApiArgs
from components.aws_machine import AwsMachineArgs, make_machine
from components.aws_network import AwsNetwork, AwsNetworkArgs
from components.aws_prices import monthly_usd
from components.hosts import FaultDomain, Host, Hosts, Role
from components.joining import Joining, join
from components.lab_hosts import part
from components.mesos_source import Repository
from components.program import run_program
from components.programs import Versions
from components.repairs import Ask, Repairs, asked
from components.returning import Returning, answering, returned
from components.rollout import at_once, chains, in_order

DEBIAN = "136693071363"
"""The AWS account that publishes Debian's images; https://wiki.debian.org/Cloud/AmazonEC2Image."""

USER = "admin"
"""Who Debian's images let in; has sudo without a password."""

BASTION_TYPE = "t3.nano"
BASTION_DISK_GB = 20
DIAL_ATTEMPTS = 60
"""Of about a second each: a new machine takes half a minute to its SSH server."""

DIAL_SECONDS = 180
"""For the same, in all: what is tried then may also hang."""


@dataclass(frozen=True, kw_only=True)
class AwsGroup:
    """Machines of one kind, spread over the zones in turn."""

    name: str
    role: Role
    count: int
    type: str
    disk_gb: int
    spot: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AwsHostsArgs:
    """What to make, and for whom."""

    stack: str
    owner: str
    region: str
    zones: Sequence[str]
    network: IPv4Network
    operators: Sequence[str]
    """Networks that may log in and use the API."""

    scheduler_ports: Sequence[int] = ()
    """Where frameworks listen on control hosts."""

    groups: Sequence[AwsGroup]
    public_key: str
    private_key: pulumi.Input[str]
    """The operators' key pair."""

    key_file: str
    """Where each operator has the private key: the same words for all of them."""

    cluster: str
    """What the machines remember that they belong to."""

    ask: Ask
    """Asks a machine what of it is no longer as our recipes left it."""

    versions: Versions
    repository: Repository | None = None
    """Where machines fetch Mesos' packages, if they do."""

    change_at_once: str = "25%"
    """A share or a number of the agents."""

    bastion: bool = False
    protect: bool = True
    """Keep control hosts and the balancer from being deleted."""

    debian: int = 12


class AwsHosts(pulumi.ComponentResource):
    """Hosts on EC2.

    Makes: ``<name>-network``, ``<name>-api``, ``<name>-login``, for each host ``<host>-key``,
    ``<host>``, ``<host>-back``, ``<host>-answers`` and ``<host>-join``, and the first two for
    ``bastion`` if there is one.
    """

    hosts: Hosts
    """What the rest of the program works on."""

    ssh: dict[str, pulumi.Output[str]]
    """How an operator logs in, by host name: a line for a shell."""

    known_hosts: pulumi.Output[str]
    """Lines for an operator's known_hosts file: nobody has to trust a machine at first sight."""

    estimated_monthly_cost_usd: float | None
    """List prices of `aws_prices.AS_OF`; None when a type's price is not known."""

    def __init__(
        self, name: str, args: AwsHostsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:AwsHosts", name, {}, opts)
        self._name = name
        self._args = args
        provider = aws.Provider(
            f"{name}-aws", region=args.region, opts=pulumi.ResourceOptions(parent=self)
        )
        self._child = pulumi.ResourceOptions(parent=self, provider=provider)
        self._tags = {
            "kubernetes-mesos/stack": args.stack,
            "kubernetes-mesos/owner": args.owner,
        }
        self._network = AwsNetwork(
            f"{name}-network",
            AwsNetworkArgs(
                region=args.region,
                zones=args.zones,
                network=args.network,
                operators=args.operators,
                scheduler_ports=args.scheduler_ports,
                bastion=args.bastion,
                tags=self._tags,
            ),
            pulumi.ResourceOptions(parent=self, providers=[provider]),
        )
        self._image = self._find_image()
        self._public = pulumi.ResourceOptions.merge(
            self._child, pulumi.ResourceOptions(depends_on=self._network.ways_out)
        )
        self._login = aws.ec2.KeyPair(
            f"{name}-login",
            public_key=args.public_key,
            tags=self._tagged(f"{name}-login"),
            opts=self._child,
        )
        self.ssh = {}
        self._known: list[pulumi.Output[str]] = []
        self._proxy: remote.ProxyConnectionArgs | None = None
        if args.bastion:
            self._proxy = self._make_bastion()
        made = self._make_all()
        api = AwsApi(
            f"{name}-api",
            AwsApiArgs(
                vpc_id=self._network.vpc_id,
                subnet_ids=list(self._network.subnet_ids.values()),
                group_id=self._network.group_ids["api"],
                control_ids={
                    host.name: instance.id for host, instance in made if Role.CONTROL in host.roles
                },
                ways_out=self._network.ways_out,
                protect=args.protect,
                tags=self._tags,
            ),
            pulumi.ResourceOptions(parent=self, providers=[provider]),
        )
        hosts = in_order([host for host, _ in made], args.change_at_once)
        self.hosts = Hosts(machines=hosts, api_address=api.address)
        self.known_hosts = pulumi.Output.unsecret(pulumi.Output.all(*self._known)).apply(lines)
        self.estimated_monthly_cost_usd = monthly_usd(machines(args))
        self.register_outputs({})

    def _tagged(self, what: str) -> dict[str, str]:
        return {**self._tags, "Name": what}

    def _find_image(self) -> pulumi.Output[str]:
        """The newest image of the release, by its publisher and name, never by id."""
        found = aws.ec2.get_ami_output(
            owners=[DEBIAN],
            most_recent=True,
            filters=[
                {"name": "name", "values": [f"debian-{self._args.debian}-amd64-*"]},
                {"name": "virtualization-type", "values": ["hvm"]},
            ],
            opts=pulumi.InvokeOptions(parent=self, provider=self._child.provider),
        )
        return found.id

    def _make_all(self) -> list[tuple[Host, aws.ec2.Instance]]:
        """Make all machines, each after the one that must be back before this one is stopped."""
        placed = list(placements(self._args.groups, self._args.zones))
        before = stopped_after(placed, self._args.change_at_once)
        back: dict[str, pulumi.Resource] = {}
        made = []
        for name, group, zone in placed:
            other = before[name]
            after = pulumi.ResourceOptions(depends_on=[back[other]] if other else [])
            host, instance, back[name] = self._make_host(name, group, zone, after)
            made.append((host, instance))
        return made

    def _make_host(
        self, name: str, group: AwsGroup, zone: str, after: pulumi.ResourceOptions
    ) -> tuple[Host, aws.ec2.Instance, local.Command]:
        key = self._make_key(name)
        keeps_data = group.role == Role.CONTROL and self._args.protect
        machine = self._machine_args(key, group.type, group.disk_gb, group.role.value, zone)
        instance = make_machine(
            name,
            replace(machine, spot=group.spot, protect=keeps_data),
            pulumi.ResourceOptions.merge(self._public, after),
        )
        reach = instance.private_ip if self._proxy else instance.public_ip
        self._introduce(name, reach, key)
        way = self._way_in(instance, part(key, "public"))
        gone_with = pulumi.ResourceOptions(parent=self, deleted_with=instance)
        changed = Returning(
            name=name,
            way=way,
            address=instance.private_ip,
            machine={"id": instance.id, "type": group.type},
            dial_seconds=DIAL_SECONDS,
        )
        back = returned(f"{name}-back", changed, gone_with)
        answers = answering(f"{name}-answers", changed, gone_with)
        repairs = asked(self._args.ask, name, {group.role}, way, [back, answers])
        market = {"market": "spot" if group.spot else "on-demand"}
        host = Host(
            name=name,
            roles=frozenset({group.role}),
            address=instance.private_ip,
            connection=remote.ConnectionArgs(
                host=reach,
                user=USER,
                private_key=self._args.private_key,
                host_key=part(key, "public"),
                proxy=self._proxy,
                dial_error_limit=DIAL_ATTEMPTS,
            ),
            user=USER,
            kind=group.type,
            attributes={**group.attributes, **(market if group.role == Role.AGENT else {})},
            labels=group.labels,
            fault_domain=FaultDomain(region=self._args.region, zone=f"{self._args.region}{zone}"),
            # Nobody asks here which agents are new; that those wait as well costs seconds.
            member=True,
            repairs=repairs,
            machine=self._join(name, group.role, way, repairs, gone_with),
        )
        return host, instance, back

    def _join(
        self,
        name: str,
        role: Role,
        way: Mapping[str, Any],
        repairs: Repairs,
        opts: pulumi.ResourceOptions,
    ) -> local.Command:
        """Install what the role needs; an instance that goes takes all of it along."""
        return join(
            f"{name}-join",
            Joining(
                name=name,
                roles=frozenset({role}),
                way=way,
                cluster=self._args.cluster,
                versions=self._args.versions,
                repository=self._args.repository,
                repairs=repairs,
                dial_seconds=DIAL_SECONDS,
            ),
            opts,
        )

    def _way_in(self, instance: aws.ec2.Instance, host_key: Any) -> dict[str, Any]:
        reach = instance.private_ip if self._proxy else instance.public_ip
        bastion = self._proxy and self._way(self._proxy.host, self._proxy.host_key)
        return {**self._way(reach, host_key), "bastion": bastion}

    def _way(self, address: Any, host_key: Any) -> dict[str, Any]:
        return {
            "address": address,
            "port": 22,
            "user": USER,
            "key": self._args.key_file,
            "host_key": host_key,
        }

    def _make_bastion(self) -> remote.ProxyConnectionArgs:
        key = self._make_key("bastion")
        bastion = make_machine(
            "bastion",
            self._machine_args(key, BASTION_TYPE, BASTION_DISK_GB, "bastion", self._args.zones[0]),
            self._public,
        )
        self._introduce("bastion", bastion.public_ip, key)
        return remote.ProxyConnectionArgs(
            host=bastion.public_ip,
            user=USER,
            private_key=self._args.private_key,
            host_key=part(key, "public"),
            dial_error_limit=DIAL_ATTEMPTS,
        )

    def _introduce(self, name: str, address: pulumi.Output[str], key: local.Command) -> None:
        """Tell operators how to reach a host, and what it will show."""
        jump = [f" -J {USER}@", self._proxy.host] if self._proxy else []
        self.ssh[name] = pulumi.Output.concat(
            f"ssh -i {self._args.key_file}", *jump, f" {USER}@", address
        )
        self._known.append(pulumi.Output.concat(address, " ", part(key, "public")))

    def _make_key(self, name: str) -> local.Command:
        return run_program(
            f"{name}-key",
            "components.keys ssh",
            {"comment": name},
            pulumi.ResourceOptions(parent=self),
            secret=True,
        )

    def _machine_args(
        self, key: local.Command, kind: str, disk_gb: int, group: str, zone: str
    ) -> AwsMachineArgs:
        return AwsMachineArgs(
            image=self._image,
            type=kind,
            disk_gb=disk_gb,
            subnet_id=self._network.subnet_ids[zone],
            group_id=self._network.group_ids[group],
            key_name=self._login.key_name,
            host_key=key.stdout,
            tags=self._tags,
        )


def lines(texts: Sequence[str]) -> str:
    return "".join(f"{text}\n" for text in texts)


def placements(
    groups: Sequence[AwsGroup], zones: Sequence[str]
) -> Iterator[tuple[str, AwsGroup, str]]:
    """Name every machine and give it a zone, in turn; the first ones stay when a group grows."""
    for group in groups:
        for index in range(group.count):
            yield f"{group.name}-{index + 1}", group, zones[index % len(zones)]


def stopped_after(placed: Sequence[tuple[str, AwsGroup, str]], share: str) -> dict[str, str | None]:
    """Name for each machine the one that must be back before this one is stopped.

    Control hosts go one by one, because a majority has to stay; agents as many at a time as may
    change.
    """
    control = [name for name, group, _ in placed if group.role == Role.CONTROL]
    agents = [name for name, group, _ in placed if group.role == Role.AGENT]
    return {**chains(control, 1), **chains(agents, at_once(share, len(agents)))}


def machines(args: AwsHostsArgs) -> list[tuple[str, int]]:
    """All machines as (instance type, GiB of disk), the bastion too."""
    bastion = [(BASTION_TYPE, BASTION_DISK_GB)] if args.bastion else []
    return bastion + [
        (group.type, group.disk_gb) for group in args.groups for _ in range(group.count)
    ]
