"""Hosts of whatever kind the stack file asks for."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pulumi

from components.aws_hosts import AwsGroup, AwsHosts, AwsHostsArgs
from components.bundle import offered
from components.hosts import FaultDomain, Hosts, Role
from components.lab_hosts import LabGroup, LabHosts, LabHostsArgs, lab_id
from components.mesos_source import Repository
from components.metal_hosts import (
    MetalBastion,
    MetalHosts,
    MetalHostsArgs,
    MetalMachine,
    private_key,
)
from components.programs import Versions
from components.repairs import Ask

ROOT = Path(__file__).resolve().parent.parent


def provision_hosts(
    name: str,
    wanted: Any,
    findings: Mapping[str, Any],
    *,
    ask: Ask,
    versions: Versions,
    repository: Repository | None = None,
    scheduler_ports: Sequence[int] = (),
) -> Hosts:
    """Make the hosts that the setting ``hosts`` describes.

    Args:
        name: Name of the component.
        wanted: The settings; ``wanted.on`` says of which kind they are.
        findings: What preflight found out, by host name; empty where the program makes the hosts.
        ask: Asks a machine that the program makes, when it is there.
        versions: Of the programs that hosts get.
        repository: Where they fetch Mesos' packages, if they do.
        scheduler_ports: Where frameworks listen on control hosts.
    """
    stack = pulumi.get_stack()
    match wanted.on:
        case "lab":
            args = LabHostsArgs(
                lab=lab_id(ROOT, stack),
                owner=f"{ROOT}:{stack}",
                machine=machine_id(),
                control=lab_group(wanted.control),
                agents=lab_group(wanted.agents),
                network=wanted.network,
            )
            return LabHosts(name, args).hosts
        case "metal":
            return MetalHosts(name, metal_args(wanted, findings, versions, repository)).hosts
        case "aws":
            aws = AwsHosts(name, aws_args(wanted, ask, versions, repository, scheduler_ports))
            pulumi.export("estimated_monthly_cost_usd", aws.estimated_monthly_cost_usd)
            pulumi.export("ssh", aws.ssh)
            pulumi.export("known_hosts", aws.known_hosts)
            return aws.hosts
        case kind:
            raise ValueError(f"hosts.on: {kind!r} is no kind of hosts: 'lab', 'metal' or 'aws'")


def lab_group(group: Any) -> LabGroup:
    return LabGroup(
        count=group.count,
        cpus=group.cpus,
        memory_mb=group.memory_mb,
        disk_gb=group.disk_gb,
        attributes=getattr(group, "attributes", {}),
    )


def metal_args(
    wanted: Any,
    findings: Mapping[str, Any],
    versions: Versions,
    repository: Repository | None,
) -> MetalHostsArgs:
    """Fill in for each machine what the whole list says, and what preflight found."""
    identity = f"{pulumi.get_project()}/{pulumi.get_stack()}"
    return MetalHostsArgs(
        machines=[
            metal_machine(wanted, machine, findings[machine.name]) for machine in wanted.alive
        ],
        cluster=wanted.cluster_id or identity,
        bundle=" ".join(f"{name} {digest}" for name, digest in offered(wanted.bundle).items())
        if wanted.bundle
        else "",
        change_at_once=wanted.change_at_once,
        gone=[one.name for one in wanted.machines if one.gone and Role.AGENT in one.roles],
        stack_file=f"stacks/Pulumi.{pulumi.get_stack()}.yaml",
        versions=versions,
        repository=repository,
    )


def metal_machine(wanted: Any, machine: Any, finding: Any) -> MetalMachine:
    bastion = machine.bastion or wanted.bastion
    user, key = machine.user or wanted.user, machine.key or wanted.key
    domain = machine.fault_domain
    return MetalMachine(
        name=machine.name,
        address=machine.address,
        roles=frozenset(Role(role) for role in machine.roles),
        user=user,
        port=machine.port or wanted.port,
        key=Path(key).expanduser(),
        host_key=machine.host_key,
        bastion=MetalBastion(
            address=bastion.address,
            port=bastion.port,
            user=bastion.user or user,
            key=Path(bastion.key or key).expanduser(),
            host_key=bastion.host_key,
        )
        if bastion
        else None,
        attributes=machine.attributes,
        labels=machine.labels,
        fault_domain=FaultDomain(region=domain.region, zone=domain.zone) if domain else None,
        member=finding.member,
        repairs=finding.repairs,
    )


def aws_args(
    wanted: Any,
    ask: Ask,
    versions: Versions,
    repository: Repository | None = None,
    scheduler_ports: Sequence[int] = (),
) -> AwsHostsArgs:
    control = AwsGroup(
        name="control",
        role=Role.CONTROL,
        count=wanted.control.count,
        type=wanted.control.type,
        disk_gb=wanted.control.disk_gb,
    )
    pools = [
        AwsGroup(
            name=pool.name,
            role=Role.AGENT,
            count=pool.count,
            type=pool.type,
            disk_gb=pool.disk_gb,
            spot=pool.market == "spot",
            attributes=pool.attributes,
            labels=pool.labels,
        )
        for pool in wanted.agents
    ]
    return AwsHostsArgs(
        stack=pulumi.get_stack(),
        owner=wanted.owner,
        region=wanted.region,
        zones=wanted.zones,
        network=IPv4Network(wanted.network),
        operators=wanted.operators,
        scheduler_ports=scheduler_ports,
        groups=[control, *pools],
        public_key=wanted.public_key,
        private_key=private_key(Path(wanted.key).expanduser()),
        key_file=wanted.key,
        cluster=f"{pulumi.get_project()}/{pulumi.get_stack()}",
        ask=ask,
        versions=versions,
        repository=repository,
        change_at_once=wanted.change_at_once,
        bastion=wanted.bastion,
        protect=wanted.protect,
        debian=wanted.debian,
    )


def machine_id(file: Path = Path("/etc/machine-id")) -> str:
    """Tell this machine from others, which may work on the same state."""
    try:
        return file.read_text().strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()
