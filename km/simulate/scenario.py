"""One simulated day: agents, pods, other frameworks, accidents; and what must always hold."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from km.events import Disconnected
from km.pods import Shape
from km.resources import Resources
from km.rules import ON_DEMAND, Rules
from km.simulate.clock import Clock
from km.simulate.cluster import Cluster
from km.simulate.edges import Km
from km.simulate.master import KEPT, OPEN, InvariantError, Master, SimAgent
from km.simulate.others import Batch, Job

ZONES = ("a", "b", "c")
SIZES = (
    (0.01, 32),
    (0.1, 128),
    (0.1, 256),
    (0.25, 256),
    (0.5, 1024),
    (1, 1024),
    (1, 2048),
    (2, 4096),
)
"""Pods: cpus and MiB; small ones are more frequent."""
WEIGHTS = (20, 25, 20, 15, 10, 5, 3, 2)
SLACK = 1.0
"""Seconds by which an action may be late against the rules."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to happen. Times are virtual seconds."""

    agents: int = 50
    pods: int = 1000
    others: int = 1
    seed: int = 1
    nodes: str = ON_DEMAND
    cpus: float = 16
    mem: float = 65536
    reserved: float = 0.0
    """Part of each agent that is reserved for a second role of km's."""

    pods_per_second: float = 200.0
    """How fast kube-scheduler can be at most, and how fast pods are made."""

    ending: float = 0.3
    """Part of the pods that end by themselves."""

    jobs: int = 300
    """Of each other framework."""

    accidents: int = 20
    kinds: str = "all"
    """``harmless``: only accidents that must not cost a single pod."""

    idle_seconds: float = 60.0
    """Nodes without pods leave after this time."""

    calm: float = 120.0
    """Time to converge after the last accident."""


class Scenario:
    """Sets the stage, plays, checks."""

    def __init__(self, plan: Plan, rules: Rules | None = None) -> None:
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.clock = Clock()
        self.master = Master(self.clock, plan.seed)
        self.cluster = Cluster(self.clock, plan.seed, plan.pods_per_second)
        self.rules = rules or Rules(nodes=plan.nodes, idle_seconds=plan.idle_seconds)
        self.km = Km(self.clock, self.master, self.cluster, self.rules)
        self.master.frameworks.append(self.km)
        self.others = [
            Batch(f"spark-{n}", self.master, self.clock) for n in range(1, plan.others + 1)
        ]
        self.master.frameworks.extend(self.others)
        self.utilisation: list[float] = []
        self.fairness: list[float] = []
        self.accidents: dict[str, int] = {}
        self._agents = 0
        self._last_made = 0.0
        self._idle_since: float | None = None
        for _ in range(plan.agents):
            self._add_agent()

    # The stage

    def _add_agent(self) -> None:
        self._agents += 1
        total = Resources.of(
            cpus=self.plan.cpus, mem=self.plan.mem, disk=100_000, ports=((31000, 32000),)
        )
        zone = ZONES[self._agents % len(ZONES)]
        part = self.plan.reserved
        kept = Resources.of(cpus=self.plan.cpus * part, mem=self.plan.mem * part)
        agent = SimAgent(f"S{self._agents}", f"agent-{self._agents}", total, zone, kept)
        self.master.add_agent(agent)

    def _make_pods(self) -> None:
        plan = self.plan
        shapes = [Shape(need=Resources.of(cpus=c, mem=m)) for c, m in SIZES]
        for number in range(plan.pods):
            shape = self.random.choices(shapes, WEIGHTS)[0]
            seconds = (
                self.random.expovariate(1 / 60) if self.random.random() < plan.ending else None
            )
            when = 5 + number / plan.pods_per_second
            self.clock.after(when, self.cluster.create, shape, seconds)
            self._last_made = when

    def _make_jobs(self) -> None:
        for framework in self.others:
            waves = max(1, self.plan.jobs // 50)
            for wave in range(waves):
                jobs = [
                    Job(
                        Resources.of(
                            cpus=self.random.choice((0.5, 1, 2, 4)),
                            mem=self.random.choice((512, 2048, 8192)),
                        ),
                        self.random.expovariate(1 / 30) + 1,
                    )
                    for _ in range(self.plan.jobs // waves)
                ]
                when = self.random.uniform(0, self._last_made + 30) if wave else 0.0
                self.clock.after(when, framework.submit, jobs)

    def _make_accidents(self) -> None:
        kinds = [
            self._rescind, self._stream_cut, self._km_restarts, self._api_stutters,
            self._agent_silent, self._master_fails, self._operator_cordons,
        ]  # fmt: skip
        if self.plan.kinds == "all":
            kinds += [
                self._agent_dies, self._executor_ends, self._pod_deleted, self._pod_deleted,
                self._agent_drained, self._agent_wanted_back, self._node_deleted,
                self._pod_resized, self._scheduler_lags, self._scheduler_refuses,
            ]  # fmt: skip
        for _ in range(self.plan.accidents):
            when = self.random.uniform(5, self._last_made + 60)
            self.clock.after(when, self._accident, self.random.choice(kinds))

    # Accidents

    def _accident(self, kind: object) -> None:
        name = kind.__name__.strip("_")  # type: ignore[attr-defined]
        self.accidents[name] = self.accidents.get(name, 0) + 1
        kind()  # type: ignore[operator]

    def _rescind(self) -> None:
        if self.km.held_since:
            self.master.rescind(self.random.choice(list(self.km.held_since)))

    def _agent_dies(self) -> None:
        agent = self.random.choice(list(self.master.agents.values()))
        self.master.remove(agent)
        self.clock.after(self.random.uniform(5, 30), self._add_agent)

    def _executor_ends(self) -> None:
        running = [a for a in self.master.agents.values() if a.executor is not None]
        if running:
            self.km.executor_ends(self.random.choice(running), 9)

    def _stream_cut(self) -> None:
        if self.km.connected:
            self.km.disconnect()
            self.km.tell(Disconnected(reason="cut"))
            self.clock.after(self.random.uniform(0.1, 8), self._reconnect, self.km.generation)

    def _reconnect(self, generation: int) -> None:
        if generation == self.km.generation:
            self.km.reconnect()

    def _km_restarts(self) -> None:
        if self.km.connected:
            self.km.restart()

    def _agent_silent(self) -> None:
        """The master loses sight of an agent for a while."""
        agent = self.random.choice(list(self.master.agents.values()))
        if agent.up and agent.id not in self.master.recovering:
            self.master.partition(agent)
            self.km.unreachable(agent)
            self.clock.after(self.random.uniform(1, 40), self._agent_heard, agent)

    def _agent_heard(self, agent: SimAgent) -> None:
        agent.up = True

    def _master_fails(self) -> None:
        """Another master leads: it knows no offers, and agents only as they register again."""
        if not self.km.connected:
            return
        for agent in self.master.agents.values():
            self.master.recovering.add(agent.id)
            self.clock.after(self.random.uniform(1, 10), self.master.recovering.discard, agent.id)
        self._stream_cut()

    def _pod_deleted(self) -> None:
        if self.cluster.pods:
            self.cluster.remove(self.random.choice(list(self.cluster.pods)), replace_it=True)

    def _agent_drained(self) -> None:
        """DRAIN_AGENT, and after a time REACTIVATE_AGENT."""
        agent = self.random.choice(list(self.master.agents.values()))
        if agent.up and not agent.draining and agent.id not in self.master.recovering:
            self.master.drain(agent)
            self.clock.after(self.random.uniform(1, 60), setattr, agent, "draining", False)

    def _agent_wanted_back(self) -> None:
        """Maintenance is planned, and called off after a time."""
        agent = self.random.choice(list(self.master.agents.values()))
        if not agent.wanted_back:
            self.km.wanted_back(agent)
            self.clock.after(self.random.uniform(1, 60), setattr, agent, "wanted_back", False)

    def _operator_cordons(self) -> None:
        """An operator cordons a node, and uncordons it after a time, if it is still there."""
        nodes = [node for node in self.cluster.nodes.values() if not node.node.unschedulable]
        if nodes:
            node = self.random.choice(nodes)
            self.km.cordon(node.name, unschedulable=True)
            self.clock.after(self.random.uniform(1, 90), self._operator_uncordons, node.name)

    def _operator_uncordons(self, name: str) -> None:
        if name in self.cluster.nodes:
            self.km.cordon(name, unschedulable=False)

    def _node_deleted(self) -> None:
        """Somebody deletes a Node object."""
        if self.cluster.nodes:
            self.km.delete_node(self.random.choice(list(self.cluster.nodes)))

    def _pod_resized(self) -> None:
        """Somebody makes a running pod larger, in place."""
        running = [uid for uid, pod in self.cluster.pods.items() if pod.node and not pod.finished]
        if running:
            uid = self.random.choice(running)
            shape = self.cluster.pods[uid].shape
            self.cluster.resize(uid, replace(shape, need=shape.need.scaled(2)))

    def _scheduler_lags(self) -> None:
        """kube-scheduler asks about a pod that is gone already."""
        waiting = [pod for pod in self.cluster.pods.values() if not pod.node]
        if waiting:
            pod = self.random.choice(waiting)
            self.cluster.remove(pod.uid, replace_it=True)
            self.clock.after(0.005, self.km.filter, pod, tuple(self.cluster.names))

    def _scheduler_refuses(self) -> None:
        """A pod comes that kube-scheduler does not take to some of the nodes that there are."""
        shape = Shape(need=Resources.of(cpus=0.1, mem=32))
        names = self.cluster.names
        dislikes = frozenset(self.random.sample(names, min(3, len(names))))
        self.cluster.create(shape, dislikes=dislikes)

    def _api_stutters(self) -> None:
        self.km.fail_every = 3
        self.clock.after(5.0, self._api_recovers)

    def _api_recovers(self) -> None:
        self.km.fail_every = 0

    # The play

    def play(self) -> None:
        """From the start to convergence. Raises InvariantError."""
        self.km.start()
        self._make_pods()
        self._make_jobs()
        self._make_accidents()
        self.clock.after(1.0, self._sample)
        end = self._last_made + 60 + self.plan.calm
        while self.clock.now < end:
            self.clock.step(end)
            self.check()
        self.check_converged()

    def check(self) -> None:
        """After every step: nothing is hoarded. (Master and cluster check the rest themselves.)"""
        held = self.km.held_since
        now = self.clock.now
        if held:
            since = next(iter(held.values()))
            if now - since > self.rules.hold_seconds + SLACK:
                raise InvariantError(f"offer {next(iter(held))} was held for {now - since:.1f} s")
        waits = self.cluster.active or self.cluster.unschedulable or self.cluster.assumed
        # Pods that run and lack their tasks wait as well, for a bounded time, and only km knows.
        if waits or self.km.core.world.binds or not held:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif now - self._idle_since > self.rules.idle_hold_seconds + 5 * SLACK:
            raise InvariantError(f"{len(held)} offers are held and nothing waits")

    def _sample(self) -> None:
        """Each second: how much is in use, and how fairly it is shared."""
        total = self.master.total
        cpus = mem = 0
        for agent in self.master.agents.values():
            for amount in (agent.free, agent.kept):
                cpus += amount.cpus
                mem += amount.mem
            for offer in agent.offers.values():
                cpus += offer.amount.cpus
                mem += offer.amount.mem
        self.utilisation.append(max(1 - cpus / total.cpus, 1 - mem / total.mem))
        demanding = [f for f in self.others if f.jobs]
        if self.others and len(demanding) == len(self.others) and self.cluster.unschedulable:
            shares = [self._share(f.cpus, f.mem) for f in (self.km, *self.others)]
            squares = sum(share * share for share in shares)
            self.fairness.append(sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0)
        self.clock.after(1.0, self._sample)

    def _share(self, cpus: int, mem: int) -> float:
        return max(cpus / self.master.total.cpus, mem / self.master.total.mem)

    def check_converged(self) -> None:
        """At the end: each pod has its one task, each task its pod; what waits fits nowhere."""
        if self.plan.kinds == "harmless" and self.cluster.replaced:
            raise InvariantError(f"{self.cluster.replaced} pods were lost for nothing")
        ghosts = set(self.km.core.world.pods) - set(self.cluster.pods)
        if ghosts:
            raise InvariantError(f"km goes on with pods that are gone: {sorted(ghosts)[:5]}")
        tasks: dict[str, list[str]] = {}
        granted: dict[str, Resources] = {}
        for agent in self.master.agents.values():
            for task in agent.tasks.values():
                if task.id.startswith("pod."):
                    uid = task.id.split(".")[1]
                    tasks.setdefault(uid, []).append(agent.hostname)
                    granted[uid] = task.resources
        for uid, pod in self.cluster.pods.items():
            where = tasks.pop(uid, [])
            if pod.finished:
                continue
            if pod.node and where != [pod.node]:
                raise InvariantError(f"{pod.full_name} is on {pod.node}, its tasks on {where}")
            if pod.node and not granted[uid].covers(pod.need):
                raise InvariantError(f"{pod.full_name} asks {pod.need}, its task {granted[uid]}")
            if not pod.node:
                if where:
                    raise InvariantError(f"{pod.full_name} waits and has tasks on {where}")
                self._check_waits(uid)
        if tasks:
            raise InvariantError(f"tasks without pods: {sorted(tasks)[:5]} of {len(tasks)}")

    def _check_waits(self, uid: str) -> None:
        pod = self.cluster.pods[uid]
        overhead = self.rules.executor + self.rules.node_task
        for agent in self.master.agents.values():
            node = self.cluster.nodes.get(agent.hostname)
            if agent.draining or agent.wanted_back or (node and node.node.unschedulable):
                continue
            if agent.hostname in self.cluster.dislikes.get(uid, ()):
                continue
            for role, free in ((OPEN, agent.free), (KEPT, agent.kept)):
                room = free if node is not None else free - overhead
                for offer in agent.offers.values():
                    room = room + offer.amount if offer.role == role else room
                if room.covers(pod.need):
                    raise InvariantError(
                        f"{pod.full_name} waits for {pod.need}, {agent.hostname} has {room}"
                    )
