"""A Mesos master with its agents, as far as a framework can tell.

The allocator works like Mesos' hierarchical one: the framework with the smallest dominant share is
offered all that an agent has free, unless it is suppressed or has a filter; all agents once per
allocation interval, and at once on REVIVE. It is the judge of invariants: what is launched has to
be inside the offers that are accepted (an executor that ended unheard of aside: there the master
answers TASK_ERROR), and an executor's ExecutorInfo may never change.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from km.launches import parse_task_id
from km.offers import (
    AgentRecord,
    ExecutorRecord,
    MesosState,
    Offer,
    Piece,
    TaskRecord,
    TaskStatus,
    resources_from_mesos,
)
from km.resources import NOTHING, Resources
from km.simulate.clock import Clock


class InvariantError(AssertionError):
    """km did something that it must never do."""


OPEN, KEPT = "*", "kept"
"""Roles: what is for everybody, and what agents have reserved for km's second role."""


LEAST = 10
"""Thousandths of a cpu: less is not worth an offer."""


class Framework:
    """What the master keeps of a framework."""

    def __init__(self, name: str, weight: float = 1.0) -> None:
        self.name = name
        self.weight = weight
        self.connected = True
        self.suppressed = False
        self.roles = frozenset({OPEN})
        self.filters: dict[tuple[str, str], tuple[float, Resources]] = {}
        """By agent and role: until when, and what is not offered again."""
        self.cpus = 0
        self.mem = 0
        """What it has or is offered, for its share."""

    def offered(self, offers: list[Offer]) -> None:
        """Offers arrive."""
        raise NotImplementedError

    def rescinded(self, offer_id: str) -> None:
        """An offer is taken back."""

    def lost(self, agent: SimAgent) -> None:
        """An agent is gone, with all that ran there."""

    def drained(self, agent: SimAgent) -> None:
        """An agent is drained; whoever does not care lets its tasks run."""


@dataclass(frozen=True, slots=True)
class SimOffer:
    """What a framework is offered of an agent, of one role."""

    framework: Framework
    amount: Resources
    role: str


class SimTask:
    __slots__ = ("framework", "id", "record", "resources", "role")

    def __init__(
        self, task_id: str, framework: Framework, resources: Resources, role: str = OPEN
    ) -> None:
        self.id = task_id
        self.framework = framework
        self.resources = resources
        self.role = role
        self.record: TaskRecord | None = None
        """Only for km's."""


class SimAgent:
    __slots__ = (
        "attributes", "draining", "executor", "executor_resources", "executor_role", "free",
        "hostname", "id", "kept", "offers", "reclaimed", "tasks", "total", "up", "wanted_back",
        "zone",
    )  # fmt: skip

    def __init__(
        self,
        agent_id: str,
        hostname: str,
        total: Resources,
        zone: str,
        kept: Resources = NOTHING,
    ) -> None:
        self.id = agent_id
        self.hostname = hostname
        self.total = total
        self.zone = zone
        self.attributes: Mapping[str, str] = {}
        self.free = total - kept
        """Of what is for everybody, what nobody has and nobody is offered."""
        self.kept = kept
        """The same of what is reserved for km."""
        self.offers: dict[str, SimOffer] = {}
        self.tasks: dict[str, SimTask] = {}
        self.executor: Mapping[str, Any] | None = None
        self.executor_resources = NOTHING
        self.executor_role = OPEN
        self.up = True
        self.draining = False
        """DRAIN_AGENT was called."""
        self.wanted_back = False
        """Maintenance is planned."""
        self.reclaimed = False
        """Whether either was so since its executor was started."""


@lru_cache(maxsize=4096)
def _pieces(free: Resources, role: str) -> tuple[Piece, ...]:
    """Mesos' own list of what an offer has, kind by kind."""
    origin, reserved = {"role": role, "allocation_info": {"role": role}}, role != OPEN
    scalars = (("cpus", free.cpus), ("mem", free.mem), ("disk", free.disk))
    ports = (Piece("ports", 0, free.ports, origin, reserved),) if free.ports else ()
    found = (Piece(name, amount, (), origin, reserved) for name, amount in scalars if amount)
    return (*found, *ports)


class Master:
    """Agents, frameworks, offers and tasks."""

    def __init__(self, clock: Clock, seed: int, interval: float = 1.0) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.interval = interval
        self.agents: dict[str, SimAgent] = {}
        self.frameworks: list[Framework] = []
        self.where: dict[str, str] = {}
        """Offer id to agent id."""
        self.total = NOTHING
        self.recovering: set[str] = set()
        """Agents that this master, newly elected, has not heard from."""
        self._offers = 0
        clock.after(0.0, self._cycle)

    def add_agent(self, agent: SimAgent) -> None:
        self.agents[agent.id] = agent
        self.total = self.total + agent.total

    # Allocation

    def _cycle(self) -> None:
        self.allocate(self.frameworks)
        self.clock.after(self.interval, self._cycle)

    def _share(self, framework: Framework) -> float:
        cpus = framework.cpus / (self.total.cpus or 1)
        return max(cpus, framework.mem / (self.total.mem or 1)) / framework.weight

    def allocate(self, frameworks: list[Framework]) -> None:
        """Offer what is free to those who may have it, the smallest share first."""
        takers = [f for f in frameworks if f.connected and not f.suppressed]
        if not takers:
            return
        batches: dict[str, list[Offer]] = {f.name: [] for f in takers}
        agents = [
            agent
            for agent in self.agents.values()
            if agent.up
            and (agent.free.cpus >= LEAST or agent.kept.cpus >= LEAST)
            and not agent.draining
            and agent.id not in self.recovering
        ]
        self.random.shuffle(agents)
        for agent in agents:
            if len(takers) > 1:
                takers.sort(key=self._share)
            for role, free in ((OPEN, agent.free), (KEPT, agent.kept)):
                for framework in takers if free.cpus >= LEAST else ():
                    if role in framework.roles and not self._filtered(framework, agent, role, free):
                        batches[framework.name].append(self._offer(framework, agent, role, free))
                        break
        for framework in takers:
            if batches[framework.name]:
                framework.offered(batches[framework.name])

    def _filtered(self, framework: Framework, agent: SimAgent, role: str, free: Resources) -> bool:
        refused = framework.filters.get((agent.id, role))
        if refused is None:
            return False
        if refused[0] <= self.clock.now:
            del framework.filters[agent.id, role]
            return False
        return refused[1].covers(free)

    def _offer(self, framework: Framework, agent: SimAgent, role: str, free: Resources) -> Offer:
        self._offers += 1
        offer_id = f"o{self._offers}"
        agent.offers[offer_id] = SimOffer(framework, free, role)
        if role == OPEN:
            agent.free = NOTHING
        else:
            agent.kept = NOTHING
        self.where[offer_id] = agent.id
        framework.cpus += free.cpus
        framework.mem += free.mem
        return Offer(
            id=offer_id,
            agent_id=agent.id,
            hostname=agent.hostname,
            role=role,
            pieces=_pieces(free, role),
            resources=free,
            attributes=agent.attributes,
            zone=agent.zone,
            unavailable_from=1.0 if agent.wanted_back else None,
            executors=_executors(agent) if KEPT in framework.roles else (),
        )

    def _take_back(self, offer_id: str) -> tuple[SimAgent, SimOffer] | None:
        """End an offer; its resources are in nobody's hands until given back or used."""
        agent = self.agents.get(self.where.pop(offer_id, ""))
        if agent is None:
            return None
        return agent, agent.offers.pop(offer_id)

    def _release(self, agent: SimAgent, framework: Framework, amount: Resources, role: str) -> None:
        if role == OPEN:
            agent.free = agent.free + amount
        else:
            agent.kept = agent.kept + amount
        framework.cpus -= amount.cpus
        framework.mem -= amount.mem
        self.check(agent)

    def check(self, agent: SimAgent) -> None:
        """No agent may give more than it has."""
        free = agent.free + agent.kept
        if min(free.cpus, free.mem, free.disk) < 0 or not agent.total.covers(free):
            raise InvariantError(f"{agent.hostname}: free {free} of {agent.total}")

    # Calls of frameworks

    def decline(self, offer_ids: tuple[str, ...], seconds: float) -> None:
        for offer_id in offer_ids:
            found = self._take_back(offer_id)
            if found is None:
                continue
            agent, offer = found
            self._release(agent, offer.framework, offer.amount, offer.role)
            if seconds > 0:
                filters = offer.framework.filters
                filters[agent.id, offer.role] = (self.clock.now + seconds, offer.amount)

    def revive(self, framework: Framework) -> None:
        framework.suppressed = False
        framework.filters.clear()
        self.allocate([framework])

    def rescind(self, offer_id: str) -> None:
        found = self._take_back(offer_id)
        if found is not None:
            agent, offer = found
            self._release(agent, offer.framework, offer.amount, offer.role)
            offer.framework.rescinded(offer_id)

    def run(self, framework: Framework, offer_id: str, tasks: Mapping[str, Resources]) -> None:
        """Launch plain tasks of another framework from one offer; the rest goes back."""
        found = self._take_back(offer_id)
        if found is None:
            raise InvariantError(f"{framework.name} accepts an offer that it does not have")
        agent, offer = found
        left = offer.amount
        for task_id, need in tasks.items():
            agent.tasks[task_id] = SimTask(task_id, framework, need)
            left = left - need
        self._release(agent, framework, left, offer.role)

    def end(self, agent_id: str, task_id: str) -> SimTask | None:
        """A task ended: its resources are free."""
        agent = self.agents.get(agent_id)
        task = agent.tasks.pop(task_id, None) if agent else None
        if agent is None or task is None:
            return None
        self._release(agent, task.framework, task.resources, task.role)
        return task

    def accept(
        self,
        framework: Framework,
        offer_ids: tuple[str, ...],
        infos: tuple[Mapping[str, Any], ...],
        refuse_seconds: float,
        answer: Callable[[TaskStatus], None],
    ) -> list[SimTask]:
        """An ACCEPT of km with a LAUNCH; tasks that can not be launched are answered at once."""
        found = [taken for offer_id in offer_ids if (taken := self._take_back(offer_id))]
        if len(found) < len(offer_ids):
            for agent, offer in found:
                self._release(agent, framework, offer.amount, offer.role)
            for info in infos:
                answer(_status(info, "TASK_DROPPED", "REASON_INVALID_OFFERS"))
            return []
        agent, role = found[0][0], found[0][1].role
        if any(taken[0] is not agent or taken[1].role != role for taken in found):
            raise InvariantError("an ACCEPT names offers of several agents or roles")
        left = NOTHING
        for _, offer in found:
            left = left + offer.amount
        launched: list[SimTask] = []
        unplanned = NOTHING
        for info in infos:
            need = resources_from_mesos(info["resources"])
            starts = self._starts(agent, info)
            if starts is not NOTHING and _joins(info):
                # The executor ended and km may not have heard yet: it goes by what it knows.
                unplanned = starts
            if not left.covers(need + starts):
                if unplanned is NOTHING or not (left + unplanned).covers(need):
                    raise InvariantError(f"{info['name']} needs {need}, the offers have {left}")
                answer(_status(info, "TASK_ERROR", "REASON_TASK_INVALID"))
                continue
            if starts is not NOTHING:
                agent.executor, agent.executor_resources = info["executor"], starts
                agent.executor_role, agent.reclaimed = role, agent.wanted_back
            left = left - need - starts
            launched.append(self._launch(framework, agent, info, role))
        self._release(agent, framework, left, role)
        if refuse_seconds > 0:
            framework.filters[agent.id, role] = (self.clock.now + refuse_seconds, left)
        return launched

    def _starts(self, agent: SimAgent, info: Mapping[str, Any]) -> Resources:
        """What the executor takes that this task starts; nothing when it runs already."""
        executor = info["executor"]
        if agent.executor is None:
            return resources_from_mesos(executor["resources"])
        if agent.executor != executor:
            raise InvariantError(f"{agent.hostname}: the ExecutorInfo changed")
        return NOTHING

    def _launch(
        self, framework: Framework, agent: SimAgent, info: Mapping[str, Any], role: str
    ) -> SimTask:
        task_id = str(info["task_id"]["value"])
        if task_id in agent.tasks:
            raise InvariantError(f"task {task_id} was launched twice")
        if any(piece["allocation_info"]["role"] != role for piece in info["resources"]):
            raise InvariantError(f"task {task_id} names resources of another role than its offers")
        task = SimTask(task_id, framework, resources_from_mesos(info["resources"]), role)
        task.record = TaskRecord(
            task_id=task_id,
            agent_id=agent.id,
            executor_id=str(info["executor"]["executor_id"]["value"]),
            state="TASK_STAGING",
            resources=task.resources,
            name=str(info["name"]),
        )
        agent.tasks[task_id] = task
        return task

    def end_executor(self, agent: SimAgent, framework: Framework) -> list[SimTask]:
        """The executor of km ends, with all its tasks."""
        ended = [task for task in agent.tasks.values() if task.framework is framework]
        for task in ended:
            self.end(agent.id, task.id)
        if agent.executor is not None:
            agent.executor = None
            self._release(agent, framework, agent.executor_resources, agent.executor_role)
            agent.executor_resources = NOTHING
        return ended

    def remove(self, agent: SimAgent) -> None:
        """An agent's machine dies."""
        agent.up = False
        for offer_id in list(agent.offers):
            self.rescind(offer_id)
        for framework in self.frameworks:
            framework.lost(agent)
        for task in list(agent.tasks.values()):
            self.end(agent.id, task.id)
        self.total = self.total - agent.total
        del self.agents[agent.id]

    def partition(self, agent: SimAgent) -> None:
        """An agent falls silent: its tasks run on, unseen."""
        agent.up = False
        for offer_id in list(agent.offers):
            self.rescind(offer_id)

    def drain(self, agent: SimAgent) -> None:
        """DRAIN_AGENT: nothing of it is offered, and all its tasks are told to end."""
        agent.draining = agent.reclaimed = True
        for offer_id in list(agent.offers):
            self.rescind(offer_id)
        for framework in self.frameworks:
            framework.drained(agent)

    def void_offers(self, framework: Framework) -> None:
        """The framework's stream is cut: its offers are void."""
        for offer_id, agent_id in list(self.where.items()):
            offer = self.agents[agent_id].offers[offer_id]
            if offer.framework is framework and (found := self._take_back(offer_id)):
                self._release(found[0], framework, offer.amount, offer.role)

    def state(self) -> MesosState:
        """GET_STATE as km's edge would make it."""
        agents: list[AgentRecord] = []
        tasks: list[TaskRecord] = []
        executors: list[ExecutorRecord] = []
        for agent in self.agents.values():
            if agent.id in self.recovering:
                continue
            others: dict[str, Resources] = {}
            for task in agent.tasks.values():
                if task.record is not None:
                    lost = replace(task.record, state="TASK_UNREACHABLE")
                    tasks.append(task.record if agent.up else lost)
                else:
                    name = task.framework.name
                    others[name] = others.get(name, NOTHING) + task.resources
            if not agent.up:
                continue
            if agent.executor is not None:
                executors.append(
                    ExecutorRecord(
                        executor_id=str(agent.executor["executor_id"]["value"]),
                        agent_id=agent.id,
                        info=agent.executor,
                        resources=agent.executor_resources,
                    )
                )
            agents.append(
                AgentRecord(
                    id=agent.id,
                    hostname=agent.hostname,
                    total=agent.total,
                    attributes=agent.attributes,
                    zone=agent.zone,
                    active=agent.up,
                    draining=agent.draining,
                    others=others,
                )
            )
        return MesosState(
            agents=tuple(agents),
            tasks=tuple(tasks),
            executors=tuple(executors),
            recovering=frozenset(self.recovering),
        )


def _executors(agent: SimAgent) -> tuple[str, ...]:
    """The executors that an offer to km names."""
    return () if agent.executor is None else (str(agent.executor["executor_id"]["value"]),)


def _joins(info: Mapping[str, Any]) -> bool:
    """Whether a task goes into an executor that km believes to run."""
    return parse_task_id(str(info["task_id"]["value"]))[0] == "pod"


def _status(info: Mapping[str, Any], state: str, reason: str) -> TaskStatus:
    return TaskStatus(
        task_id=str(info["task_id"]["value"]),
        state=state,
        agent_id=str(info["agent_id"]["value"]),
        reason=reason,
    )
