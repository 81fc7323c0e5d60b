"""Mesos agents: they offer what their hosts have to Kubernetes and to every other framework.

Makes two remote commands per host, one that runs the agent and one that lets it leave in order.
Does not prepare the host for nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.hosts import Host, Role, domain_text
from components.mesos_masters import master_addresses
from components.programs import Versions
from components.recipe import run_recipe

DRAIN_TIMEOUT_S = 120

RESERVED_MB = {Role.AGENT: 512, Role.CONTROL: 1800}
"""Memory that is not offered, by what else the host is for: an agent's own system, containerd and
Mesos; a control host's servers. Processors are shared, memory is not.
"""


@dataclass(frozen=True, kw_only=True)
class MesosAgentsArgs:
    """Where the agents run, and what they belong to."""

    hosts: Sequence[Host]
    masters: Sequence[Host]
    """Any of them says which agents are registered."""

    zookeeper_url: pulumi.Input[str]
    versions: Versions

    ports: Sequence[str]
    """Ports to offer: ``31000-32000`` or ``443``."""

    prepared: Mapping[str, pulumi.Resource]
    """What has to be on a host before its agent may offer it, by host name."""

    serving: Sequence[pulumi.Resource]
    """What makes the masters answer: an agent that is started before would wait for it, and enough
    of them would keep Pulumi, which runs only so many commands at once, from coming to it."""

    control: Host
    """The host that drains an agent's node before the agent goes."""

    control_plane: pulumi.Resource
    """What drains with it: when that goes as well, nothing is drained."""

    gone: Sequence[str] = ()
    """Names of agents whose machines are dead: they leave without a drain."""


class MesosAgents(pulumi.ComponentResource):
    """Agents, each with the resources of its host.

    Makes for each host: ``<name>-<host>`` and ``departure-<host>``; for one that is gone, only the
    latter, which then does its work at once.
    """

    registered: Sequence[pulumi.Resource]
    """What to wait for before anything can run."""

    def __init__(
        self, name: str, args: MesosAgentsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:MesosAgents", name, {}, opts)

        self._args = args
        self._masters = master_addresses(args.masters)
        made: dict[str, pulumi.Resource] = {}
        for host in args.hosts:
            before = [made[host.after]] if host.after else []
            made[host.name] = self._make_agent(name, host, before)
        for gone in args.gone:
            self._depart(gone, [args.control_plane], gone=True)
        self.registered = list(made.values())
        self.register_outputs({})

    def _make_agent(
        self, name: str, host: Host, before: Sequence[pulumi.Resource]
    ) -> pulumi.Resource:
        args = self._args
        agent = run_recipe(
            f"{name}-{host.name}",
            "mesos-agent",
            host,
            {
                "MESOS_VERSION": args.versions["mesos"],
                "MESOS_ZOOKEEPER": args.zookeeper_url,
                "MESOS_MASTERS": self._masters,
                "MESOS_NAME": host.name,
                "MESOS_ADDRESS": host.address,
                "MESOS_ATTRIBUTES": attributes_text(host.attributes),
                "MESOS_DOMAIN": domain_text(host.fault_domain),
                "MESOS_CPUS": size_text(host.cpus),
                "MESOS_MEMORY_MB": size_text(host.memory_mb),
                "MESOS_DISK_GB": size_text(host.disk_gb),
                "MESOS_RESERVED_MB": str(sum(RESERVED_MB[role] for role in host.roles)),
                # Not read: with another one the recipe runs again.
                **({"MESOS_MACHINE": host.kind} if host.kind else {}),
                "MESOS_PORTS": ports_text(args.ports),
            },
            pulumi.ResourceOptions(
                parent=self, depends_on=[args.prepared[host.name], *args.serving, *before]
            ),
        )
        # Made last, so that it goes first: while agent and control plane are still there.
        self._depart(host.name, [agent, args.control_plane])
        return agent

    def _depart(self, name: str, after: Sequence[pulumi.Resource], *, gone: bool = False) -> None:
        """Let an agent leave when its resource goes; one whose machine is gone leaves now."""
        args = self._args
        run_recipe(
            f"departure-{name}",
            "departure",
            args.control,
            {
                "DEPARTURE_AGENT": name,
                "DEPARTURE_MESOS": args.control.address,
                "DEPARTURE_TIMEOUT_S": str(DRAIN_TIMEOUT_S),
                "DEPARTURE_GONE": "yes" if gone else "",
            },
            pulumi.ResourceOptions(
                parent=self, depends_on=list(after), deleted_with=args.control_plane
            ),
            only_down=not gone,
        )


def attributes_text(attributes: Mapping[str, str]) -> str:
    """Write attributes the way Mesos reads them, in a stable order."""
    return ";".join(f"{name}:{attributes[name]}" for name in sorted(attributes))


def ports_text(ports: Sequence[str]) -> str:
    """Write ports the way Mesos reads them: ranges alone, one port is a range as well."""
    return ",".join(text if "-" in text else f"{text}-{text}" for text in ports)


def size_text(size: float | None) -> str:
    """Write a size, or nothing where the machine is to be asked."""
    return "" if size is None else f"{size:g}"
