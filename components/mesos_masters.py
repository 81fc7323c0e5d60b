"""Mesos masters: one leads, the others stand by.

Makes one remote command per host. Does not make ZooKeeper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.hosts import Host, domain_text
from components.programs import Versions
from components.recipe import run_recipe

PORT = 5050


@dataclass(frozen=True, kw_only=True)
class MesosMastersArgs:
    """Where the masters run and how they find each other."""

    hosts: Sequence[Host]
    zookeeper_url: pulumi.Input[str]
    versions: Versions

    cluster: str = "kubernetes-mesos"
    """The cluster's name, shown by Mesos."""

    allocation_interval: str = "200ms"
    """How often free resources are offered. Mesos' default of a second is what a pod would wait
    for when its agent's last offer has just been used."""


class MesosMasters(pulumi.ComponentResource):
    """Masters with a replicated registry, chosen through ZooKeeper.

    Makes: ``<name>-<host>`` for each host.
    """

    url: pulumi.Output[str]
    """Where a person or a program looks: ``http://host:5050`` of the first master."""

    found_at: pulumi.Output[str]
    """How agents and frameworks find the leading master: ``zk://…``."""

    serving: Sequence[pulumi.Resource]
    """What to wait for before a leading master is asked for something."""

    def __init__(
        self, name: str, args: MesosMastersArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:MesosMasters", name, {}, opts)

        made: list[pulumi.Resource] = []
        for host in args.hosts:
            master = run_recipe(
                f"{name}-{host.name}",
                "mesos-master",
                host,
                {
                    "MESOS_VERSION": args.versions["mesos"],
                    "MESOS_ZOOKEEPER": args.zookeeper_url,
                    "MESOS_QUORUM": str(len(args.hosts) // 2 + 1),
                    "MESOS_ADDRESS": host.address,
                    "MESOS_CLUSTER": args.cluster,
                    "MESOS_DOMAIN": domain_text(host.fault_domain),
                    "MESOS_ALLOCATION_INTERVAL": args.allocation_interval,
                },
                # One after another: the replicated registry needs a majority.
                pulumi.ResourceOptions(parent=self, depends_on=made[-1:]),
            )
            made.append(master)
        self.serving = made

        self.url = pulumi.Output.concat("http://", args.hosts[0].address, f":{PORT}")
        self.found_at = pulumi.Output.from_input(args.zookeeper_url)
        self.register_outputs({"url": self.url, "found_at": self.found_at})


def master_addresses(hosts: Sequence[Host]) -> pulumi.Output[str]:
    """List the masters as ``host:port,host:port``."""
    return pulumi.Output.all(*[host.address for host in hosts]).apply(
        lambda known: ",".join(f"{address}:{PORT}" for address in known)
    )
