"""A network load balancer in front of the Kubernetes API servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

PORT = 6443


@dataclass(frozen=True, kw_only=True)
class AwsApiArgs:
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    group_id: pulumi.Input[str]
    """Security group of the balancer."""

    control_ids: Mapping[str, pulumi.Input[str]]
    """Instances by host name."""

    ways_out: Sequence[pulumi.Resource]
    """What has to be there before AWS lets anything face the internet."""

    protect: bool
    tags: Mapping[str, str]


class AwsApi(pulumi.ComponentResource):
    """One name for all API servers.

    Makes: ``<name>-balancer``, ``<name>-servers``, ``<name>-listener`` and ``<name>-<host>``.
    """

    address: pulumi.Output[str]
    """DNS name that clients use, on port 6443."""

    def __init__(
        self, name: str, args: AwsApiArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:AwsApi", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        balancer = aws.lb.LoadBalancer(
            f"{name}-balancer",
            load_balancer_type="network",
            internal=False,
            subnets=list(args.subnet_ids),
            security_groups=[args.group_id],
            enable_cross_zone_load_balancing=True,
            enable_deletion_protection=args.protect,
            tags={**args.tags, "Name": f"{name}-balancer"},
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.ways_out)),
        )
        servers = aws.lb.TargetGroup(
            f"{name}-servers",
            vpc_id=args.vpc_id,
            port=PORT,
            protocol="TCP",
            target_type="instance",
            # Else a control host could not reach itself through the balancer.
            preserve_client_ip="false",
            deregistration_delay=10,
            health_check={
                "protocol": "TCP",
                "port": str(PORT),
                "interval": 10,
                "healthy_threshold": 2,
                "unhealthy_threshold": 2,
            },
            tags={**args.tags, "Name": f"{name}-servers"},
            opts=child,
        )
        aws.lb.Listener(
            f"{name}-listener",
            load_balancer_arn=balancer.arn,
            port=PORT,
            protocol="TCP",
            default_actions=[{"type": "forward", "target_group_arn": servers.arn}],
            tags={**args.tags, "Name": f"{name}-listener"},
            opts=child,
        )
        for host, instance_id in args.control_ids.items():
            aws.lb.TargetGroupAttachment(
                f"{name}-{host}",
                target_group_arn=servers.arn,
                target_id=instance_id,
                port=PORT,
                opts=child,
            )
        self.address = balancer.dns_name
        self.register_outputs({"address": self.address})
