"""How a machine comes to have what its roles need: packages, programs, images, the cluster's mark.

One local command for each machine, whoever made it; what it does is in `components.machine`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_command import local

from components.hosts import Role
from components.mesos_source import LAUNCHERS, Repository
from components.mesos_source import PROGRAMS as MESOS_PROGRAMS
from components.program import run_program
from components.programs import Versions
from components.recipe import render, script
from components.repairs import Repairs, kept_if_silent, told

RECIPE = "machine"

COMMON_PACKAGES = ("curl", "iproute2", "procps", "python3")
MESOS_PACKAGES = (
    *("libapr1", "libaprutil1", "libcurl4", "libsasl2-2", "libsasl2-modules", "libssl3"),
    *("libstdc++6", "libsvn1", "zlib1g"),
)
PACKAGES = {
    # Not the package zookeeper, which wants a Java with a display and half a desktop with it.
    Role.CONTROL: (*COMMON_PACKAGES, *MESOS_PACKAGES, "default-jre-headless", "libzookeeper-java"),
    Role.AGENT: (
        *(*COMMON_PACKAGES, *MESOS_PACKAGES),
        *("conntrack", "containerd", "ethtool", "haproxy", "ipset", "iptables", "kmod", "mount"),
        *("nftables", "runc", "socat", "util-linux"),
    ),
}
"""The distribution's packages that a role needs; the same names on Debian and Ubuntu."""

PROGRAMS = {
    Role.CONTROL: ("etcd", "kubernetes", "mesos", "km"),
    Role.AGENT: ("kubernetes", "mesos", "km", "cni", "flannel"),
}
"""What a role's recipes take from the host's store."""


@dataclass(frozen=True, kw_only=True)
class Joining:
    """A machine on its way into the cluster."""

    name: str
    roles: frozenset[Role]
    way: Mapping[str, Any]
    """The way in, as `components.machine` reads it: the key's place, never the key."""

    cluster: str
    """What the machine remembers that it belongs to."""

    versions: Versions
    bundle: str = ""
    """The machine reaches no mirror, packages come from here as well: changes with them."""
    repository: Repository | None = None
    """Where the machine fetches Mesos' packages, if it does."""

    repairs: Repairs = field(default_factory=dict)
    """What its recipes are told to repair; here, the recipe ``machine``."""

    dial_seconds: int = 0
    """How long a machine that does not answer yet is waited for."""

    stack_file: str = ""
    """Where the operator says `gone: true`; asked when the machine leaves."""


def join(name: str, joining: Joining, opts: pulumi.ResourceOptions) -> local.Command:
    """Let a machine join."""
    waits = {"dial_seconds": joining.dial_seconds} if joining.dial_seconds else {}
    bundle = {"bundle": joining.bundle} if joining.bundle else {}
    spec = {
        **_machine(joining, "up"),
        **waits,
        **bundle,
        "store": store(
            joining.roles,
            joining.versions,
            bundle=bool(joining.bundle),
            packaged=("mesos",) if joining.repository else (),
        ),
        "images": images(joining.roles, joining.versions),
    }
    arguments = told("components.machine up", RECIPE, joining.repairs)
    opts = pulumi.ResourceOptions.merge(opts, kept_if_silent(joining.repairs))
    return run_program(name, arguments, spec, opts)


def leave(name: str, joining: Joining, opts: pulumi.ResourceOptions) -> local.Command:
    """Do nothing now; when the resource goes, everything of ours is taken off the machine.

    Made before anything is put on it: of an ``up`` that is killed, who cleans up is in the state.
    """
    spec = {**_machine(joining, "down"), "stack_file": joining.stack_file}
    return run_program(name, None, spec, opts, delete="components.machine down")


def _machine(joining: Joining, end: str) -> dict[str, Any]:
    """Gather what both have: the way in, and the end of the recipe that is to run there."""
    values = {"RECIPE": RECIPE, "MACHINE_NAME": joining.name}
    if end == "up":
        values |= {
            "MACHINE_CLUSTER": joining.cluster,
            "MACHINE_PACKAGES": " ".join(packages(joining.roles)),
            **repository_values(joining.repository),
        }
    return {
        **joining.way,
        "name": joining.name,
        "script": render(script(RECIPE, end), values),
    }


def repository_values(repository: Repository | None) -> dict[str, str]:
    """Say what the recipe has to know of Mesos' packages; nothing, where programs are sent."""
    if repository is None:
        return {}
    return {
        "MACHINE_MESOS_PACKAGES": " ".join(repository.packages),
        "MACHINE_MESOS_VERSION": repository.version,
        "MACHINE_MESOS_PROGRAMS": "\n".join(
            f"{directory}/{file}"
            for directory, files in (
                (repository.programs, MESOS_PROGRAMS),
                (repository.launchers, LAUNCHERS),
            )
            for file in files
        ),
        "MACHINE_MESOS_LAUNCHERS": repository.launchers,
        "MACHINE_REPOSITORY": repository.line,
        "MACHINE_REPOSITORY_KEY": repository.key,
    }


def packages(roles: frozenset[Role]) -> list[str]:
    return sorted({package for role in roles for package in PACKAGES[role]})


def store(
    roles: frozenset[Role], versions: Versions, *, bundle: bool, packaged: Sequence[str] = ()
) -> list[str]:
    """List what a machine's store needs, as paths below the cache; not what comes as packages."""
    needed = {program for role in roles for program in PROGRAMS[role]}
    programs = sorted(needed.difference(packaged))
    packed = ["packages/{release}"] if bundle else []
    return [*packed, *(f"programs/{program}/{versions[program]}" for program in programs)]


def images(roles: frozenset[Role], versions: Versions) -> str | None:
    """Say which images an agent gets: ours keep their names when their sources change."""
    if Role.AGENT not in roles:
        return None
    return " ".join(versions[program] for program in ("kube2sky", "pause"))
