"""The Kubernetes control plane: etcd, API server, controllers, and km with kube-scheduler.

Makes five remote commands per host. Does not make nodes: km starts those, through Mesos.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pulumi
from pulumi_command import remote

from components.hosts import Host
from components.kubeconfig import kubeconfig
from components.pki import API_PORT, Pki
from components.programs import Versions
from components.recipe import RECIPES, run_recipe

KM_PORT = 10251
LOCAL_API = f"https://127.0.0.1:{API_PORT}"
"""Each host's programs ask their own API server: it is the one whose loss they share."""


class Share(Protocol):
    """Processors and memory."""

    @property
    def cpus(self) -> float: ...
    @property
    def memory_mb(self) -> int: ...


class KubernetesSettings(Protocol):
    """What km is told by the stack's settings."""

    @property
    def nodes(self) -> str: ...
    @property
    def roles(self) -> Sequence[str]: ...
    @property
    def idle_timeout(self) -> str: ...
    @property
    def offer_hold(self) -> str: ...
    @property
    def default_requests(self) -> Share: ...
    @property
    def node_overhead(self) -> Share: ...


@dataclass(frozen=True, kw_only=True)
class ControlPlaneArgs:
    """What the control plane is told."""

    hosts: Sequence[Host]
    pki: Pki
    mesos_master: pulumi.Input[str]
    """How km finds Mesos: ``zk://…``."""

    versions: Versions
    pod_network: str
    service_network: str
    dns_service_ip: str
    domain: str

    kubernetes: KubernetesSettings
    """How Kubernetes uses Mesos."""

    node_version: pulumi.Input[str]
    """When it changes, nodes are drained and started anew, one by one."""

    prepared: Sequence[pulumi.Resource] = ()
    """What has to be on all hosts before nodes of that version are started."""

    api_address: pulumi.Input[str] | None = None
    """What operators use, if something stands in front of the API servers."""

    agent_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of the agents' nodes, by host name."""


class ControlPlane(pulumi.ComponentResource):
    """Kubernetes without nodes, and the framework that makes them.

    Makes for each host: ``etcd-<host>``, ``kube-apiserver-<host>``,
    ``kube-controller-manager-<host>``, ``km-scheduler-<host>`` and ``node-version-<host>``.
    """

    kubeconfig: pulumi.Output[str]
    """How an operator reaches the cluster. Known when it answers."""

    status_url: pulumi.Output[str]
    """km's status page."""

    api_server: pulumi.Resource
    """What the cluster's objects disappear with."""

    runs_pods: Sequence[pulumi.Resource]
    """What has to be there before a pod can be made and placed."""

    def __init__(
        self, name: str, args: ControlPlaneArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:ControlPlane", name, {}, opts)

        self._args = args
        members = self._make_etcd()
        api_servers: list[remote.Command] = []
        for host in args.hosts:
            # One after another, and never while etcd is being restarted.
            values, after = self._api_server_values(host), [*members, *api_servers[-1:]]
            api_servers.append(self._run("kube-apiserver", host, values, after))
        # Each asks the API server of its host. Started before there is one, all of them would wait
        # for it, and Pulumi, which runs only so many commands at once, would not come to start it.
        beside = list(zip(args.hosts, api_servers, strict=True))
        controllers = [
            self._run("kube-controller-manager", host, self._controller_values(host), [server])
            for host, server in beside
        ]
        schedulers = [
            self._run("km-scheduler", host, self._km_values(host), [server])
            for host, server in beside
        ]
        self.runs_pods = [*controllers, *schedulers]
        self._announce_node_version(schedulers)

        first = args.hosts[0]
        self.api_server = api_servers[0]
        self.kubeconfig = pulumi.Output.all(
            server=args.api_address or first.address,
            authority=args.pki.trusted("kubernetes"),
            operator=args.pki.operator,
            # What stands in front of them knows better which of them answers.
            each={} if args.api_address else {host.name: host.address for host in args.hosts},
            # No value of it is needed, but whoever uses this wants an answer.
            answering=[server.id for server in api_servers],
        ).apply(operator_kubeconfig)
        self.status_url = pulumi.Output.concat("http://", first.address, f":{KM_PORT}")
        self.register_outputs({"kubeconfig": self.kubeconfig, "status_url": self.status_url})

    def _run(
        self,
        recipe: str,
        host: Host,
        values: Mapping[str, pulumi.Input[str]],
        after: Sequence[pulumi.Resource] = (),
    ) -> remote.Command:
        return run_recipe(
            f"{recipe}-{host.name}",
            recipe,
            host,
            values,
            pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )

    def _announce_node_version(self, schedulers: Sequence[remote.Command]) -> None:
        """Tell each km, one after another: its restart is a change of leaders."""
        told: list[remote.Command] = []
        for host in self._args.hosts:
            values = {"KM_NODE_VERSION": self._args.node_version}
            after = [*schedulers, *self._args.prepared, *told[-1:]]
            told.append(self._run("node-version", host, values, after))

    def _make_etcd(self) -> list[remote.Command]:
        hosts, pki = self._args.hosts, self._args.pki
        members = pulumi.Output.all(*[host.address for host in hosts]).apply(
            lambda known: etcd_members([host.name for host in hosts], known)
        )
        made: list[remote.Command] = []
        for host in hosts:
            pair = pki.of(host)["etcd"]
            values: dict[str, pulumi.Input[str]] = {
                "ETCD_VERSION": self._args.versions["etcd"],
                "ETCD_NAME": host.name,
                "ETCD_ADDRESS": host.address,
                "ETCD_MEMBERS": members,
                "ETCD_AUTHORITY": pki.trusted("etcd"),
                "ETCD_CERTIFICATE": pair["certificate"],
                "ETCD_KEY": pair["key"],
            }
            # One after another: restarting two of three at once loses the quorum.
            made.append(self._run("etcd", host, values, made[-1:]))
        return made

    def _api_server_values(self, host: Host) -> dict[str, pulumi.Input[str]]:
        args, pki = self._args, self._args.pki
        own, service_account = pki.of(host), pki.authorities["service-account"]
        return {
            "KUBERNETES_VERSION": args.versions["kubernetes"],
            "API_ADDRESS": host.address,
            "API_ETCD_SERVERS": pulumi.Output.all(*[h.address for h in args.hosts]).apply(
                lambda known: ",".join(f"https://{address}:2379" for address in known)
            ),
            "API_SERVICE_NETWORK": args.service_network,
            "API_ISSUER": f"https://kubernetes.default.svc.{args.domain}",
            "API_ACCESS": (RECIPES / "access.yaml").read_text(),
            "API_AUTHORITY": pki.trusted("kubernetes"),
            "API_CERTIFICATE": own["apiserver"]["certificate"],
            "API_KEY": own["apiserver"]["key"],
            "API_ETCD_AUTHORITY": pki.trusted("etcd"),
            "API_ETCD_CERTIFICATE": own["etcd-client"]["certificate"],
            "API_ETCD_KEY": own["etcd-client"]["key"],
            "API_KUBELET_CERTIFICATE": own["apiserver-kubelet-client"]["certificate"],
            "API_KUBELET_KEY": own["apiserver-kubelet-client"]["key"],
            "API_PROXY_AUTHORITY": pki.trusted("front-proxy"),
            "API_PROXY_CERTIFICATE": own["front-proxy-client"]["certificate"],
            "API_PROXY_KEY": own["front-proxy-client"]["key"],
            "API_SERVICE_ACCOUNT_KEY": service_account["key"],
            "API_SERVICE_ACCOUNT_PUBLIC": service_account["public"],
            "API_ADMIN_KUBECONFIG": pki.kubeconfig(host, "admin", LOCAL_API),
        }

    def _controller_values(self, host: Host) -> dict[str, pulumi.Input[str]]:
        args, pki = self._args, self._args.pki
        return {
            "KUBERNETES_VERSION": args.versions["kubernetes"],
            "CONTROLLERS_POD_NETWORK": args.pod_network,
            "CONTROLLERS_SERVICE_NETWORK": args.service_network,
            # Alone, there is nobody whose lease would have to run out first.
            "CONTROLLERS_LEADER_ELECTION": "true" if len(args.hosts) > 1 else "false",
            "CONTROLLERS_KUBECONFIG": pki.kubeconfig(host, "controller-manager", LOCAL_API),
            "CONTROLLERS_AUTHORITY": pki.trusted("kubernetes"),
            "CONTROLLERS_AUTHORITY_KEY": pki.authorities["kubernetes"]["key"],
            "CONTROLLERS_SERVICE_ACCOUNT_KEY": pki.authorities["service-account"]["key"],
        }

    def _km_values(self, host: Host) -> dict[str, pulumi.Input[str]]:
        args, pki, told = self._args, self._args.pki, self._args.kubernetes
        return {
            "KM_VERSION": args.versions["km"],
            "KUBERNETES_VERSION": args.versions["kubernetes"],
            "KM_MESOS_MASTER": args.mesos_master,
            "KM_NODES": told.nodes,
            "KM_NODE_VERSION": args.node_version,
            "KM_ROLES": ",".join(told.roles),
            "KM_IDLE_TIMEOUT": told.idle_timeout,
            "KM_OFFER_HOLD": told.offer_hold,
            "KM_DEFAULT_CPUS": str(told.default_requests.cpus),
            "KM_DEFAULT_MEMORY_MB": str(told.default_requests.memory_mb),
            "KM_OVERHEAD_CPUS": str(told.node_overhead.cpus),
            "KM_OVERHEAD_MEMORY_MB": str(told.node_overhead.memory_mb),
            "KM_AGENT_LABELS": json.dumps(args.agent_labels, indent=1, sort_keys=True),
            "KM_CLUSTER_DNS": args.dns_service_ip,
            "KM_CLUSTER_DOMAIN": args.domain,
            "KM_ADDRESS": host.address,
            "KM_KUBECONFIG": pki.kubeconfig(host, "km", LOCAL_API),
            "KM_SCHEDULER_KUBECONFIG": pki.kubeconfig(host, "scheduler", LOCAL_API),
        }


def etcd_members(names: Sequence[str], addresses: Sequence[str]) -> str:
    """List the members the way etcd wants them."""
    pairs = zip(names, addresses, strict=True)
    return ",".join(f"{name}=https://{address}:2380" for name, address in pairs)


def operator_kubeconfig(known: Mapping[str, Any]) -> str:
    """Write the operator's kubeconfig: where there are several API servers, each has a context."""
    each: Mapping[str, str] = known["each"]
    others = {name: api_url(address) for name, address in each.items()} if len(each) > 1 else {}
    return kubeconfig(
        api_url(known["server"]), known["authority"], "operator", known["operator"], others
    )


def api_url(address: str) -> str:
    return f"https://{address}:{API_PORT}"
