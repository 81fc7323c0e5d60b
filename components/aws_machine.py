"""One EC2 instance that is known by its host key from its first second."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws


@dataclass(frozen=True, kw_only=True)
class AwsMachineArgs:
    image: pulumi.Input[str]
    type: str
    disk_gb: int
    subnet_id: pulumi.Input[str]
    group_id: pulumi.Input[str]
    key_name: pulumi.Input[str]
    host_key: pulumi.Input[str]
    """JSON with ``private`` and ``public``, as ``components.keys ssh`` prints it."""

    tags: Mapping[str, str]
    spot: bool = False
    protect: bool = False
    """Its disk holds what cannot be made again."""


def make_machine(name: str, args: AwsMachineArgs, opts: pulumi.ResourceOptions) -> aws.ec2.Instance:
    """Make an instance with an encrypted disk and metadata that only a session token opens."""
    tags = {**args.tags, "Name": name}
    return aws.ec2.Instance(
        name,
        ami=args.image,
        instance_type=args.type,
        subnet_id=args.subnet_id,
        vpc_security_group_ids=[args.group_id],
        associate_public_ip_address=True,
        key_name=args.key_name,
        user_data=pulumi.Output.from_input(args.host_key).apply(
            lambda key: cloud_config(name, key)
        ),
        user_data_replace_on_change=False,
        # One hop: a pod cannot reach the metadata, where the host key lies.
        metadata_options={
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 1,
        },
        root_block_device={
            "volume_type": "gp3",
            "volume_size": args.disk_gb,
            "encrypted": True,
            "delete_on_termination": not args.protect,
            "tags": tags,
        },
        instance_market_options=(
            {"market_type": "spot", "spot_options": {"spot_instance_type": "one-time"}}
            if args.spot
            else None
        ),
        disable_api_termination=args.protect,
        tags=tags,
        opts=pulumi.ResourceOptions.merge(
            opts,
            # What matters at the first boot alone is no reason to lose a machine: a newer image,
            # the operators' next key, other words in the user data.
            pulumi.ResourceOptions(
                ignore_changes=["ami", "keyName", "userData"], protect=args.protect
            ),
        ),
    )


def cloud_config(name: str, host_key: str) -> str:
    """Write the user data: the machine's name and its one SSH host key, made by us."""
    pair = json.loads(host_key)
    config = {
        "hostname": name,
        "preserve_hostname": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": [],
        "ssh_keys": {"ed25519_private": pair["private"], "ed25519_public": pair["public"]},
        "ssh_pwauth": False,
        "disable_root": True,
    }
    # JSON is YAML: no quoting of our own to get wrong.
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"
