"""A core with helpers to tell it things, and to look at what it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from km import actions as do
from km import events as on
from km.core import Core
from km.objects import Node
from km.offers import AgentRecord, MesosState, TaskStatus, offer_from_mesos
from km.pods import Pod, Shape
from km.resources import Resources
from km.rules import EVERY_AGENT, ON_DEMAND, Rules


def offer(offer_id: str, host: str, cpus: float = 4, mem: float = 4000, **more: Any) -> Any:
    resources = [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": cpus}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": mem}},
    ]
    return offer_from_mesos(
        {
            "id": {"value": offer_id},
            "agent_id": {"value": f"S-{host}"},
            "hostname": host,
            "allocation_info": {"role": "*"},
            "resources": resources,
            **more,
        }
    )


def pod(name: str, cpus: float = 1, mem: float = 100, **more: Any) -> Pod:
    shape = Shape(need=Resources.of(cpus=cpus, mem=mem))
    return Pod(**{"uid": name, "namespace": "default", "name": name, "shape": shape, **more})


class Stage:
    """Time, a core, and everything it has done so far."""

    def __init__(self, rules: Rules | None = None, agents: tuple[str, ...] = ("a", "b")) -> None:
        self.core = Core(rules or Rules(nodes=EVERY_AGENT), 1000)
        self.now = 0.0
        self.done: list[Any] = []
        self.agents = tuple(
            AgentRecord(id=f"S-{host}", hostname=host, total=Resources.of(cpus=4, mem=4000))
            for host in agents
        )

    def tell(self, event: Any, after: float = 0.001) -> list[Any]:
        self.now += after
        actions = self.core.handle(event, self.now)
        self.done += actions
        return actions

    def wait(self, seconds: float) -> list[Any]:
        """Let time pass, alarm by alarm."""
        end, actions = self.now + seconds, []
        while (due := self.core.next_tick()) is not None and due <= end:
            actions += self.tell(on.Tick(), max(due - self.now, 0))
        actions += self.tell(on.Tick(), end - self.now)
        return actions

    def sync(self, pods: tuple[Pod, ...] = (), nodes: tuple[Node, ...] = (), **state: Any) -> Any:
        self.tell(on.Subscribed(framework_id="F"))
        self.tell(on.PodsListed(pods=pods))
        self.tell(on.NodesListed(nodes=nodes))
        listed = MesosState(**{"agents": self.agents, "tasks": (), "executors": (), **state})
        return self.tell(on.MesosListed(state=listed, asked_at=self.now))

    def offers(self, *offers: Any) -> list[Any]:
        return self.tell(on.OffersReceived(offers=offers))

    def task(self, task_id: str, state: str = "TASK_RUNNING", host: str = "a") -> list[Any]:
        status = TaskStatus(task_id=task_id, state=state, agent_id=f"S-{host}", uuid="u")
        return self.tell(on.TaskUpdated(status=status))

    def up(self, *hosts: str) -> None:
        """From nothing to Ready nodes on these agents."""
        self.sync()
        for host in hosts:
            actions = self.offers(offer(f"first-{host}", host)) + self.wait(1)
            self.task(launched(actions)[0], host=host)
            self.ready(host)
        self.wait(1)

    def ready(self, host: str, **more: Any) -> list[Any]:
        fields = {"name": host, "ready": True, "provider_id": f"mesos://F/S-{host}", **more}
        return self.tell(on.NodeSeen(node=Node(**fields)))

    def bind(self, given: Pod, host: str, request: int = 1) -> list[Any]:
        actions = [] if given.uid in self.core.world.pods else self.tell(on.PodSeen(pod=given))
        return actions + self.tell(
            on.BindRequested(
                request_id=request, uid=given.uid, namespace="default", name=given.name, node=host
            )
        )

    def run_pod(self, given: Pod, host: str) -> str:
        """A pod all the way to its node; its task's id."""
        self.bind(given, host)
        actions = self.offers(offer(f"for-{given.uid}", host)) + self.wait(0.02)
        task_id = launched(actions)[0]
        self.task(task_id, host=host)
        self.tell(on.PodBound(uid=given.uid))
        self.tell(on.PodSeen(pod=replace(given, node=host, phase="Running")))
        return task_id


def of(actions: list[Any], kind: type) -> list[Any]:
    return [action for action in actions if isinstance(action, kind)]


def launched(actions: list[Any]) -> list[str]:
    return [
        info["task_id"]["value"] for accept in of(actions, do.Accept) for info in accept.task_infos
    ]


def demand(**more: Any) -> Stage:
    """Two agents without nodes, which are started on demand."""
    made = Stage(Rules(nodes=ON_DEMAND, **more))
    made.sync()
    return made


def one_node(**more: Any) -> Stage:
    """Of two agents one is a node, started on demand; a pod of 1 cpu runs on it."""
    made = demand(**more)
    made.tell(on.PodSeen(pod=pod("first")))
    node = launched(made.offers(offer("node", "a")) + made.wait(0.2))[0]
    made.task(node)
    made.ready("a")
    made.run_pod(pod("first"), "a")
    made.wait(2)
    return made


def ask(stage: Stage, given: Pod, *nodes: str) -> do.AnswerFilter:
    """What kube-scheduler is told when it asks about a pod and these nodes."""
    question = on.FilterRequested(request_id=1, pod=given, nodes=nodes)
    (answer,) = of(stage.tell(question), do.AnswerFilter)
    return answer
