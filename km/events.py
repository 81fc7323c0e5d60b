"""What happens to km: every event the decision core is told about.

The edges (Mesos stream, Kubernetes watches, the extender's HTTP face, the clock) turn what they
hear into these and give them to ``Core.handle(event, now)``; the simulator does the same. Events
are plain, immutable data. Nothing here, and nothing behind it, knows a clock or a socket.

Order and duplicates: events of one source come in order; sources may interleave in any way, and an
event may come twice. ``PodsListed``, ``NodesListed`` and ``MesosListed`` are complete lists: what
they do not name is gone. The core decides nothing that could hurt before it has had ``Subscribed``
and one of each list since it was made.
"""

from __future__ import annotations

from dataclasses import dataclass

from km.actions import Action
from km.objects import Node
from km.offers import AgentRecord, InverseOffer, MesosState, Offer, TaskStatus
from km.pods import Pod

# Mesos: the scheduler's event stream --------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscribed:
    """The master took our SUBSCRIBE, the first or a later one. All offers held before are void."""

    framework_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Disconnected:
    """The event stream broke or went silent. All held offers are void; tasks go on running."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OffersReceived:
    """An OFFERS event; ``km.offers.offer_from_mesos`` makes each of them."""

    offers: tuple[Offer, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class OfferRescinded:
    """A RESCIND event."""

    offer_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseOffersReceived:
    """An INVERSE_OFFERS event: agents are wanted back for maintenance."""

    inverse_offers: tuple[InverseOffer, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class InverseOfferRescinded:
    """A RESCIND_INVERSE_OFFER event: the maintenance was called off or changed."""

    inverse_offer_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskUpdated:
    """An UPDATE event, also the answers to RECONCILE. The core asks for the acknowledgement."""

    status: TaskStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentRemoved:
    """A FAILURE event without an executor, or AGENT_REMOVED: the master gave the agent up."""

    agent_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorExited:
    """A FAILURE event with an executor: it ended, and with it all that ran inside."""

    agent_id: str
    executor_id: str
    status: int | None
    """Its exit status as wait(2) gives it, None when unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentAdded:
    """An AGENT_ADDED event of the operator API: an agent that may become a node."""

    agent: AgentRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class MesosListed:
    """An answer to GET_STATE (``km.mesos_state.StateReader``), asked for by ``ListMesos``.

    ``asked_at`` is the ``now`` at which the question was sent: what the core did after that can
    not be in the answer.
    """

    state: MesosState
    asked_at: float


# Kubernetes: watches ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class PodsListed:
    """All pods of all namespaces: at the start and after a watch had to begin anew."""

    pods: tuple[Pod, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PodSeen:
    """A pod was added or modified; ``km.pods.pod_from_kubernetes`` makes it."""

    pod: Pod


@dataclass(frozen=True, kw_only=True, slots=True)
class PodGone:
    """A pod's object was deleted."""

    uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NodesListed:
    """All nodes: at the start and after a watch had to begin anew."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSeen:
    """A node was added or modified; ``km.objects.node_from_kubernetes`` makes it.

    May be left out for changes that leave ``Node`` equal to the one told before (heartbeats).
    """

    node: Node


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeGone:
    """A node's object was deleted."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateRequested:
    """A pending CertificateSigningRequest for ``kubernetes.io/kubelet-serving``."""

    name: str
    """Of the request object."""

    username: str
    """Who asks: ``system:node:<name>``."""

    hostnames: tuple[str, ...]
    addresses: tuple[str, ...]
    usages: tuple[str, ...]


# kube-scheduler: the extender's requests ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterRequested:
    """Which of these nodes could take the pod? Answered in the same ``handle`` call."""

    request_id: int
    pod: Pod
    nodes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PrioritizeRequested:
    """How good is each of these nodes for the pod? Answered in the same ``handle`` call."""

    request_id: int
    pod: Pod
    nodes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class BindRequested:
    """Give the pod its share of the node and bind it. Answered later by ``AnswerBind``."""

    request_id: int
    uid: str
    namespace: str
    name: str
    node: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BindAbandoned:
    """kube-scheduler hung up before the answer: nobody waits any more."""

    request_id: int


# Our own calls and clock --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class PodBound:
    """A ``BindPod`` was carried out."""

    uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CallFailed:
    """An action could not be carried out.

    For all actions but the ``Answer…`` ones. The edge does not repeat calls by itself: the core
    decides what to do about it, at once or at a later tick. A DeletePod, EvictPod or DeleteNode
    that was answered "not found", or a BindPod "already bound to this node", is no failure.
    """

    action: Action
    message: str
    """What the other side said."""

    code: int | None = None
    """HTTP status, None when there was no answer. 429 on EvictPod: a disruption budget forbids."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """Time passed: ``Core.next_tick()`` was reached (or anything else; it never hurts)."""


Event = (
    Subscribed
    | Disconnected
    | OffersReceived
    | OfferRescinded
    | InverseOffersReceived
    | InverseOfferRescinded
    | TaskUpdated
    | AgentRemoved
    | ExecutorExited
    | AgentAdded
    | MesosListed
    | PodsListed
    | PodSeen
    | PodGone
    | NodesListed
    | NodeSeen
    | NodeGone
    | CertificateRequested
    | FilterRequested
    | PrioritizeRequested
    | BindRequested
    | BindAbandoned
    | PodBound
    | CallFailed
    | Tick
)
