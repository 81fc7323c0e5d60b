"""What a pod asks for besides cpus and memory, and where it is taken from: on a real Mesos."""

from __future__ import annotations

from typing import Any

from tests.km.km_process import Stage
from tests.km.shared_mesos import tasks_of

RESERVED = (
    "cpus(kubernetes):2;mem(kubernetes):2048;disk(kubernetes):4096;ports(kubernetes):[80-80];"
    "cpus:2;mem:2048;disk:4096;ports:[31000-32000]"
)


def ask_for(stage: Stage, name: str, *ports: int, cpu: str = "500m") -> None:
    """A pod with these host ports and half a GiB of ephemeral storage."""
    requests = {"cpu": cpu, "memory": "64Mi", "ephemeral-storage": "512Mi"}
    container = {
        "name": "main",
        "image": "test",
        "resources": {"requests": requests},
        "ports": [{"containerPort": port, "hostPort": port} for port in ports],
    }
    stage.pod(name, containers=[container])


def given(master: str, kind: str) -> dict[str, Any]:
    """What the only pod's task has of a kind: role of the reservation ("" without) to amount."""
    (task,) = tasks_of(master, "pod.")
    return {
        "".join(made["role"] for made in one.get("reservations", [])): (
            one["ranges"]["range"] if kind == "ports" else one["scalar"]["value"]
        )
        for one in task["resources"]
        if one["name"] == kind
    }


def test_host_ports_and_storage_come_from_a_reservation_and_are_the_tasks(stage: Stage) -> None:
    master = stage.mesos.start_master()
    stage.mesos.start_agent(master=master, resources=RESERVED)
    stage.mesos.wait_for_agents(1)
    km = stage.km(master, framework_roles="kubernetes,*")
    km.wait_ready()
    km.wait(lambda: tasks_of(master, "node.agent-1."))
    stage.nodes_of_mesos("agent-1")
    ask_for(stage, "ingress", 80)
    km.wait(lambda: "ingress" in stage.bound())

    assert given(master, "ports") == {"kubernetes": [{"begin": 80, "end": 80}]}
    assert given(master, "disk") == {"kubernetes": 512}
    assert given(master, "cpus") == {"kubernetes": 0.5}
    assert given(master, "mem") == {"kubernetes": 64}

    ask_for(stage, "tls", 443)
    km.wait(lambda: [p for p in km.status()["pending"] if "443" in p["reason"]])
    assert "tls" not in stage.bound(), "no agent offers port 443"


def test_what_a_reservation_lacks_is_taken_from_what_is_everybodys(stage: Stage) -> None:
    master = stage.mesos.start_master()
    stage.mesos.start_agent(master=master, resources=RESERVED)
    stage.mesos.wait_for_agents(1)
    km = stage.km(master, framework_roles="kubernetes,*")
    km.wait_ready()
    km.wait(lambda: tasks_of(master, "node.agent-1."))
    stage.nodes_of_mesos("agent-1")
    ask_for(stage, "large", 80, 31000, cpu="3")
    km.wait(lambda: "large" in stage.bound())

    assert sum(given(master, "cpus").values()) == 3
    assert given(master, "cpus").keys() == {"kubernetes", ""}
    assert given(master, "ports") == {
        "kubernetes": [{"begin": 80, "end": 80}],
        "": [{"begin": 31000, "end": 31000}],
    }
