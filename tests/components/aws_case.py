"""AwsHosts under mocks: everything that it asks for, and the order it asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks

from components.aws_hosts import AwsGroup, AwsHosts, AwsHostsArgs
from components.hosts import Role
from preflight import stack_file as stack_files
from tests.components.conftest import Recorder

ROOT = Path(__file__).resolve().parents[2]
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHG8rSCkeRc+L9nVWVYj0gIaY2eVeyC636bntrN0WLEP"

VERSIONS = {
    name: f"{name}-1"
    for name in ("etcd", "kubernetes", "mesos", "km", "cni", "flannel", "kube2sky", "pause")
}

Inputs = Mapping[str, Any]


class AwsMocks(Mocks):
    """Remembers what was asked for; answers with what AWS would add."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, Inputs]] = {}
        self.calls: list[MockCallArgs] = []
        self.recorder = Recorder(self)

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[Any, Any]]:
        self.made[args.name] = (args.typ, args.inputs)
        added = {
            "aws:ec2/instance:Instance": {"privateIp": "10.80.0.9", "publicIp": "198.51.100.9"},
            "aws:lb/loadBalancer:LoadBalancer": {"dnsName": "api.example", "arn": "arn:balancer"},
            "aws:lb/targetGroup:TargetGroup": {"arn": "arn:servers"},
            "aws:ec2/keyPair:KeyPair": {"keyName": f"{args.name}-1"},
            "command:local:Command": {
                "stdout": json.dumps({"private": f"private {args.name}", "public": ED25519})
            },
        }.get(args.typ, {})
        return f"{args.name}-id", {**args.inputs, **added}

    def call(self, args: MockCallArgs) -> dict[Any, Any]:
        self.calls.append(args)
        return {"id": "ami-0123456789abcdef0"}

    def inputs(self, name: str) -> Inputs:
        return self.made[name][1]

    def before(self, name: str) -> set[str]:
        """What has to be there before the engine makes or changes it."""
        return set(self.recorder[name].depends_on)

    def of(self, kind: str) -> dict[str, Inputs]:
        return {name: inputs for name, (typ, inputs) in self.made.items() if typ == kind}


GROUPS = (
    AwsGroup(name="control", role=Role.CONTROL, count=3, type="m6i.large", disk_gb=40),
    AwsGroup(name="general", role=Role.AGENT, count=2, type="m6i.xlarge", disk_gb=80),
    AwsGroup(
        name="cheap",
        role=Role.AGENT,
        count=1,
        type="m6a.large",
        disk_gb=80,
        spot=True,
        attributes={"pool": "cheap"},
    ),
)


def arguments(**more: Any) -> AwsHostsArgs:
    return AwsHostsArgs(
        **{
            "stack": "aws",
            "owner": "platform@example.org",
            "region": "eu-central-1",
            "zones": ("a", "b"),
            "network": IPv4Network("10.80.0.0/16"),
            "operators": ("203.0.113.0/24",),
            "groups": GROUPS,
            "public_key": f"{ED25519} operator",
            "private_key": "PRIVATE",
            "key_file": "~/.ssh/id_ed25519",
            "cluster": "kubernetes-mesos/aws",
            "ask": asking([]),
            "versions": VERSIONS,
            **more,
        }
    )


REPAIRS: dict[str, dict[str, str] | None] = {
    "general-1": {
        "machine": "repair 2: package conntrack is missing",
        "mesos-agent": "repair 1: x",
    },
    "general-2": None,
}
"""What each machine says when it is asked; the others: nothing has changed."""

Asked = list[tuple[str, set[str], dict[str, Any]]]


def asking(asked: Asked) -> Any:
    """Asks nobody; remembers who would have been asked."""

    async def ask(name: str, roles: Any, way: Any) -> dict[str, str] | None:
        asked.append((name, set(roles), dict(way)))
        return REPAIRS.get(name, {})

    return ask


def build(**more: Any) -> tuple[AwsMocks, AwsHosts, dict[str, Any]]:
    return build_from(arguments(**more))


def build_from(args: AwsHostsArgs) -> tuple[AwsMocks, AwsHosts, dict[str, Any]]:
    """Run the component under mocks; also give what its outputs resolved to."""
    mocks = AwsMocks()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(mocks, project="kubernetes-mesos", stack="aws", monitor=mocks.recorder)
    made: list[AwsHosts] = []
    values: dict[str, Any] = {}

    @pulumi.runtime.test
    def run() -> pulumi.Output[Any]:
        made.append(AwsHosts("hosts", args))
        wanted = {
            host.name: pulumi.Output.all(
                address=host.address,
                host=host.connection.host,
                host_key=host.connection.host_key,
                proxy=host.connection.proxy.host if host.connection.proxy else None,
            )
            for host in made[0].hosts.machines
        }
        everything = pulumi.Output.all(
            api=made[0].hosts.api_address,
            ssh=pulumi.Output.all(**made[0].ssh),
            known_hosts=made[0].known_hosts,
            **wanted,
        )
        return everything.apply(values.update)

    try:
        run()
    finally:
        loop.close()
    return mocks, made[0], values


INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"

UNTAGGED = {
    "aws:ec2/route:Route",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:lb/targetGroupAttachment:TargetGroupAttachment",
}
"""Kinds of resources that AWS has no tags for."""


def stack_file(stack: str) -> Any:
    """What a stack file of the repository says of its cluster."""
    text = (ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_text()
    return stack_files.load(text)["config"]["kubernetes-mesos:cluster"]
