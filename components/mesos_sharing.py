"""Which part of Mesos each role gets: weights and quota, set through the operator API.

Makes one remote command, or nothing when no role is named. Does not make frameworks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi

from components import operator_api
from components.hosts import Host
from components.mesos_masters import master_addresses
from components.recipe import run_recipe

OPERATOR_API = Path(operator_api.__file__).read_text()


@dataclass(frozen=True, kw_only=True)
class RoleShare:
    """What the frameworks of a role get; amounts by Mesos' names (cpus, mem and disk in MiB)."""

    name: str
    weight: float = 1.0
    guarantees: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MesosSharingArgs:
    """Who gets what, and who sets it."""

    hosts: Sequence[Host]
    """The control hosts: the first asks, a master runs on each."""

    roles: Sequence[RoleShare]

    after: Sequence[pulumi.Resource] = ()
    """Masters, to be asked, and agents: Mesos guarantees nothing that nobody offers."""


class MesosSharing(pulumi.ComponentResource):
    """Weights and quota of the named roles.

    Makes: ``<name>-<host>``, whose input has one line for each role, so that a preview shows which
    ones change. A role that is named no more, or all when it goes, is as if never named.
    """

    applied: Sequence[pulumi.Resource]
    """What to wait for before the roles are used."""

    def __init__(
        self, name: str, args: MesosSharingArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:MesosSharing", name, {}, opts)

        first = args.hosts[0]
        values: dict[str, pulumi.Input[str]] = {
            "SHARING_API": OPERATOR_API,
            "SHARING_MASTERS": master_addresses(args.hosts),
            "SHARING_ROLES": roles_text(args.roles),
        }
        options = pulumi.ResourceOptions(parent=self, depends_on=list(args.after))
        # One command for all roles: what one gives up, another may be guaranteed in the same call.
        wanted = [first] if args.roles else []
        self.applied = [
            run_recipe(f"{name}-{host.name}", "mesos-sharing", host, values, options)
            for host in wanted
        ]
        self.register_outputs({})


def role_shares(wanted: Sequence[Any]) -> list[RoleShare]:
    """Turn the setting ``mesos.roles`` into Mesos' words."""
    return [
        RoleShare(
            name=role.name,
            weight=role.weight,
            guarantees=role.guarantees.in_mesos,
            limits=role.limits.in_mesos,
        )
        for role in wanted
    ]


def roles_text(roles: Sequence[RoleShare]) -> str:
    """Write the roles as JSON, one line for each."""
    lines = [
        f"{json.dumps(role.name)}: "
        + json.dumps(
            {
                "weight": role.weight,
                "guarantees": dict(role.guarantees),
                "limits": dict(role.limits),
            },
            sort_keys=True,
        )
        for role in sorted(roles, key=lambda role: role.name)
    ]
    return "{\n" + ",\n".join(lines) + "\n}"
