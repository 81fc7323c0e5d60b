"""AwsHosts: every input of every resource, checked against what EC2 and ELB accept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import pytest

from tests.components.aws_case import EGRESS, INGRESS, Inputs, build

Guarded = tuple[Any, Any, Any]


@pytest.fixture(scope="module")
def guarded() -> Guarded:
    return build(bastion=True)


# What Pulumi calls a thing, and what AWS' own interface calls it. An input that is in neither
# column fails the test, so the table cannot fall behind the component.


def tag_specification(kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": listed}]}


def run_instances(inputs: Inputs) -> dict[str, Any]:
    disk = inputs["rootBlockDevice"]
    market = inputs.get("instanceMarketOptions")
    metadata = inputs["metadataOptions"]
    return {
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": inputs["ami"],
        "InstanceType": inputs["instanceType"],
        "KeyName": inputs["keyName"],
        "UserData": inputs["userData"],
        "DisableApiTermination": inputs["disableApiTermination"],
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": inputs["subnetId"],
                "Groups": inputs["vpcSecurityGroupIds"],
                "AssociatePublicIpAddress": inputs["associatePublicIpAddress"],
            }
        ],
        "MetadataOptions": {
            "HttpEndpoint": metadata["httpEndpoint"],
            "HttpTokens": metadata["httpTokens"],
            "HttpPutResponseHopLimit": int(metadata["httpPutResponseHopLimit"]),
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "VolumeType": disk["volumeType"],
                    "VolumeSize": int(disk["volumeSize"]),
                    "Encrypted": disk["encrypted"],
                    "DeleteOnTermination": disk["deleteOnTermination"],
                },
            }
        ],
        **(
            {
                "InstanceMarketOptions": {
                    "MarketType": market["marketType"],
                    "SpotOptions": {"SpotInstanceType": market["spotOptions"]["spotInstanceType"]},
                }
            }
            if market
            else {}
        ),
        **tag_specification("instance", inputs["tags"]),
        "used": USED_OF_INSTANCE,
    }


USED_OF_INSTANCE = {
    *("ami", "instanceType", "keyName", "userData", "disableApiTermination", "subnetId"),
    *("vpcSecurityGroupIds", "associatePublicIpAddress", "metadataOptions", "rootBlockDevice"),
    *("instanceMarketOptions", "tags"),
    "userDataReplaceOnChange",  # Pulumi's own: nothing is sent
}


def plainly(names: Mapping[str, str], kind: str | None = None, own: Iterable[str] = ()) -> Any:
    """A converter for resources whose inputs are called nearly the same on both sides."""

    def convert(inputs: Inputs) -> dict[str, Any]:
        sent = {names[key]: value for key, value in inputs.items() if key in names}
        if kind and "tags" in inputs:
            sent |= tag_specification(kind, inputs["tags"])
        return {**sent, "used": {*names, *own, *(["tags"] if kind else [])}}

    return convert


def security_group_rule(inputs: Inputs) -> dict[str, Any]:
    permission: dict[str, Any] = {"IpProtocol": inputs["ipProtocol"]}
    if "fromPort" in inputs:
        permission |= {"FromPort": int(inputs["fromPort"]), "ToPort": int(inputs["toPort"])}
    if "cidrIpv4" in inputs:
        permission["IpRanges"] = [
            {"CidrIp": inputs["cidrIpv4"], "Description": inputs["description"]}
        ]
    else:
        permission["UserIdGroupPairs"] = [
            {
                "GroupId": inputs["referencedSecurityGroupId"],
                "Description": inputs["description"],
            }
        ]
    return {
        "GroupId": inputs["securityGroupId"],
        "IpPermissions": [permission],
        **tag_specification("security-group-rule", inputs["tags"]),
        "used": {
            *("ipProtocol", "fromPort", "toPort", "cidrIpv4", "referencedSecurityGroupId"),
            *("description", "securityGroupId", "tags"),
        },
    }


def elb_tags(inputs: Inputs) -> dict[str, Any]:
    return {"Tags": [{"Key": key, "Value": value} for key, value in inputs["tags"].items()]}


def load_balancer(inputs: Inputs) -> dict[str, Any]:
    return {
        "Name": "hosts-api-balancer-1234567",
        "Type": inputs["loadBalancerType"],
        "Scheme": "internal" if inputs["internal"] else "internet-facing",
        "Subnets": inputs["subnets"],
        "SecurityGroups": inputs["securityGroups"],
        **elb_tags(inputs),
        "used": {
            *("loadBalancerType", "internal", "subnets", "securityGroups", "tags"),
            # Sent by ModifyLoadBalancerAttributes, as text.
            *("enableCrossZoneLoadBalancing", "enableDeletionProtection"),
        },
    }


def target_group(inputs: Inputs) -> dict[str, Any]:
    health = inputs["healthCheck"]
    return {
        "Name": "hosts-api-servers-1234567",
        "VpcId": inputs["vpcId"],
        "Port": int(inputs["port"]),
        "Protocol": inputs["protocol"],
        "TargetType": inputs["targetType"],
        "HealthCheckProtocol": health["protocol"],
        "HealthCheckPort": health["port"],
        "HealthCheckIntervalSeconds": int(health["interval"]),
        "HealthyThresholdCount": int(health["healthyThreshold"]),
        "UnhealthyThresholdCount": int(health["unhealthyThreshold"]),
        **elb_tags(inputs),
        "used": {
            *("vpcId", "port", "protocol", "targetType", "healthCheck", "tags"),
            # Sent by ModifyTargetGroupAttributes, as text.
            *("preserveClientIp", "deregistrationDelay"),
        },
    }


def listener(inputs: Inputs) -> dict[str, Any]:
    return {
        "LoadBalancerArn": inputs["loadBalancerArn"],
        "Port": int(inputs["port"]),
        "Protocol": inputs["protocol"],
        "DefaultActions": [
            {"Type": action["type"], "TargetGroupArn": action["targetGroupArn"]}
            for action in inputs["defaultActions"]
        ],
        **elb_tags(inputs),
        "used": {"loadBalancerArn", "port", "protocol", "defaultActions", "tags"},
    }


def registration(inputs: Inputs) -> dict[str, Any]:
    return {
        "TargetGroupArn": inputs["targetGroupArn"],
        "Targets": [{"Id": inputs["targetId"], "Port": int(inputs["port"])}],
        "used": {"targetGroupArn", "targetId", "port"},
    }


SENT: dict[str, tuple[str, str, Any]] = {
    "aws:ec2/instance:Instance": ("ec2", "RunInstances", run_instances),
    "aws:ec2/vpc:Vpc": (
        "ec2",
        "CreateVpc",
        # The DNS switches are ModifyVpcAttribute's.
        plainly({"cidrBlock": "CidrBlock"}, "vpc", ("enableDnsSupport", "enableDnsHostnames")),
    ),
    "aws:ec2/internetGateway:InternetGateway": (
        "ec2",
        "CreateInternetGateway",
        plainly({}, "internet-gateway", ("vpcId",)),
    ),
    "aws:ec2/routeTable:RouteTable": (
        "ec2",
        "CreateRouteTable",
        plainly({"vpcId": "VpcId"}, "route-table"),
    ),
    "aws:ec2/route:Route": (
        "ec2",
        "CreateRoute",
        plainly(
            {
                "routeTableId": "RouteTableId",
                "destinationCidrBlock": "DestinationCidrBlock",
                "gatewayId": "GatewayId",
            }
        ),
    ),
    "aws:ec2/subnet:Subnet": (
        "ec2",
        "CreateSubnet",
        plainly(
            {"vpcId": "VpcId", "availabilityZone": "AvailabilityZone", "cidrBlock": "CidrBlock"},
            "subnet",
            ("mapPublicIpOnLaunch",),
        ),
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": (
        "ec2",
        "AssociateRouteTable",
        plainly({"subnetId": "SubnetId", "routeTableId": "RouteTableId"}),
    ),
    "aws:ec2/securityGroup:SecurityGroup": (
        "ec2",
        "CreateSecurityGroup",
        lambda inputs: {
            "GroupName": "made-by-pulumi",
            **plainly({"description": "Description", "vpcId": "VpcId"}, "security-group")(inputs),
        },
    ),
    INGRESS: ("ec2", "AuthorizeSecurityGroupIngress", security_group_rule),
    EGRESS: ("ec2", "AuthorizeSecurityGroupEgress", security_group_rule),
    "aws:ec2/keyPair:KeyPair": (
        "ec2",
        "ImportKeyPair",
        lambda inputs: {
            "KeyName": "made-by-pulumi",
            **plainly({"publicKey": "PublicKeyMaterial"}, "key-pair")(inputs),
        },
    ),
    "aws:lb/loadBalancer:LoadBalancer": ("elbv2", "CreateLoadBalancer", load_balancer),
    "aws:lb/targetGroup:TargetGroup": ("elbv2", "CreateTargetGroup", target_group),
    "aws:lb/listener:Listener": ("elbv2", "CreateListener", listener),
    "aws:lb/targetGroupAttachment:TargetGroupAttachment": (
        "elbv2",
        "RegisterTargets",
        registration,
    ),
}


def service(name: str) -> botocore.model.ServiceModel:
    description = botocore.loaders.Loader().load_service_model(name, "service-2")
    return botocore.model.ServiceModel(description, name)


def outside_enum(shape: botocore.model.Shape, value: Any, place: str) -> list[str]:
    """Find text that the model lists no such choice for; botocore itself does not look."""
    if isinstance(shape, botocore.model.StructureShape) and isinstance(value, dict):
        return [
            problem
            for key, inner in value.items()
            for problem in outside_enum(shape.members[key], inner, f"{place}.{key}")
        ]
    if isinstance(shape, botocore.model.ListShape) and isinstance(value, list):
        return [p for inner in value for p in outside_enum(shape.member, inner, f"{place}[]")]
    choices = getattr(shape, "enum", [])
    return [f"{place}: {value}"] if choices and value not in choices else []


@pytest.mark.parametrize("kind", sorted(SENT))
def test_all_inputs_are_what_the_service_model_accepts(kind: str, guarded: Any) -> None:
    service_name, operation, convert = SENT[kind]
    shape = service(service_name).operation_model(operation).input_shape
    made = guarded[0].of(kind)
    assert made, "the component makes one"

    for name, inputs in made.items():
        sent = convert(inputs)
        used = sent.pop("used")
        report = botocore.validate.ParamValidator().validate(sent, shape)

        assert not report.has_errors(), f"{name}: {report.generate_report()}"
        assert outside_enum(shape, sent, operation) == [], name
        assert set(inputs) - used == set(), f"{name}: inputs that the table does not know"


def test_the_table_knows_every_kind_of_resource_that_is_made(guarded: Any) -> None:
    kinds = {kind for kind, _ in guarded[0].made.values() if kind.startswith("aws:")}

    assert kinds == set(SENT)


def test_names_that_pulumi_makes_for_balancers_are_short_enough(guarded: Any) -> None:
    random_part = len("-1234567")
    for kind in ("aws:lb/loadBalancer:LoadBalancer", "aws:lb/targetGroup:TargetGroup"):
        for name in guarded[0].of(kind):
            assert len(name) + random_part <= 32
