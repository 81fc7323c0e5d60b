"""Which agents become nodes: as few as the waiting pods need. Pure: plain data in, choices out.

Pods are counted by shape. First the room on nodes that exist or are starting is given away, then
agents in our hands are opened one after another, always the one that takes most of what is left.
Kubernetes' hard rules that depend on the node (selector, affinity, taints) are exact; rules between
pods are followed as far as they decide how many nodes are needed: siblings that must be apart, and
topology spread, both by the label of the agent's node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from km.pods import Shape
from km.resources import Resources


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent with room: a node that exists or starts, or an agent that could become one."""

    name: str
    """The node's name."""

    room: Resources
    """For pods: what is free, for an agent without a node less what the node itself takes."""

    labels: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Demand:
    """Pods of one shape that wait."""

    shape: Shape
    count: int
    priority: int = 0
    refused: int = 0
    """How many of them kube-scheduler keeps refusing on the nodes that exist."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An agent to start a node on, and why."""

    name: str
    reason: str


class Planner:
    """One round of planning; what is given to one shape is gone for the next."""

    def __init__(
        self,
        may_run: Callable[[Shape, str], bool],
        siblings: Mapping[tuple[str, str], int],
    ) -> None:
        self._may_run = may_run
        self._rooms: dict[str, Resources] = {}
        self._at: dict[tuple[str, str, str], int] = {}
        self._nodes_with = siblings
        """How many siblings are on a node already: (siblings, node name) to count."""

    def place(self, shape: Shape, count: int, candidate: Candidate) -> int:
        """How many of ``count`` pods this candidate takes; they are taken off its room."""
        if count <= 0 or not self._may_run(shape, candidate.name):
            return 0
        room = self._rooms.get(candidate.name, candidate.room)
        fits = room.times(shape.need, count)
        if fits and (shape.apart or shape.spread):
            fits = min(fits, self._apart(shape, candidate))
        if fits:
            taken = shape.need.scaled(fits)
            if shape.need.ports:
                taken = taken + Resources(ports=shape.need.ports)
            self._rooms[candidate.name] = room - taken
            self._count(shape, candidate, fits)
        return fits

    def _domain(self, key: str, candidate: Candidate) -> str | None:
        if key == "kubernetes.io/hostname":
            return candidate.name
        return candidate.labels.get(key)

    def _apart(self, shape: Shape, candidate: Candidate) -> int:
        """How many siblings the candidate's domains still take."""
        allowed = 1 << 30
        for key in shape.apart:
            domain = self._domain(key, candidate)
            if domain is not None:
                allowed = min(allowed, 1 - self._present(shape, key, domain, candidate.name))
        for spread in shape.spread:
            domain = self._domain(spread.key, candidate)
            if domain is None:
                return 0
            present = self._present(shape, spread.key, domain, candidate.name)
            allowed = min(allowed, self._fewest(shape, spread.key) + spread.max_skew - present)
        return max(allowed, 0)

    def _present(self, shape: Shape, key: str, domain: str, name: str) -> int:
        known = self._at.get((shape.siblings, key, domain))
        return self._nodes_with.get((shape.siblings, name), 0) if known is None else known

    def seed(self, shape: Shape, candidates: Iterable[Candidate]) -> None:
        """Count the siblings that run already, by domain, and learn which domains there are."""
        for key in {*shape.apart, *(spread.key for spread in shape.spread)}:
            for candidate in candidates:
                domain = self._domain(key, candidate)
                if domain is None:
                    continue
                place = (shape.siblings, key, domain)
                present = self._nodes_with.get((shape.siblings, candidate.name), 0)
                self._at[place] = self._at.get(place, 0) + present

    def _fewest(self, shape: Shape, key: str) -> int:
        return min(
            (
                count
                for (who, k, _), count in self._at.items()
                if who == shape.siblings and k == key
            ),
            default=0,
        )

    def _count(self, shape: Shape, candidate: Candidate, fits: int) -> None:
        for key in {*shape.apart, *(spread.key for spread in shape.spread)}:
            domain = self._domain(key, candidate)
            if domain is not None:
                place = (shape.siblings, key, domain)
                self._at[place] = self._at.get(place, 0) + fits

    def fill(self, shape: Shape, count: int, candidates: Iterable[Candidate]) -> int:
        """Give pods of one shape to candidates in turn; the number that found no place."""
        once_round = bool(shape.spread)
        while count > 0:
            before = count
            for candidate in candidates:
                count -= self.place(shape, count, candidate)
                if count <= 0:
                    return 0
            if not once_round or count == before:
                return count
        return count


def _untried(shape: Shape, name: str) -> bool:
    del shape, name
    return False


def plan(
    demands: Iterable[Demand],
    *,
    existing: list[Candidate],
    starting: list[Candidate],
    agents: list[Candidate],
    may_run: Callable[[Shape, str], bool],
    siblings: Mapping[tuple[str, str], int] | None = None,
    tried: Callable[[Shape, str], bool] = _untried,
) -> tuple[list[Choice], dict[Shape, int]]:
    """Agents to start nodes on, and how many pods of which shape no agent in our hands could take.

    ``existing`` are Ready nodes, ``starting`` those on their way (which kube-scheduler can not
    have refused), ``agents`` those that could become nodes now. ``tried`` are agents that pods of a
    shape were refused on before: the others come first.
    """
    planner = Planner(may_run, siblings or {})
    ordered = sorted(demands, key=_urgency)
    left: list[tuple[Shape, int]] = []
    everyone = [*existing, *starting, *agents]
    for demand in ordered:
        shape = demand.shape
        if shape.apart or shape.spread:
            planner.seed(shape, everyone)
        count = planner.fill(shape, demand.count - demand.refused, existing)
        count = planner.fill(shape, count + demand.refused, starting)
        if count:
            left.append((shape, count))
    return _open(planner, left, agents, tried)


def _urgency(demand: Demand) -> tuple[int, int, int]:
    """Higher priorities first, then the large ones, which are hardest to place."""
    need = demand.shape.need
    return (-demand.priority, -need.cpus - need.mem // 4096, -need.mem)


def _open(
    planner: Planner,
    left: list[tuple[Shape, int]],
    agents: list[Candidate],
    tried: Callable[[Shape, str], bool],
) -> tuple[list[Choice], dict[Shape, int]]:
    """Open agents until all is placed: the largest first, so that few are needed.

    When what is left fits into one agent, the smallest such agent is taken instead.
    """
    choices: list[Choice] = []
    free = sorted(agents, key=lambda c: (c.room.cpus + c.room.mem // 4096, c.name), reverse=True)
    opened: list[Candidate] = []
    unplaced: dict[Shape, int] = {}
    for shape, waiting in left:
        count = planner.fill(shape, waiting, opened)
        while count > 0:
            candidate, taken = _best(planner, shape, count, _in_order(shape, count, free, tried))
            if candidate is None:
                break
            count -= taken
            free.remove(candidate)
            opened.append(candidate)
            pods = "1 pod" if taken == 1 else f"{taken} pods"
            choices.append(Choice(candidate.name, f"{pods} that need {shape.need} each wait"))
            if shape.spread:
                count = planner.fill(shape, count, opened)
        if count:
            unplaced[shape] = unplaced.get(shape, 0) + count
    return choices, unplaced


def _in_order(
    shape: Shape, count: int, free: list[Candidate], tried: Callable[[Shape, str], bool]
) -> list[Candidate]:
    """The smallest first for one pod, else the largest; where pods were refused, last."""
    order = free[::-1] if count == 1 else free
    return sorted(order, key=lambda candidate: tried(shape, candidate.name))


def _best(
    planner: Planner, shape: Shape, count: int, candidates: list[Candidate]
) -> tuple[Candidate | None, int]:
    """The first candidate that takes any, and how many."""
    for candidate in candidates:
        taken = planner.place(shape, count, candidate)
        if taken:
            return candidate, taken
    return None, 0
