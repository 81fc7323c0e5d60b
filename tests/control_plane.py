"""A real Kubernetes control plane on loopback, for tests: etcd and kube-apiserver.

Everything is throw-away: free ports, a certificate authority of its own, data below one directory.
kube-controller-manager is an option, because most tests need no controllers. There are no nodes:
a pod stays Pending until a test writes its status.

    with control_plane(tmp_path, controllers=True) as cluster:
        cluster.kubeconfig            # a path, user in system:masters
        cluster.kubectl("get", "nodes")
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.throwaway_pki import Pki

SERVICE_NETWORK = "10.10.10.0/24"
POD_NETWORK = "10.244.0.0/16"
START_SECONDS = 60
PR_SET_PDEATHSIG = 1


def cache() -> Path:
    """Where the project keeps what it has built: the same rule as everywhere else."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("KUBERNETES_MESOS_CACHE") or Path(base) / "kubernetes-mesos")


def program(name: str, file: str | None = None) -> Path | None:
    """The newest built `programs/<name>/<version>/<file>`, or None when it is not there."""
    found = sorted((cache() / "programs" / name).glob(f"*/{file or name}"))
    return found[-1] if found else None


def missing_programs() -> list[str]:
    """What a control plane needs and this machine lacks; tests skip with this as the reason."""
    return [name for name in ("etcd", "kubernetes") if program(name) is None]


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    directory: Path
    server: str
    """URL of kube-apiserver, on loopback."""

    kubeconfig: Path
    """File with the administrator's certificate; everything is embedded in it."""

    apiserver: Daemon
    """To be stopped and started by tests of what happens while it is away."""

    def wait_until_healthy(self) -> None:
        """Wait for an API server that was started again."""
        wait_until_healthy(f"{self.server}/readyz", Pki(self.directory / "pki"), self.apiserver)

    def kubeconfig_of(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig for another user, with a certificate of its own."""
        return Pki(self.directory / "pki").kubeconfig(self.server, user, groups)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as administrator and return what it printed."""
        executable = program("kubernetes")
        done = subprocess.run(
            ["kubectl", *arguments],
            executable=executable,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def object(self, kind: str, name: str, namespace: str = "default") -> dict | None:
        """The object as JSON, or None when there is none."""
        text = self.kubectl("-n", namespace, "get", kind, name, "-o", "json", check=False)
        return json.loads(text) if text else None

    def set_status(self, kind: str, name: str, status: dict, namespace: str = "default") -> None:
        """Write an object's status, as its controller or kubelet would."""
        patch = json.dumps({"status": status})
        arguments = ("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)
        self.kubectl("-n", namespace, *arguments)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_with_parent() -> None:
    """Have the kernel end this process with the test that started it, even by SIGKILL."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Daemon:
    """A program that can be killed and started again; it writes `<directory>/<name>.log`."""

    def __init__(self, name: str, executable: Path, directory: Path, *flags: str) -> None:
        self.name, self.executable, self.flags = name, executable, flags
        self.log = directory / f"{name}.log"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                [self.name, *self.flags],
                executable=self.executable,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=end_with_parent,  # noqa: PLW1509 -- one system call
            )

    def send(self, number: int) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait for that."""
        assert self.child is not None
        self.child.send_signal(number)
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


@contextmanager
def daemon(name: str, executable: Path, directory: Path, *flags: str) -> Iterator[Daemon]:
    """Run a program until the block ends."""
    made = Daemon(name, executable, directory, *flags)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def wait_until_healthy(url: str, pki: Pki, program: Daemon) -> None:
    """Ask `url` as administrator until it answers, or fail with the end of the log."""
    context = ssl.create_default_context(cafile=pki.path("ca.crt"))
    context.load_cert_chain(pki.path("admin.crt"), pki.path("admin.key"))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and program.child and program.child.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2, context=context) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    tail = program.log.read_text(errors="replace")[-2000:]
    raise AssertionError(f"no healthy answer from {url}; {program.log}:\n{tail}")


@contextmanager
def control_plane(directory: Path, *, controllers: bool = False) -> Iterator[ControlPlane]:
    """Start etcd and kube-apiserver (about 4 s), and end them with the block."""
    etcd, kubernetes = program("etcd"), program("kubernetes")
    if etcd is None or kubernetes is None:
        raise FileNotFoundError(f"not built: {missing_programs()}")
    directory.mkdir(parents=True, exist_ok=True)
    pki = Pki(directory / "pki")
    pki.issue("apiserver", "kube-apiserver")
    pki.issue("admin", "admin", ("system:masters",))
    client, peer, secure = (free_port() for _ in range(3))
    server = f"https://127.0.0.1:{secure}"
    with ExitStack() as running:
        running.enter_context(daemon("etcd", etcd, directory, *etcd_flags(directory, client, peer)))
        flags = apiserver_flags(pki, client, secure)
        apiserver = running.enter_context(daemon("kube-apiserver", kubernetes, directory, *flags))
        kubeconfig = pki.kubeconfig(server, "admin", ("system:masters",))
        wait_until_healthy(f"{server}/readyz", pki, apiserver)
        if controllers:
            flags = controller_flags(pki, kubeconfig)
            running.enter_context(daemon("kube-controller-manager", kubernetes, directory, *flags))
        yield ControlPlane(
            directory=directory, server=server, kubeconfig=kubeconfig, apiserver=apiserver
        )
    shutil.rmtree(directory / "etcd", ignore_errors=True)


def etcd_flags(directory: Path, client: int, peer: int) -> list[str]:
    urls = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        "--name=test",
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={urls[0]}",
        f"--advertise-client-urls={urls[0]}",
        f"--listen-peer-urls={urls[1]}",
        f"--initial-advertise-peer-urls={urls[1]}",
        f"--initial-cluster=test={urls[1]}",
        "--unsafe-no-fsync",  # the data does not outlive the test
        "--log-level=warn",
    ]


def apiserver_flags(pki: Pki, etcd: int, port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--cert-dir={pki.directory}",
        f"--tls-cert-file={pki.path('apiserver.crt')}",
        f"--tls-private-key-file={pki.path('apiserver.key')}",
        f"--client-ca-file={pki.path('ca.crt')}",
        "--authorization-mode=Node,RBAC",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki.path('service-account.key')}",
        f"--service-account-signing-key-file={pki.path('service-account.key')}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        # Without the controller manager nobody makes default service accounts: pods need none here.
        "--disable-admission-plugins=ServiceAccount",
    ]


def controller_flags(pki: Pki, kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--secure-port={free_port()}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={pki.directory}",
        "--leader-elect=false",
        "--use-service-account-credentials=false",
        f"--service-account-private-key-file={pki.path('service-account.key')}",
        f"--root-ca-file={pki.path('ca.crt')}",
        f"--cluster-signing-cert-file={pki.path('ca.crt')}",
        f"--cluster-signing-key-file={pki.path('ca.key')}",
        f"--cluster-cidr={POD_NETWORK}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        "--allocate-node-cidrs=true",
    ]
