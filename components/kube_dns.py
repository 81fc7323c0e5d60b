"""kube-dns as the guide has it: etcd, skydns and kube2sky in one pod, behind one address.

``skydns`` is CoreDNS with its etcd plugin, which reads SkyDNS' records.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster

NAMESPACE = "kube-system"
NAME = "kube-dns"
LABELS = {"k8s-app": NAME}
ETCD = "http://127.0.0.1:4001"


@dataclass(frozen=True, kw_only=True)
class KubeDnsArgs:
    """What is asked for which names, and who answers."""

    cluster: Cluster
    service_ip: str
    """The address that pods ask."""

    domain: str
    kube_master_url: str
    """Where kube2sky learns of services: ``--kube_master_url``."""

    etcd_image: str
    skydns_image: str
    kube2sky_image: str
    replicas: int = 1


class KubeDns(pulumi.ComponentResource):
    """Names for services.

    Makes: a ServiceAccount, a ClusterRole and its binding, a ConfigMap, a Service and a
    ReplicationController, which is there when all three containers are ready.
    """

    controller: pulumi.Resource
    """There when names are answered."""

    def __init__(
        self, name: str, args: KubeDnsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubernetes-mesos:index:KubeDns", name, {}, opts)

        self._options = args.cluster.options(self)
        account = self._make_account(name)
        corefile = kubernetes.core.v1.ConfigMap(
            f"{name}-corefile",
            metadata={"name": "skydns", "namespace": NAMESPACE},
            data={"Corefile": corefile_text(args.domain)},
            opts=self._options,
        )
        kubernetes.core.v1.Service(
            f"{name}-service",
            metadata={
                "name": NAME,
                "namespace": NAMESPACE,
                "labels": {**LABELS, "kubernetes.io/name": "KubeDNS"},
                # The controller below waits for the pods; nobody has to wait for endpoints too.
                "annotations": {"pulumi.com/skipAwait": "true"},
            },
            spec={
                "cluster_ip": args.service_ip,
                "selector": LABELS,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
            opts=self._options,
        )
        self.controller = kubernetes.core.v1.ReplicationController(
            f"{name}-controller",
            metadata={"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
            spec={
                "replicas": args.replicas,
                "selector": LABELS,
                "template": {"metadata": {"labels": LABELS}, "spec": pod_spec(args)},
            },
            opts=pulumi.ResourceOptions.merge(
                args.cluster.options(self, runs_pods=True),
                pulumi.ResourceOptions(depends_on=[account, corefile]),
            ),
        )
        self.register_outputs({})

    def _make_account(self, name: str) -> pulumi.Resource:
        """Let kube2sky see services and nothing else."""
        kubernetes.core.v1.ServiceAccount(
            f"{name}-account",
            metadata={"name": NAME, "namespace": NAMESPACE},
            opts=self._options,
        )
        kubernetes.rbac.v1.ClusterRole(
            f"{name}-role",
            metadata={"name": "kube2sky"},
            rules=[
                {
                    "api_groups": [""],
                    "resources": ["services"],
                    "verbs": ["get", "list", "watch"],
                },
                {
                    "api_groups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["get", "list", "watch"],
                },
            ],
            opts=self._options,
        )
        return kubernetes.rbac.v1.ClusterRoleBinding(
            f"{name}-binding",
            metadata={"name": "kube2sky"},
            role_ref={
                "api_group": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "kube2sky",
            },
            subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
            opts=self._options,
        )


def corefile_text(domain: str) -> str:
    """Answer from the pod's own etcd, for the domain and for the way back."""
    return f"""{domain}:53 in-addr.arpa:53 {{
  etcd {{
    path /skydns
    endpoint {ETCD}
  }}
  errors
  loadbalance
}}
.:53 {{
  errors
  health :8080
  ready :8181
}}
"""


def pod_spec(args: KubeDnsArgs) -> kubernetes.core.v1.PodSpecArgsDict:
    """Three containers that share nothing but the network of their pod."""
    return {
        "service_account_name": NAME,
        # It cannot ask itself for the names it needs to start.
        "dns_policy": "Default",
        "priority_class_name": "system-cluster-critical",
        "containers": [etcd(args), kube2sky(args), skydns(args)],
        "volumes": [
            {"name": "records", "empty_dir": {}},
            {"name": "corefile", "config_map": {"name": "skydns"}},
        ],
    }


def etcd(args: KubeDnsArgs) -> kubernetes.core.v1.ContainerArgsDict:
    """Build the container that keeps the records, as long as its pod lives."""
    return {
        "name": "etcd",
        "image": args.etcd_image,
        "args": [
            "--data-dir=/var/lib/etcd",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            # Records are written again by kube2sky: nothing here has to survive a power cut.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        "resources": resources("50m", "64Mi", "256Mi"),
        "volume_mounts": [{"name": "records", "mount_path": "/var/lib/etcd"}],
    }


def kube2sky(args: KubeDnsArgs) -> kubernetes.core.v1.ContainerArgsDict:
    """Build the container that writes a record for each service."""
    return {
        "name": "kube2sky",
        "image": args.kube2sky_image,
        "args": [f"--domain={args.domain}", f"--kube_master_url={args.kube_master_url}"],
        "resources": resources("20m", "32Mi", "128Mi"),
        "readiness_probe": probe("/readiness", 8081),
    }


def skydns(args: KubeDnsArgs) -> kubernetes.core.v1.ContainerArgsDict:
    """Build the container that answers."""
    return {
        "name": "skydns",
        "image": args.skydns_image,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "container_port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "container_port": 53, "protocol": "TCP"},
        ],
        "resources": resources("50m", "64Mi", "170Mi"),
        "readiness_probe": probe("/ready", 8181),
        "liveness_probe": {
            "http_get": {"path": "/health", "port": 8080},
            "initial_delay_seconds": 30,
            "failure_threshold": 5,
        },
        "volume_mounts": [{"name": "corefile", "mount_path": "/etc/coredns"}],
    }


def resources(
    cpu: str, memory: str, at_most: str
) -> kubernetes.core.v1.ResourceRequirementsArgsDict:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": at_most}}


def probe(path: str, port: int) -> kubernetes.core.v1.ProbeArgsDict:
    """Ask every second, so that a pod that is ready is used at once."""
    return {"http_get": {"path": path, "port": port}, "period_seconds": 1, "timeout_seconds": 2}
