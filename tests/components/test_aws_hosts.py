"""AwsHosts: every input of every resource, checked against what EC2 and ELB accept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import pulumi
import pytest
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks

from components.aws_hosts import AwsGroup, AwsHosts, AwsHostsArgs, placements
from components.aws_network import subnets
from components.aws_prices import monthly_usd
from components.aws_rules import incoming, outgoing
from components.hosts import Role
from tests.components import hosts_suite

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
            "versions": VERSIONS,
            **more,
        }
    )


def build(**more: Any) -> tuple[AwsMocks, AwsHosts, dict[str, Any]]:
    """Run the component under mocks; also give what its outputs resolved to."""
    mocks = AwsMocks()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    pulumi.runtime.set_mocks(mocks, project="kubernetes-mesos", stack="aws", preview=False)
    made: list[AwsHosts] = []
    values: dict[str, Any] = {}

    @pulumi.runtime.test
    def run() -> pulumi.Output[Any]:
        made.append(AwsHosts("hosts", arguments(**more)))
        wanted = {
            host.name: pulumi.Output.all(
                address=host.address,
                host=host.connection.host,
                host_key=host.connection.host_key,
                proxy=host.connection.proxy.host if host.connection.proxy else None,
            )
            for host in made[0].hosts.machines
        }
        everything = pulumi.Output.all(api=made[0].hosts.api_address, **wanted)
        return everything.apply(values.update)

    try:
        run()
    finally:
        loop.close()
    return mocks, made[0], values


@pytest.fixture(scope="module")
def plain() -> tuple[AwsMocks, AwsHosts, dict[str, Any]]:
    return build()


@pytest.fixture(scope="module")
def guarded() -> tuple[AwsMocks, AwsHosts, dict[str, Any]]:
    return build(bastion=True)


def test_machines_are_named_after_their_group_and_spread_over_the_zones() -> None:
    placed = [(name, zone) for name, _, zone in placements(GROUPS, ("a", "b"))]

    assert placed == [
        ("control-1", "a"),
        ("control-2", "b"),
        ("control-3", "a"),
        ("general-1", "a"),
        ("general-2", "b"),
        ("cheap-1", "a"),
    ]


def test_a_new_zone_moves_no_subnet() -> None:
    network = IPv4Network("10.80.0.0/16")

    assert subnets(network, ("a", "c"))["c"] == subnets(network, ("a", "b", "c"))["c"]


def test_an_instance_is_asked_for_with_exactly_these_inputs(plain: Any) -> None:
    inputs = dict(plain[0].inputs("control-1"))
    user_data = inputs.pop("userData")

    tags = {
        "kubernetes-mesos/stack": "aws",
        "kubernetes-mesos/owner": "platform@example.org",
        "Name": "control-1",
    }
    assert inputs == {
        "ami": "ami-0123456789abcdef0",
        "instanceType": "m6i.large",
        "subnetId": "hosts-network-a-id",
        "vpcSecurityGroupIds": ["hosts-network-control-id"],
        "associatePublicIpAddress": True,
        "keyName": "hosts-login-1",
        "userDataReplaceOnChange": False,
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        },
        "rootBlockDevice": {
            "volumeType": "gp3",
            "volumeSize": 40,
            "encrypted": True,
            "deleteOnTermination": False,
            "tags": tags,
        },
        "disableApiTermination": True,
        "tags": tags,
    }
    assert user_data.startswith("#cloud-config\n")
    assert json.loads(user_data.partition("\n")[2])["ssh_keys"] == {
        "ed25519_private": "private control-1-key",
        "ed25519_public": ED25519,
    }


def test_an_agent_is_not_protected_and_a_spot_agent_is_asked_for_as_one(plain: Any) -> None:
    general, cheap = plain[0].inputs("general-1"), plain[0].inputs("cheap-1")

    assert general["disableApiTermination"] is False
    assert general["rootBlockDevice"]["deleteOnTermination"] is True
    assert "instanceMarketOptions" not in general
    assert cheap["instanceMarketOptions"] == {
        "marketType": "spot",
        "spotOptions": {"spotInstanceType": "one-time"},
    }


def test_the_image_is_the_newest_of_debians_own_account(plain: Any) -> None:
    (call,) = plain[0].calls

    assert call.token == "aws:ec2/getAmi:getAmi"
    assert call.args["owners"] == ["136693071363"]
    assert call.args["mostRecent"] is True
    assert call.args["filters"][0] == {"name": "name", "values": ["debian-12-amd64-*"]}


def test_hosts_have_the_shape_that_everything_above_works_on(plain: Any) -> None:
    _, component, values = plain
    control, cheap = component.hosts.machines[0], component.hosts.machines[-1]

    assert control.roles == {Role.CONTROL}
    assert control.user == "admin"
    assert control.fault_domain is not None
    assert control.fault_domain.zone == "eu-central-1a"
    assert cheap.attributes == {"pool": "cheap", "market": "spot"}
    assert values["control-1"] == {
        "address": "10.80.0.9",
        "host": "198.51.100.9",
        "host_key": ED25519,
        "proxy": None,
    }
    assert values["api"] == "api.example"


def test_aws_hosts_keep_what_hosts_promise(plain: Any, guarded: Any) -> None:
    hosts_suite.check(plain[1].hosts)
    hosts_suite.check(guarded[1].hosts)


def joining(mocks: AwsMocks, name: str) -> dict[str, Any]:
    kind, inputs = mocks.made[f"{name}-join"]
    assert kind == "command:local:Command"
    assert inputs["create"].endswith("-m components.machine up")
    assert "delete" not in inputs, "what goes with its instance needs no cleaning"
    return dict(json.loads(inputs["stdin"]))


def test_a_machine_joins_with_exactly_this(plain: Any) -> None:
    spec = joining(plain[0], "control-1")

    script = spec.pop("script")
    assert "MACHINE_CLUSTER=kubernetes-mesos/aws\n" in script
    assert "MACHINE_NAME=control-1\n" in script
    assert "zookeeper" in script.partition("MACHINE_PACKAGES=")[2].partition("\n")[0]
    assert spec == {
        "name": "control-1",
        "address": "198.51.100.9",
        "port": 22,
        "user": "admin",
        "key": "~/.ssh/id_ed25519",
        "host_key": ED25519,
        "bastion": None,
        "dial_seconds": 180,
        "repair": None,
        "store": [
            "programs/etcd/etcd-1",
            "programs/km/km-1",
            "programs/kubernetes/kubernetes-1",
            "programs/mesos/mesos-1",
        ],
        "images": None,
    }


def test_a_machine_behind_the_bastion_joins_through_it(guarded: Any) -> None:
    spec = joining(guarded[0], "general-1")

    assert spec["address"] == "10.80.0.9"
    assert spec["bastion"] == {
        "address": "198.51.100.9",
        "port": 22,
        "user": "admin",
        "key": "~/.ssh/id_ed25519",
        "host_key": ED25519,
    }
    assert spec["images"] == "kube2sky-1 pause-1"


def test_agents_change_a_share_at_a_time(plain: Any) -> None:
    after = {host.name: host.after for host in plain[1].hosts.agents}

    assert after == {"general-1": None, "general-2": "general-1", "cheap-1": "general-2"}


def test_hosts_go_with_their_instance(plain: Any) -> None:
    assert all(host.machine is not None for host in plain[1].hosts.machines)


def test_with_a_bastion_only_the_bastion_is_open_to_operators(guarded: Any) -> None:
    mocks, _, values = guarded
    ssh = {
        (rule["securityGroupId"], rule.get("cidrIpv4"), rule.get("referencedSecurityGroupId"))
        for rule in mocks.of(INGRESS).values()
        if rule["fromPort"] == 22
    }

    assert ssh == {
        ("hosts-network-bastion-id", "203.0.113.0/24", None),
        ("hosts-network-control-id", None, "hosts-network-bastion-id"),
        ("hosts-network-agent-id", None, "hosts-network-bastion-id"),
    }
    assert values["control-1"]["host"] == "10.80.0.9"
    assert values["control-1"]["proxy"] == "198.51.100.9"


def test_nothing_is_open_to_the_world(plain: Any) -> None:
    open_to = {rule.get("cidrIpv4") for rule in plain[0].of(INGRESS).values()}

    assert open_to == {None, "203.0.113.0/24"}


def test_agents_cannot_reach_etcd_or_each_others_kubelets() -> None:
    ways = {(rule.group, rule.other, rule.ports) for rule in incoming((), bastion=False)}

    assert ("control", "agent", (2379, 2380)) not in ways
    assert ("agent", "agent", (10250, 10250)) not in ways


def test_machines_fetch_from_the_web_and_from_nowhere_else() -> None:
    world = {
        rule.ports for rule in outgoing("10.80.0.0/16", bastion=True) if rule.other == "0.0.0.0/0"
    }

    assert world == {(80, 80), (443, 443)}


def test_everything_that_can_have_tags_says_whose_it_is(guarded: Any) -> None:
    without = [
        name
        for name, (kind, inputs) in guarded[0].made.items()
        if kind.startswith("aws:")
        and kind not in UNTAGGED
        and inputs.get("tags", {}).get("kubernetes-mesos/owner") != "platform@example.org"
    ]

    assert without == []


def test_every_resource_uses_the_region_of_the_stack_file(plain: Any) -> None:
    assert plain[0].inputs("hosts-aws")["region"] == "eu-central-1"


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        pytest.param([], 16.43, id="a balancer alone"),
        pytest.param([("m6i.large", 40)], 16.43 + 70.08 + 3.65 + 3.2, id="one machine"),
        pytest.param([("z9.large", 40)], None, id="a type without a known price"),
    ],
)
def test_the_estimate_adds_machines_disks_addresses_and_the_balancer(
    machines: list[tuple[str, int]], expected: float | None
) -> None:
    estimate = monthly_usd(machines)

    assert estimate == (None if expected is None else pytest.approx(expected, abs=0.02))


# What Pulumi calls a thing, and what AWS' own interface calls it. An input that is in neither
# column fails the test, so the table cannot fall behind the component.

INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"


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

UNTAGGED = {
    "aws:ec2/route:Route",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:lb/targetGroupAttachment:TargetGroupAttachment",
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
