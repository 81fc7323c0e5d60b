"""AwsHosts: every input of every resource, as it is written down, and as EC2 and ELB accept it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import pytest

from tests.components import aws_example
from tests.components.aws_case import EGRESS, INGRESS, AwsMocks, build


@pytest.fixture(scope="module")
def guarded() -> AwsMocks:
    return build(bastion=True)[0]


def test_the_example_asks_for_exactly_what_is_written_down() -> None:
    written = json.loads(aws_example.FILE.read_text())
    now = aws_example.everything()

    again = "read the differences, then: python3 -m tests.components.aws_example"
    for title, content in now.items():
        if isinstance(content, dict):
            assert sorted(content) == sorted(written[title]), again
            for name, one in content.items():
                assert one == written[title][name], f"{name}: {again}"
    assert now == written, again
    assert aws_example.FILE.read_text() == aws_example.text(now), again


# What Pulumi calls a thing, and what AWS' own interface calls it: for each kind of resource the
# calls that make it. An input that none of them takes, however deep it lies, fails the test, so the
# table cannot fall behind the component.


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of an AWS service, as its provider makes it."""

    service: str
    operation: str
    values: Mapping[str, Any]


class Given:
    """The inputs of a resource; remembers which of them nobody has taken."""

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self._leaves = dict(leaves(inputs))
        self.left = set(self._leaves)

    def __call__(self, path: str) -> Any:
        self.left.discard(path)
        return self._leaves[path]

    def whole(self, path: str) -> int:
        """Numbers travel as floats."""
        value = self(path)
        assert int(value) == value
        return int(value)

    def has(self, path: str) -> bool:
        return path in self._leaves

    def tags(self, path: str = "tags") -> list[dict[str, str]]:
        names = [leaf for leaf in self._leaves if leaf.startswith(f"{path}.")]
        return [{"Key": name.removeprefix(f"{path}."), "Value": self(name)} for name in names]

    def tagged(self, *kinds: str) -> dict[str, Any]:
        tags = self.tags()
        return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in kinds]}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is not a mapping itself, by the way to it; lists of plain values are one."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}.{index}")
    else:
        yield path, value


def ec2(operation: str, **values: Any) -> Call:
    return Call(service="ec2", operation=operation, values=values)


def elb(operation: str, **values: Any) -> Call:
    return Call(service="elbv2", operation=operation, values=values)


def vpc(given: Given) -> Iterator[Call]:
    yield ec2("CreateVpc", CidrBlock=given("cidrBlock"), **given.tagged("vpc"))
    for name in ("enableDnsSupport", "enableDnsHostnames"):
        attribute = name[0].upper() + name[1:]
        yield ec2("ModifyVpcAttribute", VpcId="vpc-1", **{attribute: {"Value": given(name)}})


def internet_gateway(given: Given) -> Iterator[Call]:
    yield ec2("CreateInternetGateway", **given.tagged("internet-gateway"))
    yield ec2("AttachInternetGateway", InternetGatewayId="igw-1", VpcId=given("vpcId"))


def route_table(given: Given) -> Iterator[Call]:
    yield ec2("CreateRouteTable", VpcId=given("vpcId"), **given.tagged("route-table"))


def route(given: Given) -> Iterator[Call]:
    yield ec2(
        "CreateRoute",
        RouteTableId=given("routeTableId"),
        DestinationCidrBlock=given("destinationCidrBlock"),
        GatewayId=given("gatewayId"),
    )


def subnet(given: Given) -> Iterator[Call]:
    yield ec2(
        "CreateSubnet",
        VpcId=given("vpcId"),
        AvailabilityZone=given("availabilityZone"),
        CidrBlock=given("cidrBlock"),
        **given.tagged("subnet"),
    )
    public = {"Value": given("mapPublicIpOnLaunch")}
    yield ec2("ModifySubnetAttribute", SubnetId="subnet-1", MapPublicIpOnLaunch=public)


def route_table_association(given: Given) -> Iterator[Call]:
    yield ec2("AssociateRouteTable", SubnetId=given("subnetId"), RouteTableId=given("routeTableId"))


def security_group(given: Given) -> Iterator[Call]:
    yield ec2(
        "CreateSecurityGroup",
        GroupName="made-by-pulumi",
        Description=given("description"),
        VpcId=given("vpcId"),
        **given.tagged("security-group"),
    )


def security_group_rule(operation: str) -> Callable[[Given], Iterator[Call]]:
    def calls(given: Given) -> Iterator[Call]:
        description = given("description")
        permission: dict[str, Any] = {"IpProtocol": given("ipProtocol")}
        if given.has("fromPort"):
            permission |= {"FromPort": given.whole("fromPort"), "ToPort": given.whole("toPort")}
        if given.has("cidrIpv4"):
            network = {"CidrIp": given("cidrIpv4"), "Description": description}
            permission["IpRanges"] = [network]
        else:
            group = {"GroupId": given("referencedSecurityGroupId"), "Description": description}
            permission["UserIdGroupPairs"] = [group]
        yield ec2(
            operation,
            GroupId=given("securityGroupId"),
            IpPermissions=[permission],
            **given.tagged("security-group-rule"),
        )

    return calls


def key_pair(given: Given) -> Iterator[Call]:
    yield ec2(
        "ImportKeyPair",
        KeyName="made-by-pulumi",
        PublicKeyMaterial=given("publicKey").encode(),
        **given.tagged("key-pair"),
    )


def instance(given: Given) -> Iterator[Call]:
    disk, metadata = "rootBlockDevice", "metadataOptions"
    given("userDataReplaceOnChange")  # Pulumi's own: nothing is sent
    termination = given("disableApiTermination")
    values = {
        "MinCount": 1,
        "MaxCount": 1,
        "ImageId": given("ami"),
        "InstanceType": given("instanceType"),
        "KeyName": given("keyName"),
        "UserData": given("userData"),
        "DisableApiTermination": termination,
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": given("subnetId"),
                "Groups": given("vpcSecurityGroupIds"),
                "AssociatePublicIpAddress": given("associatePublicIpAddress"),
            }
        ],
        "MetadataOptions": {
            "HttpEndpoint": given(f"{metadata}.httpEndpoint"),
            "HttpTokens": given(f"{metadata}.httpTokens"),
            "HttpPutResponseHopLimit": given.whole(f"{metadata}.httpPutResponseHopLimit"),
        },
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/xvda",
                "Ebs": {
                    "VolumeType": given(f"{disk}.volumeType"),
                    "VolumeSize": given.whole(f"{disk}.volumeSize"),
                    "Encrypted": given(f"{disk}.encrypted"),
                    "DeleteOnTermination": given(f"{disk}.deleteOnTermination"),
                },
            }
        ],
        **given.tagged("instance"),
    }
    if given.has("instanceMarketOptions.marketType"):
        options = "instanceMarketOptions"
        once = {"SpotInstanceType": given(f"{options}.spotOptions.spotInstanceType")}
        market = {"MarketType": given(f"{options}.marketType"), "SpotOptions": once}
        values["InstanceMarketOptions"] = market
    yield ec2("RunInstances", **values)
    yield ec2("CreateTags", Resources=["vol-1"], Tags=given.tags(f"{disk}.tags"))
    # What a changed type and a changed `protect` become.
    kind = {"Value": given("instanceType")}
    yield ec2("ModifyInstanceAttribute", InstanceId="i-1", InstanceType=kind)
    kept = {"Value": termination}
    yield ec2("ModifyInstanceAttribute", InstanceId="i-1", DisableApiTermination=kept)


def attributes(**values: Any) -> list[dict[str, str]]:
    """ELB's switches are text."""
    return [{"Key": key, "Value": written(value)} for key, value in values.items()]


def written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def load_balancer(given: Given) -> Iterator[Call]:
    yield elb(
        "CreateLoadBalancer",
        Name="hosts-api-balancer-1234567",
        Type=given("loadBalancerType"),
        Scheme="internal" if given("internal") else "internet-facing",
        Subnets=given("subnets"),
        SecurityGroups=given("securityGroups"),
        Tags=given.tags(),
    )
    switches = {
        "load_balancing.cross_zone.enabled": given("enableCrossZoneLoadBalancing"),
        "deletion_protection.enabled": given("enableDeletionProtection"),
    }
    yield elb(
        "ModifyLoadBalancerAttributes",
        LoadBalancerArn="arn:balancer",
        Attributes=attributes(**switches),
    )


def target_group(given: Given) -> Iterator[Call]:
    health = "healthCheck"
    yield elb(
        "CreateTargetGroup",
        Name="hosts-api-servers-1234567",
        VpcId=given("vpcId"),
        Port=given.whole("port"),
        Protocol=given("protocol"),
        TargetType=given("targetType"),
        HealthCheckProtocol=given(f"{health}.protocol"),
        HealthCheckPort=given(f"{health}.port"),
        HealthCheckIntervalSeconds=given.whole(f"{health}.interval"),
        HealthyThresholdCount=given.whole(f"{health}.healthyThreshold"),
        UnhealthyThresholdCount=given.whole(f"{health}.unhealthyThreshold"),
        Tags=given.tags(),
    )
    switches = {
        "preserve_client_ip.enabled": given("preserveClientIp"),
        "deregistration_delay.timeout_seconds": given("deregistrationDelay"),
    }
    yield elb(
        "ModifyTargetGroupAttributes",
        TargetGroupArn="arn:servers",
        Attributes=attributes(**switches),
    )


def listener(given: Given) -> Iterator[Call]:
    action = {
        "Type": given("defaultActions.0.type"),
        "TargetGroupArn": given("defaultActions.0.targetGroupArn"),
    }
    yield elb(
        "CreateListener",
        LoadBalancerArn=given("loadBalancerArn"),
        Port=given.whole("port"),
        Protocol=given("protocol"),
        DefaultActions=[action],
        Tags=given.tags(),
    )


def registration(given: Given) -> Iterator[Call]:
    target = {"Id": given("targetId"), "Port": given.whole("port")}
    yield elb("RegisterTargets", TargetGroupArn=given("targetGroupArn"), Targets=[target])


CALLS: Mapping[str, Callable[[Given], Iterator[Call]]] = {
    "aws:ec2/instance:Instance": instance,
    "aws:ec2/internetGateway:InternetGateway": internet_gateway,
    "aws:ec2/keyPair:KeyPair": key_pair,
    "aws:ec2/route:Route": route,
    "aws:ec2/routeTable:RouteTable": route_table,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": route_table_association,
    "aws:ec2/securityGroup:SecurityGroup": security_group,
    "aws:ec2/subnet:Subnet": subnet,
    "aws:ec2/vpc:Vpc": vpc,
    "aws:lb/listener:Listener": listener,
    "aws:lb/loadBalancer:LoadBalancer": load_balancer,
    "aws:lb/targetGroup:TargetGroup": target_group,
    "aws:lb/targetGroupAttachment:TargetGroupAttachment": registration,
    EGRESS: security_group_rule("AuthorizeSecurityGroupEgress"),
    INGRESS: security_group_rule("AuthorizeSecurityGroupIngress"),
}


@cache
def service(name: str) -> botocore.model.ServiceModel:
    description = botocore.loaders.Loader().load_service_model(name, "service-2")
    return botocore.model.ServiceModel(description, name)


def refusals(call: Call) -> list[str]:
    """Say what AWS' model of a call does not accept; nothing, when it is good."""
    shape = service(call.service).operation_model(call.operation).input_shape
    report = botocore.validate.ParamValidator().validate(dict(call.values), shape)
    if report.has_errors():
        return [report.generate_report()]
    return list(outside(shape, call.values, call.operation))


def outside(shape: botocore.model.Shape, value: Any, place: str) -> Iterator[str]:
    """Find text that is no choice of the model's, too long or of another form.

    botocore itself looks at none of these.
    """
    if isinstance(shape, botocore.model.StructureShape):
        for key, inner in value.items():
            yield from outside(shape.members[key], inner, f"{place}.{key}")
    elif isinstance(shape, botocore.model.ListShape):
        for inner in value:
            yield from outside(shape.member, inner, f"{place}[]")
    elif isinstance(value, str):
        choices, longest = getattr(shape, "enum", []), shape.metadata.get("max")
        pattern = shape.metadata.get("pattern")
        if choices and value not in choices:
            yield f"{place}: {value} is none of {', '.join(choices)}"
        if longest and len(value) > longest:
            yield f"{place}: {value} has more than {longest} characters"
        if pattern and not re.fullmatch(known_to_python(pattern), value):
            yield f"{place}: {value} is not like {pattern}"


def known_to_python(pattern: str) -> str:
    return pattern.replace(r"\p{L}\p{Z}\p{N}", r"\w\s")


@pytest.mark.parametrize("kind", sorted(CALLS))
def test_all_inputs_are_what_the_service_models_accept(kind: str, guarded: AwsMocks) -> None:
    made = guarded.of(kind)
    assert made, "the component makes one"

    for name, inputs in made.items():
        given = Given(inputs)
        problems = [problem for call in CALLS[kind](given) for problem in refusals(call)]

        assert problems == [], name
        assert given.left == set(), f"{name}: inputs that the table does not know"


def test_the_question_for_the_image_is_what_the_service_model_accepts(guarded: AwsMocks) -> None:
    (call,) = guarded.calls
    given = Given(call.args)
    newest = given("mostRecent")  # the provider's own: it sorts what it gets
    filters = [
        {"Name": given(f"filters.{index}.name"), "Values": given(f"filters.{index}.values")}
        for index in range(len(call.args["filters"]))
    ]

    assert refusals(ec2("DescribeImages", Owners=given("owners"), Filters=filters)) == []
    assert given.left == set()
    assert newest is True


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (ec2("CreateVpc", CidrBlock=10), "Invalid type"),
        (ec2("AttachInternetGateway", VpcId="vpc-1"), "Missing required parameter"),
        (ec2("CreateVpc", Cidr="10.0.0.0/16"), "Unknown parameter"),
        (ec2("CreateVpc", CidrBlock="x", InstanceTenancy="mine"), "mine is none of default"),
        (elb("DescribeTags", ResourceArns=["arn"]), None),
        (
            elb("AddTags", ResourceArns=["arn"], Tags=[{"Key": "a", "Value": "b&c"}]),
            "b&c is not like",
        ),
        (
            elb("AddTags", ResourceArns=["arn"], Tags=[{"Key": "a", "Value": "b" * 257}]),
            "more than 256",
        ),
    ],
)
def test_what_aws_would_refuse_is_refused(call: Call, expected: str | None) -> None:
    problems = refusals(call)

    assert len(problems) == (0 if expected is None else 1)
    assert expected is None or expected in problems[0]


@pytest.mark.parametrize(
    ("inputs", "left"),
    [
        ({"cidrBlock": "c", "enableDnsSupport": True, "enableDnsHostnames": True}, set()),
        (
            {
                "cidrBlock": "c",
                "enableDnsSupport": True,
                "enableDnsHostnames": True,
                "options": {"deep": [{"down": 1}]},
            },
            {"options.deep.0.down"},
        ),
    ],
)
def test_an_input_that_no_call_takes_is_noticed(
    inputs: Mapping[str, Any], left: Sequence[str]
) -> None:
    given = Given(inputs)
    assert list(vpc(given))

    assert given.left == left


def test_the_table_knows_every_kind_of_resource_that_is_made(guarded: AwsMocks) -> None:
    kinds = {kind for kind, _ in guarded.made.values() if kind.startswith("aws:")}

    assert kinds == set(CALLS)


def test_names_that_pulumi_makes_for_balancers_are_short_enough(guarded: AwsMocks) -> None:
    random_part = len("-1234567")
    for kind in ("aws:lb/loadBalancer:LoadBalancer", "aws:lb/targetGroup:TargetGroup"):
        for name in guarded.of(kind):
            assert len(name) + random_part <= 32
