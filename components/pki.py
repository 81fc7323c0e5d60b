"""The cluster's keys and certificates, made once and kept encrypted in the stack's state.

Makes one local command for the authorities, one for each host and one for the operator. Does not
put anything on a host: recipes do, each host's own certificates and no others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.hosts import Host, Hosts, Role
from components.kubeconfig import kubeconfig
from components.program import KEEP_OUTPUT, run_program

API_PORT = 6443

Request = dict[str, Any]
Pair = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PkiArgs:
    """What the certificates have to say."""

    hosts: Hosts

    service_address: str
    """Address of the service ``kubernetes``, which pods know the API server by."""

    domain: str = "cluster.local"
    """The cluster's domain."""

    issue: int = 1
    """Raising it issues all certificates anew; the authorities stay."""


class Pki(pulumi.ComponentResource):
    """Authorities and one bundle of certificates for each host.

    Makes: ``<name>-authorities``, ``<name>-<host>`` for each host, ``<name>-operator``.
    """

    authorities: pulumi.Output[dict[str, Pair]]
    """Certificates and keys of the authorities, by name."""

    operator: pulumi.Output[Pair]
    """Certificate and key of a cluster administrator."""

    issue: int
    """Which issue the hosts' certificates are."""

    def __init__(
        self, name: str, args: PkiArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:Pki", name, {}, opts)

        self.issue = args.issue
        made = run_program(
            f"{name}-authorities",
            "components.keys authorities",
            {},
            pulumi.ResourceOptions(parent=self),
            # Whatever changes about the command, its authorities never do.
            update=KEEP_OUTPUT,
            secret=True,
        )
        self.authorities = made.stdout.apply(json.loads)
        self._bundles = {
            host.name: self._issue(f"{name}-{host.name}", host_requests(host, args), args.issue)
            for host in args.hosts.machines
        }
        request = certificate("kubernetes", "operator", organizations=["system:masters"])
        operator = self._issue(f"{name}-operator", {"operator": request}, args.issue)
        self.operator = operator.apply(lambda pairs: pairs["operator"])
        self.register_outputs({})

    def of(self, host: Host) -> pulumi.Output[dict[str, Pair]]:
        """Give a host's certificates and keys, by name."""
        return self._bundles[host.name]

    def trusted(self, authority: str) -> pulumi.Output[str]:
        """Give an authority's certificate."""
        return self.authorities.apply(lambda known: known[authority]["certificate"])

    def kubeconfig(self, host: Host, name: str, server: pulumi.Input[str]) -> pulumi.Output[str]:
        """Write a kubeconfig with one of a host's certificates."""
        return pulumi.Output.all(server, self.trusted("kubernetes"), self.of(host)).apply(
            lambda known: kubeconfig(known[0], known[1], name, known[2][name])
        )

    def _issue(
        self, name: str, requests: Mapping[str, Any], issue: int
    ) -> pulumi.Output[dict[str, Pair]]:
        needed = sorted({request["authority"] for request in requests.values()})
        made = run_program(
            name,
            "components.keys certificates",
            {
                "authorities": self.authorities.apply(
                    lambda known: {authority: known[authority] for authority in needed}
                ),
                "requests": requests,
                "issue": issue,
            },
            pulumi.ResourceOptions(parent=self),
            secret=True,
        )
        return made.stdout.apply(json.loads)


def host_requests(host: Host, args: PkiArgs) -> dict[str, Request]:
    """List the certificates that a host needs for its roles."""
    return {
        **(control_requests(host, args) if Role.CONTROL in host.roles else {}),
        **(agent_requests(host) if Role.AGENT in host.roles else {}),
    }


def control_requests(host: Host, args: PkiArgs) -> dict[str, Request]:
    """Certificates of etcd, the API server and what stands beside it."""
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    front = [args.hosts.api_address] if args.hosts.api_address else []
    return {
        # etcd's members are servers and clients of each other.
        "etcd": certificate(
            "etcd",
            host.name,
            names=[host.name, "localhost"],
            addresses=[host.address, "127.0.0.1"],
            usages=["server", "client"],
        ),
        "etcd-client": certificate("etcd", "kube-apiserver"),
        "apiserver": certificate(
            "kubernetes",
            "kube-apiserver",
            names=[*service, f"{service[-1]}.{args.domain}", host.name, "localhost", *front],
            addresses=[host.address, args.service_address, "127.0.0.1"],
            usages=["server"],
        ),
        "apiserver-kubelet-client": certificate("kubernetes", "kube-apiserver-kubelet-client"),
        "front-proxy-client": certificate("front-proxy", "front-proxy-client"),
        "controller-manager": certificate("kubernetes", "system:kube-controller-manager"),
        "scheduler": certificate("kubernetes", "system:kube-scheduler"),
        "km": certificate("kubernetes", "system:km"),
        "admin": certificate(
            "kubernetes", f"admin on {host.name}", organizations=["system:masters"]
        ),
    }


def agent_requests(host: Host) -> dict[str, Request]:
    """Certificates of a node: its kubelet, kube-proxy and flanneld."""
    node = f"system:node:{host.name}"
    return {
        "kubelet": certificate("kubernetes", node, organizations=["system:nodes"]),
        "kubelet-server": certificate(
            "kubernetes", node, names=[host.name], addresses=[host.address], usages=["server"]
        ),
        "kube-proxy": certificate("kubernetes", "system:kube-proxy"),
        "flannel": certificate("kubernetes", "system:flannel"),
    }


def certificate(
    authority: str,
    common_name: str,
    *,
    organizations: list[str] | None = None,
    names: Sequence[pulumi.Input[str]] | None = None,
    addresses: list[pulumi.Input[str]] | None = None,
    usages: list[str] | None = None,
) -> Request:
    """Ask for a certificate; a client's, unless `usages` says otherwise."""
    return {
        "authority": authority,
        "common_name": common_name,
        "organizations": organizations or [],
        "names": names or [],
        "addresses": addresses or [],
        "usages": usages or ["client"],
    }
