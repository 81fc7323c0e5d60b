"""The processes of a Kubernetes node and the files they read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from km.minion import kubelet, network
from km.minion.cgroups import Tree
from km.minion.processes import Process, cut_log, logs_in
from km.minion.settings import Settings
from km.minion.sweep import remove_pod_network
from km.minion.tasks import NodeTask, Share

log = logging.getLogger(__name__)

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OOM_SCORE = -999
"""What kubelet and kube-proxy take by themselves."""
SUBNET_POLL = 0.1
LOG_CHECK = 30.0
STOP_SECONDS = 2.0


class Node:
    """Started once, by the node's task; supervised until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        task: NodeTask,
        *,
        tree: Tree,
        executor: Share,
        sandbox: str,
        prefix: Sequence[str],
    ) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._prefix = prefix
        self._directory = Path(settings.state_dir)
        self._subnet: network.Subnet | None = None
        self._subnet_path = self._directory / "subnet.env"
        self._keepers: list[asyncio.Task[None]] = []
        host = machine()
        self._files = {
            "kubelet.json": kubelet.configuration(
                settings, task, machine=host, cgroup_root=tree.pods, executor=executor
            ),
            "kube-proxy.json": network.proxy_configuration(
                settings, task, oom_score=host.oom_score
            ),
            "net-conf.json": network.flannel_configuration(settings),
        }
        paths = {name: str(self._directory / name) for name in self._files}
        self.processes = [
            self._process("kubelet", kubelet.command(settings, task, paths["kubelet.json"])),
            self._process("kube-proxy", network.proxy_command(settings, paths["kube-proxy.json"])),
            self._process(
                "flanneld",
                network.flannel_command(settings, paths["net-conf.json"], str(self._subnet_path)),
                {"NODE_NAME": task.node},
            ),
        ]

    def _process(
        self, name: str, command: list[str], extra: Mapping[str, str] | None = None
    ) -> Process:
        environment = {"PATH": PATH, "HOME": "/root", **(extra or {})}
        return Process(
            name=name,
            command=command,
            log_path=f"{self._sandbox}/{name}.log",
            environment=environment,
            prefix=self._prefix,
        )

    def start(self, changed: asyncio.Condition) -> None:
        """Write the files, start the processes and keep them running.

        Raises:
            OSError: a file cannot be written or a program not be started.
        """
        for name, content in self._files.items():
            write_json(self._directory / name, content)
        with contextlib.suppress(FileNotFoundError):
            self._subnet_path.unlink()
        for process in self.processes:
            process.start()
            self._keepers.append(asyncio.create_task(process.keep(changed)))
        self._keepers.append(asyncio.create_task(self._keep_network()))
        self._keepers.append(asyncio.create_task(self._keep_logs()))

    async def stop(self) -> None:
        """Stop the processes, the kubelet first so that it does not start pods again."""
        for keeper in self._keepers:
            keeper.cancel()
        for process in self.processes:
            await process.stop(STOP_SECONDS)

    async def _keep_network(self) -> None:
        """Give containerd the pod network as soon as flanneld knows this node's podCIDR."""
        while True:
            with contextlib.suppress(OSError):
                subnet = network.parse_subnet(self._subnet_path.read_text())
                if subnet and subnet != self._subnet:
                    self._use(subnet)
            await asyncio.sleep(1.0 if self._subnet else SUBNET_POLL)

    def _use(self, subnet: network.Subnet) -> None:
        if self._subnet:
            log.warning("podCIDR changed from %s to %s", self._subnet.cidr, subnet.cidr)
            # The old bridge has the old gateway's address, and pods' addresses are taken.
            remove_pod_network()
        directory = Path(self._settings.cni_conf_dir)
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / network.CONFLIST, network.conflist(subnet))
        self._subnet = subnet
        log.info("pod network: %s, mtu %d", subnet.cidr, subnet.mtu)

    async def _keep_logs(self) -> None:
        while True:
            for path in logs_in(self._sandbox, self.processes):
                cut_log(path, self._settings.log_bytes)
            await asyncio.sleep(LOG_CHECK)


def machine() -> kubelet.Machine:
    """Measure this host the way the kubelet does."""
    servers = [
        line.split()[1]
        for line in Path("/etc/resolv.conf").read_text().splitlines()
        if line.startswith("nameserver ")
    ]
    return kubelet.Machine(
        cpus=os.cpu_count() or 1,
        memory=kubelet.memory_total(Path("/proc/meminfo").read_text()),
        resolv_conf=kubelet.resolv_conf(servers, resolved=Path(kubelet.RESOLVED).exists()),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        oom_score=lower_oom_score(),
    )


def lower_oom_score() -> int:
    """Let the kernel kill pods rather than the node; return what it allowed.

    A container's root may not go below where it was started. What is started later inherits it;
    pods do not, containerd starts them.
    """
    file = Path("/proc/self/oom_score_adj")
    try:
        file.write_text(str(OOM_SCORE))
    except PermissionError:
        return int(file.read_text())
    return OOM_SCORE


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file in one step: nobody reads half of it."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(content, indent=2))
    fresh.replace(path)
