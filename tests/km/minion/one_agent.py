"""One real Mesos master and agent on loopback, and a small framework to launch a minion with.

The programs of the node are scripts that only wait: these tests are about the executor's
protocol, limits and leaving. A real kubelet runs in the lab's tests.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = Path(
    os.environ.get("KUBERNETES_MESOS_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubernetes-mesos"
)
MESOS = CACHE / "programs/mesos/1.11.0"
NODE = {
    "kind": "node",
    "node": "here",
    "cluster_dns": "10.10.10.10",
    "cluster_domain": "cluster.local",
    "provider_id": "mesos://f/a",
    "labels": {"k8s.mesosphere.io/attribute-rack": "r1"},
    "agent_resources": {"cpus": 4, "mem": 2048},
}


def pod_data(name: str, limit: float | None = None) -> dict[str, Any]:
    return {
        "kind": "pod",
        "uid": f"uid-{name}",
        "namespace": "default",
        "name": name,
        "resources": {"cpus": 0.1, "mem": 64},
        "limits": {"mem": limit},
    }


def wait_for(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Poll until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class OneAgent:
    """Master and agent with throwaway cgroups, directories and ports."""

    def __init__(self, directory: Path, *, launcher: str = "linux") -> None:
        self.directory = directory
        self.launcher = launcher
        self.master_port, self.agent_port = free_port(), free_port()
        self.cgroups_root = f"km-minion-test-{os.getpid()}-{self.agent_port}"
        self.flags: list[str] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_master(self) -> None:
        self._start(
            "mesos-master",
            f"--port={self.master_port}",
            f"--work_dir={self.directory}/master",
            "--registry=in_memory",
            "--allocation_interval=100ms",
        )
        wait_for(lambda: listens(self.master_port))

    def start_agent(self) -> None:
        """Start the agent; again with the same directories, it recovers its executors."""
        isolation = "cgroups/cpu,cgroups/mem" if self.launcher == "linux" else "posix/cpu,posix/mem"
        self._start(
            "mesos-agent",
            f"--port={self.agent_port}",
            f"--master=127.0.0.1:{self.master_port}",
            f"--work_dir={self.directory}/agent",
            f"--runtime_dir={self.directory}/run",
            f"--launcher_dir={MESOS}",
            f"--launcher={self.launcher}",
            f"--isolation={isolation}",
            f"--cgroups_root={self.cgroups_root}",
            "--no-systemd_enable_support",
            "--hostname=here",
            "--resources=cpus:4;mem:2048;disk:1000;ports:[31000-32000]",
            *self.flags,
        )
        wait_for(lambda: listens(self.agent_port))

    def _start(self, program: str, *flags: str) -> None:
        with (self.directory / f"{program}.log").open("ab") as log:
            self._processes[program] = subprocess.Popen(
                [MESOS / program, "--ip=127.0.0.1", "--no-hostname_lookup", *flags],
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "PYTHONPATH": str(REPOSITORY),
                    "LIBPROCESS_NUM_WORKER_THREADS": "4",
                },
            )

    def kill(self, program: str) -> None:
        process = self._processes.pop(program)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for program in list(self._processes):
            self.kill(program)
        for hierarchy in Path("/sys/fs/cgroup").iterdir():
            for directory, _, _ in os.walk(hierarchy / self.cgroups_root, topdown=False):
                with contextlib.suppress(OSError):
                    for pid in Path(directory, "cgroup.procs").read_text().split():
                        os.kill(int(pid), 9)
        time.sleep(0.2)
        for hierarchy in Path("/sys/fs/cgroup").iterdir():
            for directory, _, _ in os.walk(hierarchy / self.cgroups_root, topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()

    def sandbox(self) -> Path:
        """The sandbox of the newest executor's newest run."""
        runs = self.directory.glob("agent/slaves/*/frameworks/*/executors/*/runs/*-*")
        return max(runs, key=lambda run: run.stat().st_mtime)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) == 0


class Framework:
    """The least that launches, kills and shuts down: one role, explicit acknowledgements."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", checkpoint: bool = True) -> None:
        self._host, self._port = host, port
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.states: list[tuple[str, str, str]] = []
        self.offers: list[dict[str, Any]] = []
        info = {
            "user": "root",
            "name": "test",
            "checkpoint": checkpoint,
            "failover_timeout": 60.0,
            "roles": ["*"],
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
        }
        connection = http.client.HTTPConnection(host, port, timeout=120)
        body = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        connection.request("POST", "/api/v1/scheduler", json.dumps(body), HEADERS)
        self._connection, self._socket = connection, connection.sock
        self._answer = connection.getresponse()
        assert self._answer.status == 200, self._answer.read()
        self._stream = self._answer.getheader("Mesos-Stream-Id")
        self.id = self._next()["subscribed"]["framework_id"]["value"]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._answer.close()
        self._connection.close()

    def _next(self) -> dict[str, Any]:
        size = int(self._answer.readline())
        event = json.loads(self._answer.read(size))
        assert isinstance(event, dict)
        return event

    def _read(self) -> None:
        with contextlib.suppress(ValueError, OSError, AttributeError, http.client.HTTPException):
            while True:
                event = self._next()
                if event["type"] == "OFFERS":
                    self.offers += event["offers"]["offers"]
                elif event["type"] == "RESCIND":
                    gone = event["rescind"]["offer_id"]
                    self.offers = [offer for offer in self.offers if offer["id"] != gone]
                elif event["type"] == "UPDATE":
                    self._updated(event["update"]["status"])
                else:
                    self.events.put(event)

    def _updated(self, status: dict[str, Any]) -> None:
        names = {name: status[name] for name in ("agent_id", "task_id", "uuid") if name in status}
        if "uuid" in status:
            status_code, text = self._post("ACKNOWLEDGE", {"acknowledge": names})
            # The last updates may come after a test has torn its framework down.
            assert status_code == 202 or b"Framework cannot be found" in text, text
        self.states.append((status["task_id"]["value"], status["state"], status.get("message", "")))

    def call(self, kind: str, **content: Any) -> None:
        status, text = self._post(kind, content)
        assert status == 202, (kind, status, text)

    def _post(self, kind: str, content: dict[str, Any]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=10)
        body = {"type": kind, "framework_id": {"value": self.id}, **content}
        headers = {**HEADERS, "Mesos-Stream-Id": self._stream or ""}
        with contextlib.closing(connection):
            connection.request("POST", "/api/v1/scheduler", json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def launch(self, executor: dict[str, Any], *tasks: dict[str, Any]) -> None:
        """Launch tasks of ``task()`` on everything that is offered; there is one agent."""
        wait_for(lambda: self.offers)
        # What running tasks gave back comes as offers of its own, each too small for a node.
        offers, self.offers = self.offers, []
        offer = offers[0]
        infos = [
            {
                **task,
                "agent_id": offer["agent_id"],
                "executor": {**executor, "framework_id": {"value": self.id}},
            }
            for task in tasks
        ]
        operations = [{"type": "LAUNCH", "launch": {"task_infos": infos}}]
        self.agent_id = offer["agent_id"]
        self.call(
            "ACCEPT",
            accept={
                "offer_ids": [one["id"] for one in offers],
                "operations": operations,
                "filters": {"refuse_seconds": 0},
            },
        )

    def kill(self, task_id: str) -> None:
        """As km does: at once."""
        at_once = {"grace_period": {"nanoseconds": 0}}
        kill = {"task_id": {"value": task_id}, "agent_id": self.agent_id, "kill_policy": at_once}
        self.call("KILL", kill=kill)

    def shut_down(self, executor_id: str) -> None:
        self.call(
            "SHUTDOWN",
            shutdown={"executor_id": {"value": executor_id}, "agent_id": self.agent_id},
        )

    def state(self, task_id: str) -> str | None:
        """The last state reported for a task."""
        return next((state for task, state, _ in self.states[::-1] if task == task_id), None)

    def message(self, task_id: str) -> str:
        return next((text for task, _, text in self.states[::-1] if task == task_id), "")


HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


def task(
    task_id: str, data: Any, *, cpus: float = 0.1, mem: float = 64, **more: Any
) -> dict[str, Any]:
    text = json.dumps(data) if not isinstance(data, str) else data
    return {
        "task_id": {"value": task_id},
        "name": task_id,
        "data": base64.b64encode(text.encode()).decode(),
        "resources": scalars(cpus=cpus, mem=mem),
        **more,
    }


def scalars(**amounts: float) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "type": "SCALAR",
            "scalar": {"value": value},
            "allocation_info": {"role": "*"},
        }
        for name, value in amounts.items()
    ]


def executor(settings: Path, *, mem: float = 128) -> dict[str, Any]:
    return {
        "executor_id": {"value": f"km-test-{os.getpid()}"},
        "name": "kubelet",
        "type": "CUSTOM",
        "command": {
            "value": f"export PYTHONPATH={REPOSITORY} PATH={settings.parent}/bin:$PATH; "
            f"exec {sys.executable} -m km.minion --settings {settings}"
        },
        "resources": scalars(cpus=0.1, mem=mem),
        "shutdown_grace_period": {"nanoseconds": 10_000_000_000},
    }


def host_files(directory: Path) -> Path:
    """A host whose node programs only wait; returns its minion.json."""
    binaries = directory / "bin"
    binaries.mkdir(parents=True)
    for name in ("kubelet", "kube-proxy", "flanneld"):
        program = binaries / name
        program.write_text(f'#!/bin/sh\necho {name} "$@"\nexec sleep 1000\n')
        program.chmod(0o755)
    # These tests run beside whatever the machine is used for: its network stays as it is.
    for name in ("ip", "iptables-save", "ip6tables-save"):
        program = binaries / name
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
    for name in ("kubelet.kubeconfig", "proxy.kubeconfig", "flannel.kubeconfig", "ca.crt"):
        (directory / name).write_text("{}")
    settings = {
        "kubeconfig": f"{directory}/kubelet.kubeconfig",
        "proxy_kubeconfig": f"{directory}/proxy.kubeconfig",
        "flannel_kubeconfig": f"{directory}/flannel.kubeconfig",
        "client_ca": f"{directory}/ca.crt",
        "node_ip": "127.0.0.1",
        "pod_network": "10.244.0.0/16",
        "bin_dir": str(binaries),
        "cni_bin_dir": str(binaries),
        "cni_conf_dir": f"{directory}/net.d",
        "container_runtime_endpoint": f"unix://{directory}/no-runtime.sock",
        "state_dir": f"{directory}/state",
        "kubelet_root": f"{directory}/kubelet",
        "pod_logs": f"{directory}/logs",
    }
    path = directory / "minion.json"
    path.write_text(json.dumps(settings))
    return path


@contextlib.contextmanager
def one_agent(directory: Path, *, launcher: str = "linux") -> Iterator[OneAgent]:
    cluster = OneAgent(directory, launcher=launcher)
    try:
        cluster.start_master()
        cluster.start_agent()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory / "agent", ignore_errors=True)
