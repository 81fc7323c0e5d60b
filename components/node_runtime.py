"""What a Kubernetes node finds on its host before Mesos starts one.

Makes one remote command per host: containerd, network plugins, images, programs and the node's
own certificates. Does not start a kubelet: Mesos does, when km asks for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from components.hosts import Host
from components.pki import API_PORT, Pki
from components.programs import DIGEST_LENGTH, Versions
from components.recipe import run_recipe

PROXY_PORT = 6444


@dataclass(frozen=True, kw_only=True)
class NodeRuntimeArgs:
    """What nodes need."""

    hosts: Sequence[Host]
    api_servers: Sequence[Host]
    pki: Pki
    versions: Versions
    pod_network: str
    pause_image: str
    images: Sequence[str] = ()
    """Images that pods will need: taken from the hosts' store where it has them."""


class NodeRuntime(pulumi.ComponentResource):
    """Hosts that can become nodes.

    Makes: ``<name>-<host>`` for each host.
    """

    ready: Mapping[str, pulumi.Resource]
    """What a host's Mesos agent waits for, by host name."""

    version: pulumi.Output[str]
    """Changes with what a node takes up only when it is started anew."""

    def __init__(
        self, name: str, args: NodeRuntimeArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:NodeRuntime", name, {}, opts)

        servers = pulumi.Output.all(*[host.address for host in args.api_servers])
        ready: dict[str, pulumi.Resource] = {}
        for host in args.hosts:
            before = [ready[host.after]] if host.after else []
            ready[host.name] = run_recipe(
                f"{name}-{host.name}",
                "node-runtime",
                host,
                node_values(host, args, servers),
                pulumi.ResourceOptions(parent=self, depends_on=before),
            )
        self.ready = ready
        self.version = args.pki.trusted("kubernetes").apply(
            lambda authority: node_version(args, authority)
        )
        self.register_outputs({})


def node_values(
    host: Host, args: NodeRuntimeArgs, servers: pulumi.Output[list[str]]
) -> dict[str, pulumi.Input[str]]:
    """Gather what the recipe reads."""
    own, url = args.pki.of(host), servers.apply(api_url)
    return {
        "NODE_ADDRESS": host.address,
        "NODE_POD_NETWORK": args.pod_network,
        "NODE_PAUSE_IMAGE": args.pause_image,
        "NODE_IMAGES": " ".join([args.pause_image, *args.images]),
        # Ours keep their name when their sources change.
        "NODE_IMAGE_SOURCES": f"{args.versions['kube2sky']} {args.versions['pause']}",
        "NODE_API_SERVERS": servers.apply(" ".join),
        "KM_VERSION": args.versions["km"],
        "KUBERNETES_VERSION": args.versions["kubernetes"],
        "CNI_VERSION": args.versions["cni"],
        "FLANNEL_VERSION": args.versions["flannel"],
        "NODE_AUTHORITY": args.pki.trusted("kubernetes"),
        "NODE_CERTIFICATE": own["kubelet-server"]["certificate"],
        "NODE_KEY": own["kubelet-server"]["key"],
        "NODE_KUBELET_KUBECONFIG": args.pki.kubeconfig(host, "kubelet", url),
        "NODE_PROXY_KUBECONFIG": args.pki.kubeconfig(host, "kube-proxy", url),
        "NODE_FLANNEL_KUBECONFIG": args.pki.kubeconfig(host, "flannel", url),
    }


def node_version(args: NodeRuntimeArgs, authority: str) -> str:
    """Digest what every node is made of and reads only when it starts."""
    programs = [args.versions[name] for name in ("km", "kubernetes", "flannel")]
    parts = [*programs, args.pod_network, args.pki.issue, authority]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:DIGEST_LENGTH]


def api_url(servers: Sequence[str]) -> str:
    """Say where a node finds the API: the only server, or the proxy in front of all."""
    if len(servers) == 1:
        return f"https://{servers[0]}:{API_PORT}"
    return f"https://127.0.0.1:{PROXY_PORT}"
