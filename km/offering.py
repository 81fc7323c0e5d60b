"""What happens to offers: kept while something waits that they fit, else given back at once.

Other frameworks get what km does not need: offers are never kept past ``hold_seconds``, never more
of them than a few times what waits, and when nothing waits the master is told to stop offering
(SUPPRESS). A pod that comes makes it offer again (REVIVE, which also lifts the filters of earlier
declines, so these can be long without starving km itself).
"""

from __future__ import annotations

from collections.abc import Iterable

from km.actions import Decline, Revive, Suppress, UpdateNode
from km.events import OffersReceived
from km.ledger import Agent
from km.lifecycle import runs_unseen, start, start_here
from km.objects import FREE_ANNOTATION
from km.placement import may_run
from km.pods import Shape
from km.resources import Resources
from km.rules import EVERY_AGENT
from km.timers import Alarm
from km.world import STARTING, UNREACHABLE, World


def receive(world: World, event: OffersReceived) -> None:
    """Take offers in; what to do with them is decided when the event is settled."""
    until = world.now + world.rules.hold_seconds
    for offer in event.offers:
        agent = world.ledger.hold(offer, world.now, until)
        world.fresh[agent.id] = None
        run = world.run_of(agent)
        if (run is not None and run.phase == UNREACHABLE) or runs_unseen(world, agent):
            # Only agents that are back are offered: ask at once what runs there.
            world.timers.sooner(Alarm("list"), world.now + 0.1)
        if offer.unavailable_from is not None:
            wanted_back(world, agent)
        elif agent.id in world.maintenance:
            del world.maintenance[agent.id]
            world.note_nodeless(agent)
    world.counters["offers.received"] += len(event.offers)
    world.timers.sooner(Alarm("offers"), until)


def wanted_back(world: World, agent: Agent) -> None:
    """Mesos plans maintenance of this agent: no node is started there."""
    world.maintenance.setdefault(agent.id, "maintenance is planned")
    world.nodeless.pop(agent.id, None)
    if world.rules.nodes == EVERY_AGENT and Alarm("maintenance") not in world.timers:
        world.timers.set(Alarm("maintenance"), world.now + world.rules.maintenance_seconds)


def look_for_called_off(world: World) -> None:
    """Have agents offered that are wanted back and should be nodes.

    Nobody tells that planned maintenance was called off; an offer that no longer says so does.
    """
    if not world.maintenance:
        return
    world.timers.set(Alarm("maintenance"), world.now + world.rules.maintenance_seconds)
    if world.connected and any(
        agent_id in world.ledger.agents and world.ledger.agents[agent_id].hostname not in world.runs
        for agent_id in world.maintenance
    ):
        world.revive_wanted = "are agents still wanted back for maintenance?"
        revive(world)


def wanted(world: World) -> bool:
    """Whether any offer could be of use now or in a moment."""
    return bool(world.waiting or world.binds or world.nodeless)


def _lacking(world: World) -> bool:
    """Whether there is still something that the offers in our hands do not serve."""
    if world.waiting or world.nodeless:
        return True
    return any(not world.ledger.agents[agent_id].held for agent_id in world.queues)


class Decider:
    """Decides about many offers at once; what waits is summed up only once for them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.shapes = list(world.waiting)
        self.hopeful = {
            shape
            for shape, group in world.waiting.items()
            if not all(map(world.refused, reversed(group)))  # the latest is the most hopeful
        }
        self.least = self._least()
        self.kept = 0
        self.room = world.demand.scaled(1)
        for agent_id in {*world.ledger.offers.values()} - set(world.fresh):
            self._count(world.ledger.agents[agent_id])

    def _least(self) -> Resources | None:
        """No waiting pod needs less than this, kind by kind: most offers are told apart by it."""
        if not self.shapes:
            return None
        return Resources(
            min(shape.need.cpus for shape in self.shapes),
            min(shape.need.mem for shape in self.shapes),
        )

    def _count(self, agent: Agent) -> None:
        offered = agent.offered()
        self.kept += len(agent.held)
        self.room = self.room - Resources(
            int(offered.cpus / self.world.rules.hold_factor),
            int(offered.mem / self.world.rules.hold_factor),
        )

    def keep(self, agent: Agent) -> tuple[bool, str]:
        """Whether to keep this agent's offers, and why."""
        world = self.world
        if agent.id in world.queues:
            return True, "pods are promised room there"
        if not self.shapes:
            return False, "nothing waits"
        run = world.run_of(agent)
        if run is None and (why := start_here(world, agent)):
            return False, why
        if run is not None and not world.usable(run):
            return False, f"{agent.hostname} takes no pods: {run.why or 'it is cordoned'}"
        if run is not None and run.phase == STARTING:
            return False, f"{agent.hostname} is still starting"
        if run is None:
            return self._of_use(agent, agent.offered() - world.node_overhead(), self.shapes)
        if not self.hopeful:
            return False, "kube-scheduler finds no place for what waits, whatever is free"
        return self._of_use(agent, agent.offered(), self.hopeful)

    def _of_use(
        self, agent: Agent, offered: Resources, shapes: Iterable[Shape]
    ) -> tuple[bool, str]:
        if self.least is None or not offered.covers(self.least):
            return False, f"{agent.hostname} offers too little for any pod that waits"
        if not any(
            offered.covers(shape.need)
            and may_run(self.world, shape, agent)
            and agent.one_share_covers(shape.need)
            for shape in shapes
        ):
            return False, f"{agent.hostname} offers what fits no pod that waits"
        if self.kept >= self.world.rules.hold_least and (self.room.cpus < 0 or self.room.mem < 0):
            return False, "enough is held for the pods that wait"
        self._count(agent)
        return True, "pods wait"


def settle(world: World) -> None:
    """Decide about offers that came and about whether more are wanted."""
    if not world.connected or not world.synced:
        return
    if world.fresh:
        fresh = list(world.fresh)
        _start_nodes(world, fresh)
        _decide(world, fresh)
        world.fresh.clear()
    if wanted(world):
        world.timers.clear(Alarm("suppress"))
        if not _lacking(world):
            world.revive_wanted = ""
        elif world.revive_wanted:
            _revive_soon(world)
        return
    world.revive_wanted = ""
    if not world.suppressed and Alarm("suppress") not in world.timers:
        world.timers.set(Alarm("suppress"), world.now + world.rules.idle_hold_seconds)


def _start_nodes(world: World, agent_ids: list[str]) -> None:
    """With ``every-agent``: make nodes of agents in our hands. Otherwise planning chooses."""
    for agent_id in agent_ids:
        agent = world.ledger.agents.get(agent_id)
        if agent is not None and agent_id in world.nodeless and agent.held:
            if not start_here(world, agent):
                start(world, agent, "every agent is a node")
        elif agent is not None and agent.held and agent.hostname not in world.runs:
            world.plan_soon()


def _decide(world: World, agent_ids: list[str]) -> None:
    decider = Decider(world)
    refused: dict[str, list[str]] = {}
    for agent_id in agent_ids:
        agent = world.ledger.agents.get(agent_id)
        if agent is None or not agent.held:
            continue
        keep, why = decider.keep(agent)
        if keep:
            if agent_id in world.queues:
                _flush_soon(world, agent)
            else:
                _nudge(world, agent)
            continue
        if not decider.shapes and not world.suppressed and Alarm("suppress") in world.timers:
            continue  # something waited a moment ago and may again
        refused.setdefault(why, []).extend(agent.held)
    for why, offer_ids in refused.items():
        decline(world, offer_ids, why)


def _nudge(world: World, agent: Agent) -> None:
    """Make kube-scheduler look again at pods that it found no place for.

    It does so on changes of nodes only, and that another framework gave something back is none:
    so the node is annotated with what is free, and a number without which the same room, gone and
    come back, would be no change.
    """
    free = str(agent.free)
    if not (world.rejected or world.unschedulable_since):
        return
    if agent.hostname not in world.ready or free == agent.nudged:
        return
    if Alarm("nudged") in world.timers:
        world.to_nudge = agent.id
        return
    agent.nudged = free
    world.timers.set(Alarm("nudged"), world.now + world.rules.nudge_interval)
    world.counters["nudges"] += 1
    world.do(
        UpdateNode(
            reason=f"{agent.hostname} offers room for pods that wait",
            node=agent.hostname,
            annotations={FREE_ANNOTATION: f"{world.number()}: {free}"},
        )
    )


def nudge_again(world: World) -> None:
    """Tell of room that came too soon after the last that was told of."""
    agent = world.ledger.agents.get(world.to_nudge)
    world.to_nudge = ""
    if agent is not None and agent.held and world.waiting:
        _nudge(world, agent)


def _flush_soon(world: World, agent: Agent) -> None:
    """Launch when the oldest of the binds has been gathered for long enough: mostly now."""
    oldest = min(bind.started_at for bind in world.queues[agent.id].values())
    when = max(world.now, oldest + world.rules.gather_seconds)
    world.timers.sooner(Alarm("flush", agent.id), when)


def decline(world: World, offer_ids: list[str], why: str) -> None:
    """Give offers back: for long only if nothing waits and nothing is on its way.

    A pod that waits may be refused where it seemed to fit, and a bind may fail: then it is what was
    not needed before that helps, so no long filter may be in force. (Whatever begins to wait has
    asked for a Revive, and calls reach the master in their order.)
    """
    short = world.waiting or world.binds
    seconds = world.rules.refuse_unfitting if short else world.rules.refuse_unneeded
    for offer_id in offer_ids:
        world.ledger.release(offer_id)
    world.counters["offers.declined"] += len(offer_ids)
    world.do(Decline(reason=why, offer_ids=tuple(offer_ids), refuse_seconds=seconds))


def _revive_soon(world: World) -> None:
    """Ask for offers, but not more often than the master should be asked."""
    rules, agents = world.rules, len(world.ledger.agents)
    if Alarm("revive") in world.timers:
        return
    if Alarm("revived") not in world.timers:
        revive(world)
        pause = rules.revive_interval + rules.revive_interval_per_agent * agents
        world.timers.set(Alarm("revived"), world.now + pause)
    # else: settle comes here again when "revived" rings


def revive(world: World) -> None:
    world.do(Revive(reason=world.revive_wanted or "pods wait"))
    world.revive_wanted = ""
    world.suppressed = False


def suppress(world: World) -> None:
    """Nothing has waited for a moment: give everything back and stop the offers."""
    if wanted(world) or not world.connected:
        return
    if world.ledger.offers:
        decline(world, list(world.ledger.offers), "nothing waits")
    if not world.suppressed:
        world.suppressed = True
        world.do(Suppress(reason="nothing waits"))


def expire(world: World) -> None:
    """Give back what was held for too long, whoever waits: others have their turn."""
    due: list[str] = []
    for offer_id, agent_id in world.ledger.offers.items():  # in the order they came
        until = world.ledger.agents[agent_id].held[offer_id].until
        if until > world.now:
            world.timers.sooner(Alarm("offers"), until)
            break
        due.append(offer_id)
    if due:
        decline(world, due, f"held for {world.rules.hold_seconds:g} s without a pod")
