"""What km promises operators, between a real Mesos and a real Kubernetes control plane.

Certificates only for nodes that km launched; disruption budgets hold a drain; an operator's cordon
stays; the API server may go away; a pod does not outgrow its task.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from km.cluster.certificates import SIGNER
from km.objects import CORDONED_BY_KM
from tests.control_plane import program
from tests.km.cluster.test_certificates import pem
from tests.km.km_process import NODE_ADDRESS, Km, Stage
from tests.km.test_scheduler_on_real_mesos import framework_id, one_agent, tasks
from tests.mesos_cluster import ask, wait_until

LIVING = ("TASK_STARTING", "TASK_RUNNING")


# Certificates -------------------------------------------------------------------------------------


def request_certificate(stage: Stage, name: str, node: str, content: bytes, **spec: Any) -> None:
    """Ask for a certificate as a node's kubelet does, with the node's own credentials."""
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "signerName": SIGNER,
            "usages": ["digital signature", "server auth"],
            "request": base64.b64encode(content).decode(),
            **spec,
        },
    }
    kubeconfig = stage.kube.kubeconfig_of(f"system:node:{node}", ("system:nodes",))
    subprocess.run(
        ["kubectl", f"--kubeconfig={kubeconfig}", "create", "-f", "-"],
        executable=program("kubernetes"),
        input=json.dumps(body).encode(),
        check=True,
    )


def verdict(stage: Stage, name: str) -> tuple[str, str, str] | None:
    """Type, reason and message of the judgement on a request; None while there is none."""
    found = stage.kube.object("csr", name)
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return next(((c["type"], c["reason"], c["message"]) for c in conditions), None)


def test_serving_certificates_are_only_for_nodes_that_km_launched(stage: Stage) -> None:
    stage.kube.kubectl("delete", "csr", "--all")
    km = one_agent(stage)
    mine = pem("system:node:agent-1", names=pem_names("agent-1", NODE_ADDRESS))
    request_certificate(stage, "mine", "agent-1", mine)
    api = pem("system:node:agent-1", names=pem_names("agent-1", "10.10.10.1"))
    request_certificate(stage, "other-address", "agent-1", api)
    request_certificate(stage, "other-name", "agent-1", pem(names=pem_names("agent-2")))
    stranger = pem("system:node:stranger", names=pem_names("stranger"))
    request_certificate(stage, "stranger", "stranger", stranger)
    request_certificate(stage, "not-its-own", "stranger", mine)
    client = "kubernetes.io/kube-apiserver-client-kubelet"
    usages = ["digital signature", "client auth"]
    request_certificate(stage, "client", "agent-1", pem(names=()), signerName=client, usages=usages)
    names = ("mine", "other-name", "stranger", "not-its-own", "other-address")
    km.wait(lambda: all(verdict(stage, name) for name in names))

    assert verdict(stage, "mine") == ("Approved", "KmApproved", "km runs agent-1")
    words = {name: verdict(stage, name) for name in names[1:]}
    assert {found[:2] for found in words.values() if found} == {("Denied", "KmDenied")}
    assert "host names agent-2 are not agent-1" in str(words["other-name"])
    assert "system:node:stranger is no node that km runs" in str(words["stranger"])
    assert "addresses 10.10.10.1 are not those of node agent-1" in str(words["other-address"])
    assert "comes from 'system:node:stranger'" in str(words["not-its-own"])
    assert verdict(stage, "client") is None, "other signers' requests are none of km's business"


def pem_names(host: str, *addresses: str) -> tuple[Any, ...]:
    from cryptography import x509  # noqa: PLC0415

    ips = (x509.IPAddress(ipaddress.ip_address(address)) for address in addresses)
    return (x509.DNSName(host), *ips)


# Drains -------------------------------------------------------------------------------------------


def guarded_pod(stage: Stage, km: Km, name: str) -> None:
    """A running pod whose disruption budget allows no eviction, as its controller would say."""
    stage.pod(name)
    km.wait(lambda: name in stage.bound())
    stage.kube.kubectl("label", "pod", name, "app=guarded")
    ready = [{"type": "Ready", "status": "True"}]
    stage.kube.set_status("pod", name, {"phase": "Running", "conditions": ready})
    stage.apply(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "guarded"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}},
        }
    )
    allow(stage, 0)


def allow(stage: Stage, disruptions: int) -> None:
    found = stage.kube.object("pdb", "guarded")
    assert found is not None
    status = {
        "observedGeneration": found["metadata"]["generation"],
        "currentHealthy": 1 + disruptions,
        "desiredHealthy": 1,
        "expectedPods": 1 + disruptions,
        "disruptionsAllowed": disruptions,
    }
    stage.kube.set_status("pdb", "guarded", status)


def want_back(km: Km, *hosts: str) -> None:
    """Plan maintenance of agents, beginning now; of none: call it off."""
    machines = [{"hostname": host, "ip": "127.0.0.1"} for host in hosts]
    now = {"start": {"nanoseconds": time.time_ns()}}
    windows = [{"machine_ids": machines, "unavailability": now}] if hosts else []
    schedule = {"schedule": {"windows": windows}}
    ask(km.master, "UPDATE_MAINTENANCE_SCHEDULE", update_maintenance_schedule=schedule)


def refused_evictions(km: Km) -> float:
    found = re.search(r'km_action_failures_total\{action="EvictPod"\} (\S+)', km.get("/metrics")[1])
    return float(found[1]) if found else 0


def test_a_disruption_budget_holds_maintenance_until_it_allows_it(stage: Stage) -> None:
    km = one_agent(stage)
    guarded_pod(stage, km, "guarded")
    try:
        want_back(km, "agent-1")
        km.wait(lambda: refused_evictions(km) >= 2)

        (node,) = km.status()["nodes"]
        assert node["state"] == "draining"
        assert "maintenance" in node["why"]
        made = stage.kube.object("node", "agent-1")
        assert made is not None
        assert made["spec"]["unschedulable"]
        assert CORDONED_BY_KM in made["metadata"]["annotations"]
        guarded = stage.kube.object("pod", "guarded")
        assert guarded is not None
        assert "deletionTimestamp" not in guarded["metadata"]
        assert set(tasks(stage).values()) == {"TASK_RUNNING"}, "nothing was ended in Mesos"

        allow(stage, 1)
        km.wait(lambda: stage.kube.object("pod", "guarded") is None)
        km.wait(lambda: stage.kube.object("node", "agent-1") is None)
        km.wait(lambda: not tasks(stage) and not stage.mesos.executors())
        time.sleep(2)
        assert not tasks(stage), "no node is started on an agent that is wanted back"
        want_back(km)
        km.wait(lambda: any(task.startswith("node.agent-1.") for task in tasks(stage)), 60)
    finally:
        stage.kube.kubectl("delete", "pdb", "guarded")


def unschedulable(stage: Stage, name: str = "agent-1") -> bool:
    found = stage.kube.object("node", name)
    assert found is not None
    return bool(found["spec"].get("unschedulable"))


def test_an_operators_cordon_is_never_undone(stage: Stage) -> None:
    first = one_agent(stage)
    stage.kube.kubectl("cordon", "agent-1")
    stage.pod("waits")
    first.wait(lambda: first.status().get("pending"))
    first.stop(signal.SIGKILL)
    second = stage.km(first.master)
    second.wait_ready()
    second.wait(lambda: second.status().get("pending"))
    time.sleep(3)

    assert unschedulable(stage)
    assert "waits" not in stage.bound()
    stage.kube.kubectl("uncordon", "agent-1")
    second.wait(lambda: "waits" in stage.bound())


def test_a_cordon_of_kms_own_is_undone_when_its_reason_is_gone(stage: Stage) -> None:
    km = one_agent(stage)
    patch = {
        "metadata": {"annotations": {CORDONED_BY_KM: "a drain that was cut short"}},
        "spec": {"unschedulable": True},
    }
    stage.kube.kubectl("patch", "node", "agent-1", "-p", json.dumps(patch))
    km.wait(lambda: not unschedulable(stage))

    node = stage.kube.object("node", "agent-1")
    assert node is not None
    assert CORDONED_BY_KM not in node["metadata"]["annotations"]


# An API server that is away -----------------------------------------------------------------------


def untouched(stage: Stage, running: dict[str, str], seconds: float) -> None:
    """Watch Mesos: no task may end or fail."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        now = tasks(stage)
        assert running.keys() <= now.keys()
        assert all(state in LIVING for state in now.values()), now
        time.sleep(0.5)


@pytest.fixture(params=["gone", "hanging"])
def away(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Callable[[bool], None]]:
    """Take the API server away (True) and bring it back (False): ended, or merely stopped."""
    state = {"away": False}

    def switch(wanted: bool) -> None:
        state["away"], server = wanted, stage.kube.apiserver
        if request.param == "gone":
            server.stop(signal.SIGKILL) if wanted else server.start()
        else:
            server.send(signal.SIGSTOP if wanted else signal.SIGCONT)
        if not wanted:
            stage.kube.wait_until_healthy()

    yield switch
    if state["away"]:
        switch(False)


@pytest.mark.parametrize("away", ["hanging"], indirect=True)
def test_an_api_server_that_is_away_for_moments_is_hardly_noticed(
    stage: Stage, away: Callable[[bool], None]
) -> None:
    km = one_agent(stage)
    stage.pod("before")
    km.wait(lambda: "before" in stage.bound())
    running, kept = tasks(stage), framework_id(stage)
    away(True)
    untouched(stage, running, 4)
    away(False)
    stage.pod("after")
    km.wait(lambda: "after" in stage.bound())  # fails if km has ended

    assert framework_id(stage) == kept
    assert running.items() <= tasks(stage).items()


def test_an_api_server_that_is_away_for_long_costs_no_pod(
    stage: Stage, away: Callable[[bool], None]
) -> None:
    """The lead is lost after 10 s, which ends km; its unit starts it anew until it can lead."""
    km = one_agent(stage)
    stage.pod("before")
    km.wait(lambda: "before" in stage.bound())
    before = stage.kube.object("pod", "before")
    running, kept = tasks(stage), framework_id(stage)
    away(True)
    untouched(stage, running, 10)
    assert km.process is not None
    assert km.process.wait(10) == 1, km.tail()
    assert "lost the lease" in km.tail()
    km.start()  # as systemd does
    km.wait(lambda: km.get("/healthz")[0] == 200)
    untouched(stage, running, 8)
    assert km.get("/readyz")[0] == 503

    away(False)
    km.wait_ready(25)  # what is left of the lease, and one try more
    stage.pod("after")
    km.wait(lambda: "after" in stage.bound())
    assert framework_id(stage) == kept
    assert running.items() <= tasks(stage).items()
    after = stage.kube.object("pod", "before")
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


# Resizing -----------------------------------------------------------------------------------------


def requests_of(stage: Stage, name: str) -> dict[str, str]:
    found = stage.kube.object("pod", name)
    assert found is not None
    requests: dict[str, str] = found["spec"]["containers"][0]["resources"]["requests"]
    return requests


def resize(stage: Stage, name: str, **requests: str) -> None:
    containers = [{"name": "main", "resources": {"requests": requests}}]
    patch = json.dumps({"spec": {"containers": containers}})
    stage.kube.kubectl("patch", "pod", name, "--subresource=resize", "-p", patch)


def events_about(stage: Stage, name: str) -> dict[str, str]:
    """Reasons and messages of the events on an object."""
    text = stage.kube.kubectl("get", "events", "-o", "json")
    listed = [e for e in json.loads(text)["items"] if e["involvedObject"]["name"] == name]
    return {event["reason"]: event["message"] for event in listed}


def test_a_pod_that_grows_beyond_its_task_is_put_back_and_told_why(stage: Stage) -> None:
    km = one_agent(stage)
    stage.pod("resized", cpu="200m", memory="64Mi")
    km.wait(lambda: "resized" in stage.bound())
    stage.kube.set_status("pod", "resized", {"phase": "Running"})

    resize(stage, "resized", cpu="100m")
    time.sleep(2)
    assert requests_of(stage, "resized")["cpu"] == "100m", "less than the task has is allowed"
    resize(stage, "resized", cpu="150m")
    time.sleep(2)
    assert requests_of(stage, "resized")["cpu"] == "150m", "so is what the task still covers"
    resize(stage, "resized", cpu="1500m")
    km.wait(lambda: requests_of(stage, "resized")["cpu"] == "150m")

    assert requests_of(stage, "resized")["memory"] == "64Mi"
    wait_until(lambda: "ResizeRefused" in events_about(stage, "resized"), 10, "the event")
    said = events_about(stage, "resized")["ResizeRefused"]
    assert "its Mesos task has 0.2 of 1.5 cpus" in said
    assert set(tasks(stage).values()) == {"TASK_RUNNING"}
