"""A ZooKeeper ensemble: one server on each host, one quorum, one URL.

Makes one remote command per host. Does not make the hosts, open firewalls or take backups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from components.hosts import Host
from components.recipe import run_recipe

CLIENT_PORT = 2181


@dataclass(frozen=True, kw_only=True)
class ZooKeeperArgs:
    """Where the servers run."""

    hosts: Sequence[Host]
    """In the ensemble's order: a server's number is its place, so append, never insert."""

    def __post_init__(self) -> None:
        if len(self.hosts) % 2 == 0:
            names = [host.name for host in self.hosts]
            raise ValueError(f"ZooKeeper needs an odd number of hosts, got {len(names)}: {names}")


class ZooKeeper(pulumi.ComponentResource):
    """A quorum that Mesos masters, agents and frameworks find each other through.

    Makes: ``<name>-<host>`` for each host.
    """

    url: pulumi.Output[str]
    """What to give Mesos: ``zk://host:2181,host:2181/mesos``."""

    def __init__(
        self, name: str, args: ZooKeeperArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:ZooKeeper", name, {}, opts)

        addresses = pulumi.Output.all(*[host.address for host in args.hosts])
        previous: list[pulumi.Resource] = []
        for host in args.hosts:
            server = run_recipe(
                f"{name}-{host.name}",
                "zookeeper",
                host,
                {
                    "ZOOKEEPER_SERVERS": addresses.apply(" ".join),
                    "ZOOKEEPER_ADDRESS": host.address,
                },
                # One after another: restarting two of three at once loses the quorum.
                pulumi.ResourceOptions(parent=self, depends_on=previous),
            )
            previous = [server]

        self.url = addresses.apply(zookeeper_url)
        self.register_outputs({"url": self.url})


def zookeeper_url(addresses: Sequence[str]) -> str:
    """Join addresses the way Mesos wants them, in the ensemble's order."""
    return "zk://" + ",".join(f"{address}:{CLIENT_PORT}" for address in addresses) + "/mesos"
