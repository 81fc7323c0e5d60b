"""A lab host with containerd and a real Mesos agent, and a real control plane to join."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.control_plane import ControlPlane, control_plane
from tests.km.minion.one_agent import (
    CACHE,
    MESOS,
    REPOSITORY,
    Framework,
    listens,
    pod_data,
    scalars,
    task,
    wait_for,
)
from tests.throwaway_pki import Pki

STORE = "/var/cache/kubernetes-mesos/programs"
BIN = "/opt/kubernetes-mesos/bin"
ETC = "/etc/kubernetes-mesos"
CONTAINERD = f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "registry.k8s.io/pause:3.10"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{BIN}"
    conf_dir = "/etc/cni/net.d"
"""
UNIT = """\
[Service]
ExecStart={store}/mesos-agent --master={gateway}:{port} --ip={address} --port=5051 \\
  --hostname=agent-1 --no-hostname_lookup --no-systemd_enable_support \\
  --work_dir=/var/lib/kubernetes-mesos/mesos --runtime_dir=/run/mesos --launcher_dir={store} \\
  --launcher=linux --isolation=cgroups/cpu,cgroups/mem "--resources=cpus:2;mem:1500;disk:5000"
KillMode=process
Delegate=yes
Restart=always
RestartSec=1
LimitNOFILE=1048576
TasksMax=infinity
"""
FLANNEL = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: flannel}
rules:
- {apiGroups: [""], resources: [nodes], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [nodes/status], verbs: [patch]}
"""
LEFTOVERS = r"""
ps -eo pid,comm | grep -E 'kubelet|kube-proxy|flanneld|containerd-shim' || :
pgrep --full --list-full 'km-[g]uard|km[.]minion' || :
find /sys/fs/cgroup -path '*/mesos/*' -type d
grep -e /var/lib/kubelet/pods -e sandboxes -e netns/cni /proc/mounts || :
ip -brief link | grep -e cni0 -e flannel -e veth || :
iptables-save | grep -e KUBE -e CNI -e FLANNEL || :
ls -d /var/lib/kubelet/pods /var/log/pods /var/lib/kubernetes-mesos/minion/state.json \
  /etc/cni/net.d/* 2>/dev/null || :
! systemctl --quiet is-active containerd || ctr --namespace k8s.io containers list --quiet
"""


class LabNode:
    """What the tests do to the host, the cluster and the framework."""

    def __init__(self, directory: Path, address: str, cluster: ControlPlane) -> None:
        self.address = address
        self.cluster = cluster
        self.framework: Framework
        self._ssh = [
            "ssh",
            f"-i{directory}/id",
            "-oStrictHostKeyChecking=no",
            "-oUserKnownHostsFile=/dev/null",
            "-oLogLevel=ERROR",
            f"root@{address}",
        ]
        self.executor: dict[str, Any] = {
            "executor_id": {"value": "km-agent-1"},
            "name": "kubelet",
            "type": "CUSTOM",
            "command": {"value": "PYTHONPATH=/opt/km exec python3 -m km.minion"},
            "resources": scalars(cpus=0.1, mem=192),
            "shutdown_grace_period": {"nanoseconds": 10_000_000_000},
        }

    def run(self, script: str, **more: Any) -> str:
        done = subprocess.run(
            [*self._ssh, script], stdout=subprocess.PIPE, text=True, check=True, **more
        )
        return done.stdout

    def put(self, path: str, text: str) -> None:
        self.run(f"mkdir -p {Path(path).parent}; umask 077; cat > {path}", input=text)

    def tunnel(self, port: int) -> subprocess.Popen[bytes]:
        """Let the host reach a port of this machine's loopback."""
        forward = f"127.0.0.1:{port}:127.0.0.1:{port}"
        command = [*self._ssh[:-1], "-N", "-R", forward, self._ssh[-1]]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def load_image(self, archive: Path) -> None:
        with archive.open("rb") as content:
            self.run("ctr --namespace k8s.io images import - >/dev/null", stdin=content)

    def install_minion(self) -> None:
        packed = subprocess.run(
            [
                "tar",
                f"--directory={REPOSITORY}",
                "-c",
                "km/__init__.py",
                "km/futures.py",
                "km/minion",
            ],
            stdout=subprocess.PIPE,
            check=True,
        )
        unpack = [*self._ssh, "mkdir -p /opt/km; tar -C /opt/km -x"]
        subprocess.run(unpack, input=packed.stdout, check=True)

    def start_node(self, number: int) -> None:
        data = {
            "kind": "node",
            "node": "agent-1",
            "cluster_dns": "10.10.10.10",
            "cluster_domain": "cluster.local",
            "provider_id": "mesos://framework/agent",
            "labels": {"k8s.mesosphere.io/attribute-rack": "r1"},
            "agent_resources": {"cpus": 2, "mem": 1500},
        }
        name = f"node.agent-1.{number}"
        self.framework.launch(self.executor, task(name, data, cpus=0.01, mem=1))
        wait_for(lambda: self.framework.state(name) == "TASK_RUNNING", 60)
        wait_for(self.ready, 60)

    def ready(self) -> bool:
        node = self.cluster.object("node", "agent-1") or {}
        conditions = node.get("status", {}).get("conditions", [])
        return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)

    def start_pod(self, name: str, script: str, *, mem: float = 64) -> None:
        self.framework.launch(self.executor, task(f"pod.{name}", pod_data(name), mem=mem))
        wait_for(lambda: self.framework.state(f"pod.{name}") == "TASK_RUNNING")
        container = {
            "name": "it",
            "image": busybox_name(),
            "imagePullPolicy": "Never",
            "command": ["sh", "-c", script],
        }
        spec = {"nodeName": "agent-1", "restartPolicy": "Never", "containers": [container]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))

    def phase(self, name: str) -> str:
        return str((self.cluster.object("pod", name) or {})["status"]["phase"])

    def notes(self) -> dict[str, Any]:
        notes = json.loads(self.run("cat /var/lib/kubernetes-mesos/minion/state.json"))
        assert isinstance(notes, dict)
        return notes

    def log(self, name: str) -> str:
        runs = "/var/lib/kubernetes-mesos/mesos/slaves/*/frameworks/*/executors/*/runs/*-*"
        return self.run(f"cat $(ls -dt {runs} | head -1)/{name}")

    def leftovers(self) -> str:
        return self.run(LEFTOVERS)

    def wait_until_nothing_is_left(self, seconds: float) -> None:
        """Or fail, with what is left."""
        end = time.monotonic() + seconds
        while left := self.leftovers():
            assert time.monotonic() < end, f"still there after {seconds} s:\n{left}"
            time.sleep(0.2)


def index() -> dict[str, str]:
    """Archive by image name, as `python3 -m lab images` packed them."""
    path = CACHE / "images/index.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def busybox_name() -> str:
    return next(name for name in index() if "/busybox:" in name)


def lab(*arguments: str, spec: dict[str, Any] | None = None) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        cwd=REPOSITORY,
        input=json.dumps(spec or {}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout or "null")


@contextlib.contextmanager
def lab_node(directory: Path) -> Iterator[LabNode]:
    """A host of a lab of its own with everything but the node; gone with the block."""
    name = f"m{uuid.uuid4().hex[:6]}"
    for key in ("id", "host"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/{key}"]
        subprocess.run(command, check=True)
    try:
        owner = {"lab": name, "network": None, "owner": f"{directory}:minion"}
        gateway = lab("network", "up", spec=owner)["gateway"]
        host = {
            "lab": name,
            "name": "agent-1",
            "index": 21,
            "cpus": 2,
            "memory_mb": 2048,
            "disk_gb": 10,
            "authorized_key": (directory / "id.pub").read_text().strip(),
            "host_key": (directory / "host").read_text(),
            "base": "bookworm",
            "roles": ["mesos-agent"],
        }
        address = lab("host", "up", spec=host)["address"]
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(control_plane(directory / "cluster", controllers=True))
            node = LabNode(directory, address, cluster)
            prepare(node, stack, gateway, directory)
            yield node
    finally:
        lab("down", "--lab", name)


def prepare(node: LabNode, stack: contextlib.ExitStack, gateway: str, directory: Path) -> None:
    """Do by hand what the recipes node-runtime and mesos-agent do."""
    give_access(node)
    node.put("/etc/containerd/config.toml", CONTAINERD)
    version = max(path.name for path in (CACHE / "programs/kubernetes").iterdir())
    node.run(
        f"mkdir -p {BIN}; cd {BIN}; for name in kubelet kube-proxy; do "
        f"ln -sf {STORE}/kubernetes/{version}/kubernetes $name; done; "
        f"ln -sf {STORE}/cni/*/* {STORE}/flannel/*/flanneld .; "
        "sysctl -qw net.ipv4.ip_forward=1; systemctl restart containerd; "
        "until ctr version >/dev/null 2>&1; do sleep 0.2; done"
    )
    for image in ("registry.k8s.io/pause:3.10", busybox_name()):
        node.load_image(CACHE / "images" / index()[image])
    node.install_minion()
    tunnel = node.tunnel(int(node.cluster.server.rsplit(":", 1)[1]))
    stack.callback(tunnel.wait)
    stack.callback(tunnel.kill)
    port = 5050
    with (directory / "master.log").open("wb") as log:
        flags = ["--no-hostname_lookup", "--registry=in_memory", "--allocation_interval=100ms"]
        where = [f"--ip={gateway}", f"--port={port}", f"--work_dir={directory}/master"]
        master = subprocess.Popen([MESOS / "mesos-master", *where, *flags], stdout=log, stderr=log)
    stack.callback(master.wait)
    stack.callback(master.kill)
    wait_for(lambda: listens(port, gateway))
    store = f"{STORE}/mesos/{MESOS.name}"
    unit = UNIT.format(store=store, gateway=gateway, port=port, address=node.address)
    node.put("/etc/systemd/system/mesos-agent.service", unit)
    node.run("systemctl daemon-reload; systemctl start mesos-agent")
    node.framework = Framework(port, host=gateway)
    stack.callback(node.framework.close)
    time.sleep(0.1)


def give_access(node: LabNode) -> None:
    """Certificates and kubeconfigs of the node, and the roles they need."""
    cluster = node.cluster
    cluster.kubectl("apply", "-f", "-", stdin=FLANNEL)
    for role, user in (("system:node-proxier", "system:kube-proxy"), ("flannel", "flannel")):
        binding = ("create", "clusterrolebinding", user.replace(":", "-"))
        cluster.kubectl(*binding, f"--clusterrole={role}", f"--user={user}")
    users = {
        "kubelet": ("system:node:agent-1", ("system:nodes",)),
        "kube-proxy": ("system:kube-proxy", ()),
        "flannel": ("flannel", ()),
    }
    for name, (user, groups) in users.items():
        text = cluster.kubeconfig_of(user, groups).read_text()
        node.put(f"{ETC}/kubernetes/{name}.kubeconfig", text)
    pki = Pki(cluster.directory / "pki")
    pki.issue("kubelet", *users["kubelet"])
    for name in ("ca.crt", "kubelet.crt", "kubelet.key"):
        node.put(f"{ETC}/pki/{name}", Path(pki.path(name)).read_text())
    settings = {
        "kubeconfig": f"{ETC}/kubernetes/kubelet.kubeconfig",
        "proxy_kubeconfig": f"{ETC}/kubernetes/kube-proxy.kubeconfig",
        "flannel_kubeconfig": f"{ETC}/kubernetes/flannel.kubeconfig",
        "client_ca": f"{ETC}/pki/ca.crt",
        "serving_certificate": f"{ETC}/pki/kubelet.crt",
        "serving_key": f"{ETC}/pki/kubelet.key",
        "bin_dir": BIN,
        "cni_bin_dir": BIN,
        "node_ip": node.address,
        "pod_network": "10.244.0.0/16",
    }
    node.put(f"{ETC}/minion.json", json.dumps(settings))
