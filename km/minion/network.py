"""kube-proxy, flanneld and the CNI configuration of a node. Pure."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from km.minion.settings import Settings
from km.minion.tasks import NodeTask

NETWORK = "kubernetes-mesos"
BRIDGE = "cni0"
VXLAN = "flannel.1"
CONFLIST = "10-kubernetes-mesos.conflist"
ADDRESSES = f"/var/lib/cni/networks/{NETWORK}"
"""Where the host-local plugin keeps who has which address."""
NAMED = rf"name: \"{NETWORK}\" id: "
"""What CNI's plugins write into the comment of a rule for a container of our network."""


@dataclass(frozen=True, kw_only=True)
class Subnet:
    """This node's part of the pod network."""

    cidr: str
    mtu: int


def proxy_configuration(settings: Settings, node: NodeTask, *, oom_score: int) -> dict[str, Any]:
    """KubeProxyConfiguration v1alpha1; ``oom_score`` is what this host allows to set."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": settings.proxy_kubeconfig},
        "hostnameOverride": node.node,
        "mode": "iptables",
        "clusterCIDR": settings.pod_network,
        "detectLocalMode": "ClusterCIDR",
        "nodePortAddresses": ["primary"],
        "oomScoreAdj": oom_score,
        # The conntrack table belongs to the host, which other frameworks use as well.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def proxy_command(settings: Settings, configuration_path: str) -> list[str]:
    return [f"{settings.bin_dir}/kube-proxy", f"--config={configuration_path}"]


def flannel_configuration(settings: Settings) -> dict[str, Any]:
    return {"Network": settings.pod_network, "Backend": {"Type": "vxlan"}}


def flannel_command(settings: Settings, configuration_path: str, subnet_path: str) -> list[str]:
    """flanneld; the node's name goes to it as ``NODE_NAME``.

    It masquerades what leaves the pod network, and only that: with the bridge plugin doing it,
    pods on other nodes would not see who calls them.
    """
    return [
        f"{settings.bin_dir}/flanneld",
        "--kube-subnet-mgr",
        f"--kubeconfig-file={settings.flannel_kubeconfig}",
        f"--net-config-path={configuration_path}",
        f"--subnet-file={subnet_path}",
        f"--iface={settings.node_ip}",
        "--ip-masq=true",
    ]


def parse_subnet(text: str) -> Subnet | None:
    """Read flanneld's subnet.env; None while it is not complete.

    flanneld gives the gateway's address with the prefix (``10.244.2.1/24``).
    """
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    try:
        network = ipaddress.ip_interface(values["FLANNEL_SUBNET"]).network
        return Subnet(cidr=str(network), mtu=int(values["FLANNEL_MTU"]))
    except (KeyError, ValueError):
        return None


def conflist(subnet: Subnet) -> dict[str, Any]:
    """What containerd attaches pods to: a bridge with addresses of this node, and host ports."""
    return {
        "cniVersion": "1.0.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "isDefaultGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "mtu": subnet.mtu,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": subnet.cidr}]]},
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def removal_rules(saved: str) -> str:
    """Turn iptables-save's output into iptables-restore's input that removes what a node made.

    Rules of others stay as they are; use with ``--noflush``. Empty when there is nothing to do.
    """
    output: list[str] = []
    for table, lines in _tables(saved).items():
        rules = [line for line in lines if line[0] == "-"]
        chains = _ours([line[1:].split()[0] for line in lines if line[0] == ":"], rules)
        jumps = [f"-D{rule[2:]}" for rule in rules if _leads_into(rule, chains)]
        if chains or jumps:
            output += [f"*{table}", *jumps]
            # All are emptied before any is removed: they jump to each other.
            output += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
            output.append("COMMIT")
    return "\n".join([*output, ""]) if output else ""


def _tables(saved: str) -> dict[str, list[str]]:
    """Chains (``:NAME ...``) and rules (``-A NAME ...``) of each table."""
    tables: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            lines = tables.setdefault(line[1:].strip(), [])
        elif line.startswith((":", "-A ")):
            lines.append(line)
    return tables


def _ours(chains: Sequence[str], rules: Sequence[str]) -> list[str]:
    """The chains that a node made.

    CNI's plugins may also work for containers of others, such as Mesos' own: then only the chains
    that carry our network's name in the rules to them are ours, and the shared ones stay.
    """
    named = {target for rule in rules if NAMED in rule for target in _targets(rule)}
    foreign = [
        chain
        for chain in chains
        if chain.startswith("CNI-") and not chain.startswith("CNI-HOSTPORT-") and chain not in named
    ]
    prefixes = ("KUBE-", "FLANNEL-") if foreign else ("KUBE-", "FLANNEL-", "CNI-")
    return [chain for chain in chains if chain.startswith(prefixes) or chain in named]


def _targets(rule: str) -> set[str]:
    words = rule.split()
    return {target for word, target in itertools.pairwise(words) if word in ("-j", "-g")}


def _leads_into(rule: str, chains: Sequence[str]) -> bool:
    """Whether a rule of another's chain leads into one of these."""
    return rule.split()[1] not in chains and not _targets(rule).isdisjoint(chains)
