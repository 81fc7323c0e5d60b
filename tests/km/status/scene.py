"""A cluster as operators know it, in a real core: what the page is shown with in tests."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

from km import events as on
from km import lifecycle
from km.loop import ABOUT, loudness, subject
from km.offers import AgentRecord, MesosState
from km.pods import Pod, Shape
from km.resources import Resources
from km.rules import EVERY_AGENT, Rules
from km.status.view import page_of
from tests.km.core.stage import Stage, offer

SPARK = {"spark": Resources.of(cpus=2.5, mem=6144)}
BOTH = {**SPARK, "chronos": Resources.of(cpus=1, mem=512)}
HOSTS = {"agent-1": {}, "agent-2": SPARK, "agent-3": BOTH, "agent-4": {}}
SIZE = Resources.of(cpus=8, mem=16384)
RULES = Rules(nodes=EVERY_AGENT)


def named(name: str, cpus: float, mem: float) -> Pod:
    shape = Shape(need=Resources.of(cpus=cpus, mem=mem))
    namespace, _, short = name.partition("/")
    return Pod(
        uid=name, namespace=namespace, name=short, shape=shape, created=time.time() - 95
    )  # fmt: skip


class Scene:
    """Four agents, three nodes, two other frameworks, pods that run and pods that wait."""

    def __init__(self) -> None:
        self.stage = Stage(RULES, agents=())
        self.list_mesos(first=True)
        for host in ("agent-1", "agent-2", "agent-3"):
            self.offer(host)
            self.stage.wait(1)
            (run,) = (r for r in self.stage.core.world.runs.values() if r.name == host)
            self.stage.task(run.task_id, host=host)
            self.stage.ready(host)
        for number in range(6):
            self.run(f"default/guestbook-{number}", "agent-1", 0.5, 512)
        self.run("kube-system/kube-dns-v11-x7k2p", "agent-2", 0.31, 600)
        self.run("default/redis-master-hq8ld", "agent-3", 1, 2048)
        self.list_mesos()
        self.ask("default/analytics-0", 6, 4096)

    def list_mesos(self, *, first: bool = False) -> None:
        """What GET_STATE says of agents and of what other frameworks hold there."""
        records = tuple(
            AgentRecord(id=f"S-{host}", hostname=host, total=SIZE, others=others)
            for host, others in HOSTS.items()
        )
        if first:
            self.stage.sync(agents=records)
            return
        state = MesosState(agents=records, tasks=(), executors=())
        self.stage.tell(on.MesosListed(state=state, asked_at=self.stage.now))

    def offer(self, host: str, offer_id: str = "") -> None:
        agent = self.stage.core.world.ledger.on_host(host)
        assert agent is not None
        free = agent.total - agent.used
        for amount in HOSTS[host].values():
            free = free - amount
        name = offer_id or f"first-{host}"
        self.stage.offers(offer(name, host, free.cpus / 1000, free.mem / 1000))

    def run(self, name: str, host: str, cpus: float, mem: float) -> None:
        pod = named(name, cpus, mem)
        self.stage.bind(pod, host)
        self.offer(host, f"for-{name}")
        self.stage.wait(0.1)
        (task,) = self.stage.core.world.ledger.tasks_of(pod.uid)
        self.stage.task(task.id, host=host)
        self.stage.tell(on.PodBound(uid=pod.uid))
        self.stage.tell(on.PodSeen(pod=replace(pod, node=host, phase="Running")))

    def ask(self, name: str, cpus: float, mem: float) -> None:
        """A pod that fits on no node: kube-scheduler asks, and remembers the answer."""
        pod = named(name, cpus, mem)
        self.stage.tell(on.PodSeen(pod=pod))
        nodes = tuple(self.stage.core.world.runs)
        self.stage.tell(on.FilterRequested(request_id=1, pod=pod, nodes=nodes))

    def drain(self, host: str) -> None:
        world = self.stage.core.world
        lifecycle.drain(world, world.runs[host], "maintenance", "Mesos drains the agent")

    def page(self) -> dict[str, Any]:
        """What /status.json says, of the core as it is now."""
        recent = [
            {
                "time": time.time(),
                "what": type(action).__name__,
                "about": " ".join(subject(action).get(key, "") for key in ABOUT).strip(),
                "reason": action.reason,
            }
            for action in self.stage.done
            if loudness(action) >= logging.INFO
        ][-12:]
        overhead = (RULES.executor + RULES.node_task).as_dict()
        mesos = {
            "master": "10.90.7.10:5050",
            "url": "zk://10.90.7.10:2181,10.90.7.11:2181/mesos",
            "framework": "Kubernetes",
            "framework_id": "7a1f0c1e-51f4-4b0c-9a86-0f8f3c1d2b11-0000",
            "roles": ["*"],
        }
        return {
            "version": "0.1.0",
            "time": time.time(),
            "leading": True,
            "leader": "control-1_812_5f0c",
            "identity": "control-1_812_5f0c",
            "mesos": mesos,
            **page_of(self.stage.core.view(), overhead, recent),
        }
