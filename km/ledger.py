"""The books: what each agent has, what we hold, promised and run there, what others have.

Kept per agent, so that an event costs the same with ten agents or ten thousand. Two numbers
matter:

* *held*: offers in our hands; only from these anything is launched, so nothing is over-committed;
* *free*: what is expected to be free, offered or not: ``total - others - ours - promised``. It is
  what kube-scheduler's questions are answered from. Each offer corrects it (what is offered is all
  that is free to us now), and each GET_STATE does (what others run).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from km.offers import TERMINAL, AgentRecord, Offer
from km.pods import Limits
from km.resources import NOTHING, Resources

UNSEEN_SECONDS = 60.0
"""So long is believed that something is not to be had, if no offer comes. Kept from our role by a
quota, it would be promised to pods in vain with every GET_STATE otherwise."""


class Task:
    """One of our tasks, from its launch until Mesos says that it ended."""

    __slots__ = (
        "agent_id", "bound", "id", "killing", "launched_at", "limits", "resources", "state", "uid",
    )  # fmt: skip

    def __init__(
        self,
        task_id: str,
        agent_id: str,
        uid: str,
        resources: Resources,
        launched_at: float,
        *,
        limits: Limits | None = None,
    ) -> None:
        self.id = task_id
        self.agent_id = agent_id
        self.uid = uid
        """The pod it stands for; empty for a node's task."""
        self.resources = resources
        self.launched_at = launched_at
        self.limits = limits
        """Up to where its pod may burst; None where nobody knows any more."""
        self.state = "TASK_STAGING"
        self.bound = False
        """Whether its pod is known to be bound to its node."""
        self.killing = 0
        """How often it was told to end."""


class Held:
    """An offer in our hands."""

    __slots__ = ("offer", "since", "until")

    def __init__(self, offer: Offer, since: float, until: float) -> None:
        self.offer = offer
        self.since = since
        self.until = until
        """When it has to be given back at the latest."""


class Agent:
    """One Mesos agent: its size, its share-out and, if it is one, its node."""

    __slots__ = (
        "active", "attributes", "draining", "executor", "executor_info", "failures", "free",
        "heard_of_at", "held", "hostname", "id", "not_before", "nudged", "observed_at",
        "others", "others_by", "promised", "region", "shares", "takes_limits", "tasks", "total",
        "unseen", "unseen_at", "used", "zone",
    )  # fmt: skip

    def __init__(self, agent_id: str, hostname: str) -> None:
        self.id = agent_id
        self.hostname = hostname
        self.total = NOTHING
        self.attributes: Mapping[str, str] = {}
        self.region = ""
        self.zone = ""
        self.active = True
        self.draining = False
        self.held: dict[str, Held] = {}
        self.tasks: dict[str, Task] = {}
        self.executor = NOTHING
        """What our executor itself has here."""
        self.executor_info: Mapping[str, Any] | None = None
        """The running executor's ExecutorInfo, verbatim: each launch has to repeat it."""
        self.used = NOTHING
        """Ours: executor and tasks."""
        self.promised = NOTHING
        """Binds that wait for an offer."""
        self.others = NOTHING
        """What is not to be had: used by others, or offered to them."""
        self.others_by: Mapping[str, Resources] = {}
        self.unseen = NOTHING
        """What should be free by the books, and was not offered when we waited for it."""
        self.unseen_at = float("-inf")
        self.shares: Mapping[str, Resources] = {}
        """What each of our roles was last offered, if there were several: a task is of one role."""
        self.observed_at = float("-inf")
        """When an offer last showed what is free."""
        self.heard_of_at = float("-inf")
        """When Mesos last spoke of it by itself, not in an answer: in an offer or as added."""
        self.free = NOTHING
        self.nudged = ""
        """What kube-scheduler was last told to be free here."""
        self.failures = 0
        """How often in a row a node failed here."""
        self.not_before = float("-inf")
        """No node is started here before that."""
        self.takes_limits = True
        """Whether tasks may carry limits: an agent without the cgroups isolators drops those that
        do, and says so only then. The minion holds pods to their limits all the same."""

    def refresh(self) -> None:
        """Work out *free* again."""
        self.free = self.total - self.others - self.used - self.promised
        if self.unseen:
            self.free = self.free - self.unseen

    def fits(self, need: Resources) -> bool:
        """Whether a task of this size is expected to find room."""
        return self.free.covers(need) and self.one_share_covers(need)

    def one_share_covers(self, need: Resources) -> bool:
        """Whether one role alone was offered enough; True when offers are not split over roles."""
        return not self.shares or any(share.covers(need) for share in self.shares.values())

    def offered(self) -> Resources:
        """All offers we hold here together."""
        total = NOTHING
        for held in self.held.values():
            total = total + held.offer.resources
        return total

    def offered_by_role(self) -> dict[str, Resources]:
        """The same, by the role that they are for."""
        found: dict[str, Resources] = {}
        for held in self.held.values():
            role = held.offer.role
            found[role] = found.get(role, NOTHING) + held.offer.resources
        return found

    def was_not_offered(self, amount: Resources, now: float) -> None:
        """What the books call free did not come: go by that until an offer shows more.

        Another framework may sit on an offer of it, or a quota keep it from our role; the books
        know neither.
        """
        self.unseen, self.unseen_at = self.unseen + amount, now
        self.refresh()

    def holders(self) -> str:
        """Who has the rest, for people: ``held by chronos and spark``."""
        names = sorted(name for name, amount in self.others_by.items() if amount)
        if names:
            return f"held by {' and '.join(names)}"
        return "held by other frameworks" if self.others.at_least_zero() else ""


class Ledger:
    """All agents, tasks and offers."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.by_host: dict[str, str] = {}
        self.offers: dict[str, str] = {}
        """Offer id to agent id."""
        self.tasks: dict[str, Task] = {}
        self.by_pod: dict[str, dict[str, Task]] = {}

    # Agents

    def agent(self, agent_id: str, hostname: str) -> Agent:
        """The agent with this id, made when it is new."""
        agent = self.agents.get(agent_id)
        if agent is None:
            agent = self.agents[agent_id] = Agent(agent_id, hostname)
        present = self.agents.get(self.by_host.get(hostname, ""))
        # A host that lost its agent's state comes back under a new id; the old one, with our
        # node on it, is told to us as lost in its own time and then makes room.
        if present is None or present.executor_info is None:
            self.by_host[hostname] = agent_id
        return agent

    def on_host(self, hostname: str) -> Agent | None:
        return self.agents.get(self.by_host.get(hostname, ""))

    def describe(self, record: AgentRecord) -> Agent:
        """Take in what the master says about an agent's size and place."""
        agent = self.agent(record.id, record.hostname)
        agent.total = record.total
        agent.attributes = record.attributes
        agent.region, agent.zone = record.region, record.zone
        agent.active, agent.draining = record.active, record.draining
        agent.refresh()
        return agent

    def observe_others(self, agent: Agent, others: Mapping[str, Resources], at: float) -> None:
        """Take in who uses what, unless an offer has shown the truth since ``at``."""
        agent.others_by = others
        if agent.unseen_at + UNSEEN_SECONDS <= at:
            agent.unseen = NOTHING
        if agent.observed_at <= at:
            total = NOTHING
            for amount in others.values():
                total = total + amount
            agent.others = total
        agent.refresh()

    def forget_agent(self, agent: Agent) -> None:
        """Drop an agent that holds nothing of ours."""
        for offer_id in list(agent.held):
            self.offers.pop(offer_id, None)
        for task in list(agent.tasks.values()):
            self.end_task(task)
        self.agents.pop(agent.id, None)
        if self.by_host.get(agent.hostname) == agent.id:
            del self.by_host[agent.hostname]
            for other in self.agents.values():
                if other.hostname == agent.hostname:
                    self.by_host[agent.hostname] = other.id

    # Offers

    def hold(self, offer: Offer, now: float, until: float) -> Agent:
        """Take an offer in, and learn from it what is free."""
        agent = self.agent(offer.agent_id, offer.hostname)
        agent.attributes, agent.region, agent.zone = offer.attributes, offer.region, offer.zone
        agent.active = True
        agent.held[offer.id] = Held(offer, now, until)
        self.offers[offer.id] = agent.id
        free, agent.shares, agent.unseen = offer.resources, {}, NOTHING
        if len(agent.held) > 1:
            free, shares = agent.offered(), agent.offered_by_role()
            agent.shares = shares if len(shares) > 1 else {}
        if not agent.total.covers(free + agent.used):
            agent.total = _most(agent.total, free + agent.used)
        agent.others = (agent.total - agent.used - free).at_least_zero()
        agent.observed_at = agent.heard_of_at = now
        agent.refresh()
        return agent

    def release(self, offer_id: str) -> Held | None:
        """An offer is no longer ours: accepted, declined or rescinded."""
        agent = self.agents.get(self.offers.pop(offer_id, ""))
        return agent.held.pop(offer_id, None) if agent else None

    def release_all(self) -> None:
        """All offers are void."""
        for offer_id in list(self.offers):
            self.release(offer_id)

    # Promises, executors and tasks

    def promise(self, agent: Agent, need: Resources) -> None:
        agent.promised = agent.promised + need
        agent.free = agent.free - need

    def unpromise(self, agent: Agent, need: Resources) -> None:
        agent.promised = agent.promised - need
        agent.refresh()

    def run_executor(self, agent: Agent, info: Mapping[str, Any], resources: Resources) -> None:
        agent.used = agent.used - agent.executor + resources
        agent.executor = resources
        agent.executor_info = info
        self.by_host[agent.hostname] = agent.id
        agent.refresh()

    def end_executor(self, agent: Agent) -> list[Task]:
        """The executor ended, and with it all tasks in it, which are returned."""
        ended = list(agent.tasks.values())
        for task in ended:
            self.end_task(task)
        agent.used = agent.used - agent.executor
        agent.executor = NOTHING
        agent.executor_info = None
        agent.refresh()
        return ended

    def run_task(self, task: Task) -> None:
        agent = self.agents[task.agent_id]
        agent.tasks[task.id] = task
        self.tasks[task.id] = task
        if task.uid:
            self.by_pod.setdefault(task.uid, {})[task.id] = task
        agent.used = agent.used + task.resources
        agent.refresh()

    def end_task(self, task: Task) -> None:
        if self.tasks.pop(task.id, None) is None:
            return
        siblings = self.by_pod.get(task.uid)
        if siblings is not None:
            siblings.pop(task.id, None)
            if not siblings:
                del self.by_pod[task.uid]
        agent = self.agents.get(task.agent_id)
        if agent is not None and agent.tasks.pop(task.id, None) is not None:
            agent.used = agent.used - task.resources
            agent.refresh()

    def tasks_of(self, uid: str) -> Iterator[Task]:
        """The live tasks of a pod: one, or none, or for moments an old one that is ending."""
        yield from list(self.by_pod.get(uid, {}).values())


def ended(state: str) -> bool:
    """Whether Mesos will never speak of a task in this state again."""
    return state in TERMINAL or state == "TASK_UNKNOWN"


def _most(left: Resources, right: Resources) -> Resources:
    return Resources(
        max(left.cpus, right.cpus),
        max(left.mem, right.mem),
        max(left.disk, right.disk),
        max(left.gpus, right.gpus),
        (left + Resources(ports=right.ports)).ports,
    )
