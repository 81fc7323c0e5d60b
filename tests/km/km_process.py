"""A real `km scheduler` on a real control plane and a real Mesos, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.control_plane import ControlPlane, program
from tests.mesos_cluster import MesosCluster, free_port, wait_until

ROOT = Path(__file__).parents[2]
NODE_ADDRESS = "10.0.0.21"
EXECUTOR = f"exec {sys.executable} {ROOT}/tests/km/executor.py"


@dataclass
class Km:
    """One `km scheduler` process and how to talk to it."""

    directory: Path
    kube: ControlPlane
    master: str
    flags: dict[str, str] = field(default_factory=dict)
    name: str = "km"
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    def start(self) -> Km:
        self.port = self.port or free_port()
        kubernetes = program("kubernetes")
        assert kubernetes is not None
        scheduler = self.directory / "kube-scheduler"
        if not scheduler.exists():
            scheduler.symlink_to(kubernetes)
        options = {
            "mesos-master": self.master,
            "kubeconfig": str(self.kube.kubeconfig),
            "kube-scheduler": str(scheduler),
            "kube-scheduler-port": "0",
            "cluster-dns": "10.10.10.10",
            "nodes": "every-agent",
            "executor-command": EXECUTOR,
            "address": "127.0.0.1",
            "port": str(self.port),
            "extender-port": str(free_port()),
            "runtime-dir": str(self.directory / self.name),
            **self.flags,
        }
        line = [sys.executable, "-m", "km", "scheduler"]
        line += [f"--{key}={value}" for key, value in options.items()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                line, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
        return self

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and give its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def get(self, path: str) -> tuple[int, str]:
        """One GET of the status server; (0, '') while it does not answer."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self) -> dict[str, Any]:
        code, text = self.get("/status.json")
        return json.loads(text) if code == 200 else {}

    def wait_ready(self, seconds: float = 40) -> None:
        self.wait(lambda: self.get("/readyz")[0] == 200 and self.status().get("leading"), seconds)

    def wait(self, condition: Callable[[], object], seconds: float = 30) -> Any:
        """Wait, and show the end of the log when it takes too long."""

        def check() -> object:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"km ended with {self.process.returncode}:\n{self.tail()}")
            return condition()

        try:
            return wait_until(check, seconds, "km doing what the test waits for")
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from error

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]


@dataclass
class Stage:
    """Everything together: Kubernetes, Mesos and as many km as a test wants."""

    directory: Path
    kube: ControlPlane
    mesos: MesosCluster
    schedulers: list[Km] = field(default_factory=list)

    def km(self, master: str, name: str = "km", **flags: str) -> Km:
        options = {key.replace("_", "-"): value for key, value in flags.items()}
        made = Km(self.directory, self.kube, master, options, name)
        self.schedulers.append(made)
        return made.start()

    def close(self) -> None:
        for scheduler in self.schedulers:
            with contextlib.suppress(Exception):
                scheduler.close()

    def nodes_of_mesos(self, *names: str) -> None:
        """Make the Node objects that kubelets would make, Ready and with room."""
        for name in names:
            capacity = {"cpu": "4", "memory": "4Gi", "pods": "110", "ephemeral-storage": "8Gi"}
            told = self.told(name)
            metadata = {"name": name, "labels": told["labels"]}
            spec = {"providerID": told["provider_id"]}
            self.apply({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec})
            self.kube.set_status(
                "node",
                name,
                {
                    "capacity": capacity,
                    "allocatable": capacity,
                    "addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}],
                    "conditions": [{"type": "Ready", "status": "True", "reason": "test"}],
                },
            )
            # Admission marks new nodes as not ready; the controller that unmarks them is absent.
            self.kube.kubectl("patch", "node", name, "-p", '{"spec":{"taints":null}}')

    def told(self, name: str) -> dict[str, Any]:
        """What the node task on this agent carries, as the executor wrote it down."""

        def find() -> dict[str, Any] | None:
            outputs = (self.mesos.directory / name / "work").rglob("executors/*/runs/*/stdout")
            for output in sorted(outputs, key=lambda path: path.stat().st_mtime, reverse=True):
                for line in output.read_text().splitlines():
                    if line.startswith("launch {"):
                        told: dict[str, Any] = json.loads(line.removeprefix("launch "))
                        if told["kind"] == "node":
                            return told
            return None

        found: dict[str, Any] = wait_until(find, 20, f"the node task on {name}")
        return found

    def pod(self, name: str, cpu: str = "100m", memory: str = "64Mi", **spec: Any) -> None:
        container = {
            "name": "main",
            "image": "test",
            "resources": {"requests": {"cpu": cpu, "memory": memory}},
        }
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, **spec},
        }
        self.apply(body)

    def apply(self, body: dict[str, Any]) -> None:
        self.kube.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def bound(self) -> dict[str, str]:
        """Pod name to node, of the pods that have one."""
        pods = json.loads(self.kube.kubectl("get", "pods", "-o", "json"))["items"]
        return {
            pod["metadata"]["name"]: pod["spec"]["nodeName"]
            for pod in pods
            if pod["spec"].get("nodeName")
        }
