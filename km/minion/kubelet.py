"""The kubelet's configuration and command line. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from km.minion.settings import Settings
from km.minion.tasks import MEBIBYTE, NodeTask, Share

EVICTION_MEMORY = 100 * MEBIBYTE
"""The kubelet's own default: below this much free memory of the host it evicts pods."""
OPEN_FILES = 1_000_000
"""The kubelet's own default."""
RESOLVED = "/run/systemd/resolve/resolv.conf"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The host, as the kubelet measures it."""

    cpus: int
    memory: int
    """Bytes: MemTotal."""
    resolv_conf: str
    open_files: int
    """The hard limit of open files that this process hands on."""
    oom_score: int
    """The lowest oom_score_adj that the kernel let this process take."""


def configuration(
    settings: Settings, node: NodeTask, *, machine: Machine, cgroup_root: str, executor: Share
) -> dict[str, Any]:
    """KubeletConfiguration v1beta1.

    Args:
        settings: of this host.
        node: what km scheduler asked for.
        machine: capacity that the kubelet will report.
        cgroup_root: cgroup that all pods live in.
        executor: what the node's own processes were granted, not available to pods.
    """
    disk = settings.local_storage_capacity_isolation
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": settings.client_ca},
        },
        "authorization": {"mode": "Webhook"},
        **_serving(settings),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        # The minion holds the level above; see cgroups.py.
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "maxOpenFiles": min(machine.open_files, OPEN_FILES),
        "oomScoreAdj": machine.oom_score,
        "systemReserved": reserved(machine, node, executor),
        "evictionHard": {
            "memory.available": f"{EVICTION_MEMORY // MEBIBYTE}Mi",
            **(
                {"nodefs.available": "10%", "nodefs.inodesFree": "5%", "imagefs.available": "15%"}
                if disk
                else {}
            ),
        },
        "localStorageCapacityIsolation": disk,
        # 100 switches image garbage collection off: without a device to measure it only fails.
        **({} if disk else {"imageGCHighThresholdPercent": 100}),
        "clusterDNS": [node.cluster_dns],
        "clusterDomain": node.cluster_domain,
        "resolvConf": machine.resolv_conf,
        "containerRuntimeEndpoint": settings.container_runtime_endpoint,
        "podLogsDir": settings.pod_logs,
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 3,
        "maxPods": settings.max_pods,
        "serializeImagePulls": False,
        "providerID": node.provider_id,
        "registerNode": True,
    }


def _serving(settings: Settings) -> dict[str, Any]:
    if settings.serving_certificate and settings.serving_key:
        return {
            "tlsCertFile": settings.serving_certificate,
            "tlsPrivateKeyFile": settings.serving_key,
        }
    return {"serverTLSBootstrap": True}


def reserved(machine: Machine, node: NodeTask, executor: Share) -> dict[str, str]:
    """What of the machine is not for pods: all but the Mesos agent's, and the node's own part.

    The kubelet takes the eviction threshold off as well, so it is counted here. An agent may
    offer more than the machine has; then nothing is left to reserve.
    """
    cpus = machine.cpus - (node.agent_cpus - executor.cpus)
    memory = machine.memory - (node.agent_memory - executor.memory) - EVICTION_MEMORY
    return {"cpu": f"{max(math.ceil(cpus * 1000 - 1e-6), 0)}m", "memory": str(max(int(memory), 0))}


def command(settings: Settings, node: NodeTask, configuration_path: str) -> list[str]:
    """The kubelet's command line: only what its configuration file cannot say."""
    labels = ",".join(f"{key}={value}" for key, value in sorted(node.labels.items()))
    return [
        f"{settings.bin_dir}/kubelet",
        f"--config={configuration_path}",
        f"--kubeconfig={settings.kubeconfig}",
        f"--root-dir={settings.kubelet_root}",
        f"--hostname-override={node.node}",
        f"--node-ip={settings.node_ip}",
        *([f"--node-labels={labels}"] if labels else []),
    ]


def memory_total(meminfo: str) -> int:
    """Bytes of MemTotal in /proc/meminfo."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no MemTotal in /proc/meminfo")


def resolv_conf(nameservers: Iterable[str], *, resolved: bool) -> str:
    """The file that pods' DNS goes up to; a stub on loopback would be the pod itself.

    Args:
        nameservers: in /etc/resolv.conf.
        resolved: whether systemd-resolved runs and keeps RESOLVED.
    """
    servers = list(nameservers)
    stub = bool(servers) and all(server.startswith("127.") for server in servers)
    return RESOLVED if stub and resolved else "/etc/resolv.conf"
