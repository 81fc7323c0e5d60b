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
            host.name: self._issue(f"{name}-{host.name}", asked(host, args), args.issue)
            for host in args.hosts.machines
        }
        request = certificate("kubernetes", "operator", organizations=["system:masters"])
        requests = pulumi.Output.from_input({"operator": request})
        operator = self._issue(f"{name}-operator", requests, args.issue)
        self.operator = operator.apply(lambda pairs: pairs["operator"])
        self.register_outputs({})

    def of(self, host: Host) -> pulumi.Output[dict[str, Pair]]:
        """Give a host's certificates and keys, by name."""
        return self._bundles[host.name]

    def trusted(self, authority: str) -> pulumi.Output[str]:
        """Give an authority's certificate."""
        return self.authorities.apply(lambda known: known[authority]["certificate"])

    def kubeconfig(self, host: Host, name: str, server: pulumi.Input[str]) -> pulumi.Output[str]:
        """Write a kubeconfig with one of a host's certificates.

        The certificates stay out of ``all``, which makes an output of each part of each of them.
        """
        around = pulumi.Output.all(server, self.trusted("kubernetes"))
        return self.of(host).apply(
            lambda pairs: around.apply(
                lambda known: kubeconfig(known[0], known[1], name, pairs[name])
            )
        )

    def _issue(
        self, name: str, requests: pulumi.Output[dict[str, Request]], issue: int
    ) -> pulumi.Output[dict[str, Pair]]:
        made = run_program(
            name,
            "components.keys certificates",
            requests.apply(
                lambda wanted: self.authorities.apply(lambda known: order(wanted, known, issue))
            ),
            pulumi.ResourceOptions(parent=self),
            secret=True,
        )
        return made.stdout.apply(json.loads)


def order(
    wanted: Mapping[str, Request], authorities: Mapping[str, Pair], issue: int
) -> dict[str, Any]:
    """Put together what issues certificates: the authorities that they need, and no others."""
    needed = sorted({request["authority"] for request in wanted.values()})
    return {
        "authorities": {authority: authorities[authority] for authority in needed},
        "requests": wanted,
        "issue": issue,
    }


def asked(host: Host, args: PkiArgs) -> pulumi.Output[dict[str, Request]]:
    """List the certificates that a host needs, once its address is known."""
    front = [args.hosts.api_address] if args.hosts.api_address else []
    return pulumi.Output.all(host.address, *front).apply(
        lambda known: host_requests(host, args, *known)
    )


def host_requests(host: Host, args: PkiArgs, address: str, *front: str) -> dict[str, Request]:
    """List the certificates that a host needs for its roles.

    Args:
        host: Its name and roles.
        args: What they all have to say.
        address: The host's.
        front: Where else the API servers answer.
    """
    control, agent = Role.CONTROL in host.roles, Role.AGENT in host.roles
    return {
        **(control_requests(host.name, args, address, front) if control else {}),
        **(agent_requests(host.name, address) if agent else {}),
    }


def control_requests(
    name: str, args: PkiArgs, address: str, front: Sequence[str]
) -> dict[str, Request]:
    """Certificates of etcd, the API server and what stands beside it."""
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    return {
        # etcd's members are servers and clients of each other.
        "etcd": certificate(
            "etcd",
            name,
            names=[name, "localhost"],
            addresses=[address, "127.0.0.1"],
            usages=["server", "client"],
        ),
        "etcd-client": certificate("etcd", "kube-apiserver"),
        "apiserver": certificate(
            "kubernetes",
            "kube-apiserver",
            names=[*service, f"{service[-1]}.{args.domain}", name, "localhost", *front],
            addresses=[address, args.service_address, "127.0.0.1"],
            usages=["server"],
        ),
        "apiserver-kubelet-client": certificate("kubernetes", "kube-apiserver-kubelet-client"),
        "front-proxy-client": certificate("front-proxy", "front-proxy-client"),
        "controller-manager": certificate("kubernetes", "system:kube-controller-manager"),
        "scheduler": certificate("kubernetes", "system:kube-scheduler"),
        "km": certificate("kubernetes", "system:km"),
        "admin": certificate("kubernetes", f"admin on {name}", organizations=["system:masters"]),
    }


def agent_requests(name: str, address: str) -> dict[str, Request]:
    """Certificates of a node: its kubelet, kube-proxy and flanneld."""
    node = f"system:node:{name}"
    return {
        "kubelet": certificate("kubernetes", node, organizations=["system:nodes"]),
        "kubelet-server": certificate(
            "kubernetes", node, names=[name], addresses=[address], usages=["server"]
        ),
        "kube-proxy": certificate("kubernetes", "system:kube-proxy"),
        "flannel": certificate("kubernetes", "system:flannel"),
    }


def certificate(
    authority: str,
    common_name: str,
    *,
    organizations: list[str] | None = None,
    names: list[str] | None = None,
    addresses: list[str] | None = None,
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
