"""From pods created to Running: with km, and on the same nodes with plain kube-scheduler.

A second kube-scheduler without km runs for the time of the measurement under the name ``plain``.
Its pods wait for no Mesos task: km launches those when it sees them bound. Both kinds alternate, so
that the machine's noise meets both.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.stack import ROOT

PODS = 15
MANY = 100
ROUNDS = 3
NODES = 2
WITHIN_S = 300
IMAGE = "docker.io/library/busybox:1.35"
PODS_PATH = "/api/v1/namespaces/default/pods"


def measure(stack: str) -> Iterator[tuple[str, str]]:
    """Milliseconds, medians; and the difference of the medians."""
    path = Path(
        subprocess.run(
            ["make", "-s", "kubeconfig", f"STACK={stack}"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
    )
    with api_of(path) as api, plain_scheduler(path):
        yield from one_at_a_time(api)
        yield from many_at_once(api)


def one_at_a_time(api: httpx.Client) -> Iterator[tuple[str, str]]:
    times: dict[str, list[float]] = {"default-scheduler": [], "plain": []}
    start(api, "default-scheduler", 0)  # the node is there, and everything is warm
    start(api, "plain", 0)
    for number in range(1, PODS + 1):
        for scheduler, taken in times.items():
            taken.append(start(api, scheduler, number))
    ours, plain = (statistics.median(taken) * 1000 for taken in times.values())
    yield "pod created to Running with km, ms", f"{ours:.0f}"
    yield "pod created to Running with plain kube-scheduler, ms", f"{plain:.0f}"
    yield "difference, ms", f"{ours - plain:.0f}"


def many_at_once(api: httpx.Client) -> Iterator[tuple[str, str]]:
    """Seconds, medians; and their ratio."""
    with anchors(api):
        times: dict[str, list[float]] = {"default-scheduler": [], "plain": []}
        for _ in range(ROUNDS):
            for scheduler, taken in times.items():
                taken.append(start_many(api, scheduler))
    ours, plain = (statistics.median(taken) for taken in times.values())
    yield f"{MANY} pods on {NODES} nodes all Running with km, s", f"{ours:.1f}"
    yield f"{MANY} pods on {NODES} nodes all Running with plain kube-scheduler, s", f"{plain:.1f}"
    yield "ratio of the medians", f"{ours / plain:.2f}"
    for scheduler, taken in times.items():
        yield f"all times with {scheduler}, s", " ".join(f"{one:.1f}" for one in taken)


@contextmanager
def api_of(path: Path) -> Iterator[httpx.Client]:
    config = yaml.safe_load(path.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=decoded(cluster["certificate-authority-data"]))
    with tempfile.NamedTemporaryFile("w") as pair:
        pair.write(decoded(user["client-certificate-data"]) + decoded(user["client-key-data"]))
        pair.flush()
        context.load_cert_chain(pair.name)
    with httpx.Client(base_url=cluster["server"], verify=context, timeout=60) as client:
        yield client


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


@contextmanager
def plain_scheduler(kubeconfig: Path) -> Iterator[None]:
    # The one that the stack runs lies beside its kubectl, whatever else is in the cache.
    program = Path(os.environ["KUBERNETES_MESOS_KUBECTL"]).with_name("kube-scheduler")
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig), "qps": 500, "burst": 1000},  # as km's
        "leaderElection": {"leaderElect": False},
        "profiles": [{"schedulerName": "plain"}],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        process = subprocess.Popen(
            [program, f"--config={file.name}", "--secure-port=0"], stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def manifest(name: str, scheduler: str, kind: str = "one", **more: Any) -> dict[str, Any]:
    spec = {
        "schedulerName": scheduler,
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "c",
                "image": IMAGE,
                "command": ["sleep", "3600"],
                "resources": {"requests": {"cpu": "20m", "memory": "16Mi"}},
            }
        ],
        **more,
    }
    metadata = {"name": name, "labels": {"bench": kind}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@contextmanager
def anchors(api: httpx.Client) -> Iterator[None]:
    """One pod of km's on every node: it keeps the node, and gives plain's pods memory.

    It has no memory limit, so its task has none either: the node may use all that its agent has.
    """
    away = {"labelSelector": {"matchLabels": {"bench": "anchor"}}}
    term = {**away, "topologyKey": "kubernetes.io/hostname"}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    for number in range(NODES):
        pod = manifest(f"bench-anchor-{number}", "default-scheduler", "anchor", affinity=apart)
        api.post(PODS_PATH, json=pod).raise_for_status()
    try:
        wait_for_phase(api, "anchor", NODES)
        yield
    finally:
        remove(api, "anchor")


def start_many(api: httpx.Client, scheduler: str) -> float:
    """Make pods all at once and delete them; seconds from the first request to the last Running."""
    started = time.monotonic()
    for number in range(MANY):
        pod = manifest(f"bench-many-{number}", scheduler, "many")
        api.post(PODS_PATH, json=pod).raise_for_status()
    wait_for_phase(api, "many", MANY)
    taken = time.monotonic() - started
    remove(api, "many")
    return taken


def wait_for_phase(api: httpx.Client, kind: str, count: int) -> None:
    """Until so many pods of a kind run."""
    query = {"labelSelector": f"bench={kind}", "watch": "1", "timeoutSeconds": str(WITHIN_S)}
    running = set()
    with api.stream("GET", PODS_PATH, params=query, timeout=WITHIN_S) as events:
        for line in events.iter_lines():
            pod = json.loads(line)["object"]
            if pod["status"].get("phase") == "Running":
                running.add(pod["metadata"]["name"])
            if len(running) == count:
                return
    raise SystemExit(f"bench: {len(running)} of {count} pods ran within {WITHIN_S} s")


def remove(api: httpx.Client, kind: str) -> None:
    """Delete all pods of a kind, and let the nodes come to rest."""
    query = {"labelSelector": f"bench={kind}"}
    api.delete(PODS_PATH, params=query).raise_for_status()
    while api.get(PODS_PATH, params=query).json()["items"]:
        time.sleep(0.5)
    time.sleep(5)


def start(api: httpx.Client, scheduler: str, number: int) -> float:
    """Make a pod, wait until it runs, delete it; seconds from the request to Running."""
    name = f"bench-{scheduler.partition('-')[0]}-{number}"
    pod = manifest(name, scheduler)
    started = time.monotonic()
    version = api.post(PODS_PATH, json=pod).raise_for_status().json()["metadata"]["resourceVersion"]
    query = {
        "watch": "1",
        "fieldSelector": f"metadata.name={name}",
        "resourceVersion": version,
        "timeoutSeconds": "60",
    }
    taken = None
    with api.stream("GET", PODS_PATH, params=query) as events:
        for line in events.iter_lines():
            if json.loads(line)["object"]["status"].get("phase") == "Running":
                taken = time.monotonic() - started
                break
    api.delete(f"{PODS_PATH}/{name}")
    if taken is None:
        raise SystemExit(f"bench: pod {name} did not run within 60 s")
    return taken
