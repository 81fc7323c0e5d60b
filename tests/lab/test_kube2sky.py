"""kube2sky against a real etcd, and what a real CoreDNS answers from what it wrote.

The API server is a stand-in: it lists, watches, forgets versions and breaks off when told to.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lab.paths import cache

ROOT = Path(__file__).parents[2]
A, PTR, SRV = 1, 12, 33


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: Callable[[], Any], seconds: float = 10) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def installed(program: str) -> Path:
    found = sorted((cache() / "programs" / program).glob(f"*/{program}"))
    if not found:
        pytest.skip(f"{program} is not installed: make setup")
    return found[-1]


@dataclass
class FakeAPIServer:
    """Lists and watches objects that a test puts there."""

    objects: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"services": {}, "endpointslices": {}}
    )
    version: int = 1
    lists: int = 0
    gone: bool = False
    watchers: dict[str, list[queue.Queue[dict[str, Any] | None]]] = field(
        default_factory=lambda: {"services": [], "endpointslices": []}
    )
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, kind: str, item: dict[str, Any]) -> None:
        with self.lock:
            self.version += 1
            name = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
            event = "MODIFIED" if name in self.objects[kind] else "ADDED"
            self.objects[kind][name] = item
            self._send(kind, event, item)

    def delete(self, kind: str, name: str) -> None:
        with self.lock:
            self.version += 1
            item = self.objects[kind].pop(name)
            self._send(kind, "DELETED", item)

    def break_watches(self) -> None:
        with self.lock:
            for watchers in self.watchers.values():
                for watcher in watchers:
                    watcher.put(None)
                watchers.clear()

    def _send(self, kind: str, event: str, item: dict[str, Any]) -> None:
        item["metadata"]["resourceVersion"] = str(self.version)
        for watcher in self.watchers[kind]:
            watcher.put({"type": event, "object": item})

    def handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                kind = url.path.rpartition("/")[2]
                if "watch" in parse_qs(url.query):
                    self.watch(kind)
                else:
                    self.list(kind)

            def list(self, kind: str) -> None:
                with fake.lock:
                    fake.lists += 1
                    fake.gone = False
                    metadata = {"resourceVersion": str(fake.version)}
                    items = list(fake.objects[kind].values())
                    body = json.dumps({"metadata": metadata, "items": items}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def watch(self, kind: str) -> None:
                if fake.gone:
                    self.send_error(410)
                    return
                events: queue.Queue[dict[str, Any] | None] = queue.Queue()
                with fake.lock:
                    fake.watchers[kind].append(events)
                self.send_response(200)
                self.send_header("Connection", "close")
                self.end_headers()
                while (event := events.get()) is not None:
                    self.wfile.write(json.dumps(event).encode() + b"\n")
                    self.wfile.flush()
                self.close_connection = True

        return Handler


@dataclass
class Etcd:
    port: int
    data: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        peer = f"http://127.0.0.1:{free_port()}"
        command = [
            str(installed("etcd")),
            f"--data-dir={self.data}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        ]
        self.process = subprocess.Popen(command)
        assert until(self.answers)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return bool(json.load(answer)["health"] == "true")
        except (urllib.error.URLError, OSError):
            return False

    def call(self, verb: str, question: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/v3/kv/{verb}", json.dumps(question).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return dict(json.load(answer))

    def put(self, key: str, value: str) -> None:
        self.call("put", {"key": encoded(key), "value": encoded(value)})

    def hosts(self, prefix: str = "/skydns/") -> dict[str, str]:
        """The host of every record, by key."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self.call("range", {"key": encoded(prefix), "range_end": encoded(end)})
        return {
            base64.b64decode(pair["key"]).decode(): json.loads(base64.b64decode(pair["value"]))[
                "host"
            ]
            for pair in found.get("kvs", [])
        }


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@dataclass
class Stage:
    api: FakeAPIServer
    etcd: Etcd
    start: Callable[..., subprocess.Popen[bytes]]
    health: int

    def has(self, *names: str) -> bool:
        """Whether etcd holds records of exactly these services (as namespace/name)."""
        return bool(until(lambda: self.services() == set(names)))

    def services(self) -> set[str]:
        found = self.etcd.hosts("/skydns/local/cluster/svc/")
        return {"/".join(key.split("/")[5:7]) for key in found}

    def ask(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.health}{path}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)


def service(name: str, address: str, namespace: str = "default") -> dict[str, Any]:
    ports = [{"name": "https", "protocol": "TCP", "port": 443}]
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": address, "clusterIPs": [address], "ports": ports},
    }


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None:
        return installed("kube2sky")
    built = tmp_path_factory.mktemp("kube2sky") / "kube2sky"
    subprocess.run(
        ["go", "build", "-trimpath", "-o", built, "."],
        cwd=ROOT / "tools/kube2sky",
        check=True,
        env={**os.environ, "CGO_ENABLED": "0"},
    )
    return built


@pytest.mark.skipif(shutil.which("go") is None, reason="go is not on PATH")
@pytest.mark.parametrize("command", ["go vet ./...", "go test ./...", "gofmt -l ."])
def test_its_own_tests_and_checks_pass(command: str) -> None:
    done = subprocess.run(
        command.split(),
        cwd=ROOT / "tools/kube2sky",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if command.startswith("gofmt"):
        assert done.stdout == ""


@pytest.fixture
def stage(program: Path, tmp_path: Path) -> Iterator[Stage]:
    etcd = Etcd(port=free_port(), data=tmp_path / "etcd")
    etcd.start()
    api = FakeAPIServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), api.handler())
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    health = free_port()
    running: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        log = (tmp_path / f"kube2sky-{len(running)}.log").open("wb")
        with log:
            running.append(
                subprocess.Popen(
                    [
                        program,
                        "--domain=cluster.local",
                        f"--kube_master_url=http://127.0.0.1:{server.server_port}",
                        f"--etcd-server={etcd.url}",
                        f"--healthz-port={health}",
                        "--repair-interval=300ms",
                    ],
                    stderr=log,
                )
            )
        return running[-1]

    yield Stage(api=api, etcd=etcd, start=start, health=health)
    for process in running:
        process.kill()
        process.wait()
    api.break_watches()
    server.shutdown()
    server.server_close()
    etcd.stop()


def test_services_come_change_and_go(stage: Stage) -> None:
    stage.api.put("services", service("kubernetes", "10.10.10.1"))
    stage.start()
    assert stage.has("default/kubernetes")
    stage.api.put("services", service("web", "10.10.10.7", "shop"))
    assert stage.has("default/kubernetes", "shop/web")
    stage.api.put("services", service("web", "10.10.10.8", "shop"))
    assert until(lambda: "10.10.10.8" in stage.etcd.hosts().values())
    assert until(lambda: "10.10.10.7" not in stage.etcd.hosts().values())
    stage.api.delete("services", "shop/web")
    assert stage.has("default/kubernetes")


def test_what_went_while_it_did_not_run_is_deleted_and_what_is_not_ours_stays(
    stage: Stage,
) -> None:
    stage.api.put("services", service("kubernetes", "10.10.10.1"))
    stage.etcd.put("/skydns/local/cluster/svc/default/old/x", '{"host": "10.10.10.66"}')
    stage.etcd.put("/skydns/arpa/in-addr/10/10/10/66", '{"host": "old"}')
    stage.etcd.put("/skydns/org/example/mail", '{"host": "192.0.2.1"}')
    stage.start()
    assert stage.has("default/kubernetes")
    hosts = stage.etcd.hosts()
    assert "/skydns/arpa/in-addr/10/10/10/66" not in hosts
    assert hosts["/skydns/org/example/mail"] == "192.0.2.1"


def test_everything_is_listed_again_when_the_version_is_too_old(stage: Stage) -> None:
    stage.api.put("services", service("kubernetes", "10.10.10.1"))
    stage.api.put("services", service("old", "10.10.10.5"))
    stage.start()
    assert stage.has("default/kubernetes", "default/old")
    lists = stage.api.lists
    with stage.api.lock:
        # Changes that no watch is told about, as after a long break of the connection.
        del stage.api.objects["services"]["default/old"]
        stage.api.objects["services"]["default/new"] = service("new", "10.10.10.6")
        stage.api.gone = True
    stage.api.break_watches()
    assert stage.has("default/kubernetes", "default/new")
    assert stage.api.lists > lists


def test_records_come_back_when_etcd_lost_them(stage: Stage, tmp_path: Path) -> None:
    stage.api.put("services", service("kubernetes", "10.10.10.1"))
    stage.start()
    assert stage.has("default/kubernetes")
    assert until(lambda: stage.ask("/readiness")[0] == 200)
    stage.etcd.stop()
    assert until(lambda: stage.ask("/readiness")[0] == 503)
    assert stage.ask("/healthz")[0] == 200
    stage.etcd.data = tmp_path / "empty"
    stage.etcd.start()
    assert stage.has("default/kubernetes")
    assert until(lambda: stage.ask("/readiness")[0] == 200)


def test_it_ends_at_once_when_it_is_told_to(stage: Stage) -> None:
    stage.api.put("services", service("kubernetes", "10.10.10.1"))
    process = stage.start()
    assert stage.has("default/kubernetes")
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0
    assert time.monotonic() - started < 1


def test_coredns_answers_from_the_records(stage: Stage, tmp_path: Path) -> None:
    stage.api.put("services", service("kubernetes", "10.10.10.1"))
    stage.api.put("services", service("db", "None", "prod"))
    slice_ = {
        "metadata": {
            "name": "db-1",
            "namespace": "prod",
            "labels": {"kubernetes.io/service-name": "db"},
        },
        "endpoints": [
            {"addresses": ["10.244.1.2"], "hostname": "db-0", "conditions": {"ready": True}},
            {"addresses": ["10.244.2.3"], "conditions": {"ready": True}},
        ],
        "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}],
    }
    stage.api.put("endpointslices", slice_)
    stage.start()
    assert stage.has("default/kubernetes", "prod/db")
    port = free_port()
    corefile = tmp_path / "Corefile"
    corefile.write_text(
        f"cluster.local in-addr.arpa {{\n"
        f" etcd {{\n  path /skydns\n  endpoint {stage.etcd.url}\n }}\n errors\n}}\n"
    )
    coredns = subprocess.Popen(
        [installed("coredns"), "-conf", corefile, "-dns.port", str(port)],
        stdout=subprocess.DEVNULL,
    )
    try:
        kubernetes = "kubernetes.default.svc.cluster.local"
        assert until(lambda: resolve(port, kubernetes, A)) == ["10.10.10.1"]
        assert resolve(port, f"_https._tcp.{kubernetes}", SRV) == [443]
        assert resolve(port, "1.10.10.10.in-addr.arpa", PTR) == [kubernetes]
        assert sorted(resolve(port, "db.prod.svc.cluster.local", A)) == ["10.244.1.2", "10.244.2.3"]
        assert resolve(port, "db-0.db.prod.svc.cluster.local", A) == ["10.244.1.2"]
        assert resolve(port, "_sql._tcp.db.prod.svc.cluster.local", SRV) == [5432, 5432]
        assert resolve(port, "2.1.244.10.in-addr.arpa", PTR) == ["db-0.db.prod.svc.cluster.local"]
        assert resolve(port, "nobody.default.svc.cluster.local", A) == []
    finally:
        coredns.kill()
        coredns.wait()


def resolve(port: int, name: str, kind: int) -> list[Any]:
    """Addresses, names or SRV ports in the answer to one question."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = (
        struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", kind, 1)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", port))
        try:
            client.send(question)
            message = client.recv(4096)
        except OSError:
            return []
    found: list[Any] = []
    at = len(question)
    for _ in range(struct.unpack(">H", message[6:8])[0]):
        _, at = domain(message, at)
        answered, _, _, length = struct.unpack(">2HIH", message[at : at + 10])
        at += 10
        if answered == A == kind:
            found.append(socket.inet_ntoa(message[at : at + 4]))
        elif answered == SRV == kind:
            found.append(struct.unpack(">H", message[at + 4 : at + 6])[0])
        elif answered == PTR == kind:
            found.append(domain(message, at)[0])
        at += length
    return found


def domain(message: bytes, at: int) -> tuple[str, int]:
    """A name in a DNS message, and where what follows it begins."""
    labels = []
    while (length := message[at]) != 0:
        if length >= 0xC0:
            target = struct.unpack(">H", message[at : at + 2])[0] & 0x3FFF
            return ".".join([*labels, domain(message, target)[0]]).rstrip("."), at + 2
        labels.append(message[at + 1 : at + 1 + length].decode())
        at += length + 1
    return ".".join(labels), at + 1
