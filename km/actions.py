"""What km does: every action the decision core asks its edges to carry out.

``Core.handle`` returns them in the order in which they are to be started; the edges carry them out
without repeating any by themselves and report what failed as ``CallFailed`` (see ``km.events``).
Every action has a ``reason``: one sentence for the log, in words an operator understands.

``task_infos`` and the like are v1 JSON, ready to be sent. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from km.objects import Taint
from km.pods import Sizes

# Mesos: scheduler API -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Accept:
    """ACCEPT the offers (all of one agent and role) with one LAUNCH of all tasks.

    A failed call (anything but 202) is reported as CallFailed: the pods go back to the queue.
    """

    reason: str
    offer_ids: tuple[str, ...]
    agent_id: str
    task_infos: tuple[Mapping[str, Any], ...]
    refuse_seconds: float = 0.0
    """For what is left of the offers; 0 brings it back with the next allocation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decline:
    """DECLINE the offers."""

    reason: str
    offer_ids: tuple[str, ...]
    refuse_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Revive:
    """REVIVE all our roles: removes filters and SUPPRESS, and makes the master allocate at once."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Suppress:
    """SUPPRESS all our roles: no offers until Revive."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledge:
    """ACKNOWLEDGE a status update, after the core has taken it in."""

    reason: str
    agent_id: str
    task_id: str
    uuid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class KillTask:
    """KILL a task."""

    reason: str
    task_id: str
    agent_id: str
    """May be empty when it is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShutdownExecutor:
    """SHUTDOWN an executor and all tasks in it."""

    reason: str
    executor_id: str
    agent_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconcile:
    """RECONCILE the tasks: (task id, agent id or empty). None at all asks for every task."""

    reason: str
    tasks: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AcceptInverse:
    """ACCEPT_INVERSE_OFFERS: the agent may go."""

    reason: str
    inverse_offer_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeclineInverse:
    """DECLINE_INVERSE_OFFERS: not yet; Mesos asks again after ``refuse_seconds``."""

    reason: str
    inverse_offer_ids: tuple[str, ...]
    refuse_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ListMesos:
    """Ask the leading master's operator API for GET_STATE; the answer is ``MesosListed``."""

    reason: str


# Kubernetes ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class BindPod:
    """POST the Binding. Success is told as ``PodBound``, failure as ``CallFailed``."""

    reason: str
    uid: str
    namespace: str
    name: str
    node: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletePod:
    """DELETE a pod, with its uid as precondition."""

    reason: str
    uid: str
    namespace: str
    name: str
    grace_seconds: int | None
    """None leaves the pod its own grace period; 0 only when nothing of it can run any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvictPod:
    """POST an Eviction, with its uid as precondition: honours PodDisruptionBudgets."""

    reason: str
    uid: str
    namespace: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RevertResize:
    """PATCH the ``resize`` subresource back to what the pod's task has."""

    reason: str
    uid: str
    namespace: str
    name: str
    sizes: Sizes
    """All ``resources`` as they are to be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateNode:
    """PATCH a node: only what is given changes.

    Taints are added by (key, effect) and removed by (key, effect); other people's stay. ``None``
    as the value of an annotation or label removes it.
    """

    reason: str
    node: str
    unschedulable: bool | None = None
    add_taints: tuple[Taint, ...] = ()
    remove_taints: tuple[Taint, ...] = ()
    labels: Mapping[str, str | None] | None = None
    annotations: Mapping[str, str | None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteNode:
    """DELETE a Node object, with its uid as precondition."""

    reason: str
    node: str
    uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ApproveCertificate:
    """Approve a kubelet's serving certificate."""

    reason: str
    name: str
    node: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DenyCertificate:
    """Deny a kubelet's serving certificate."""

    reason: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordEvent:
    """Make a Kubernetes event. Failures need not be reported; repetition is counted by the edge."""

    reason: str
    """The event's message."""

    kind: str
    """``Pod`` or ``Node``."""

    name: str
    namespace: str
    """Empty for nodes."""

    uid: str
    event: str
    """The event's CamelCase reason, such as ``TaskLost``."""

    warning: bool = False


# Answers to kube-scheduler ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerFilter:
    """The answer to ``FilterRequested``."""

    reason: str
    request_id: int
    nodes: tuple[str, ...]
    """Nodes that fit, in the order asked."""

    failed: Mapping[str, str]
    """Node to reason; ending other pods there could help (``failedNodes``)."""

    unresolvable: Mapping[str, str]
    """Node to reason; nothing that kube-scheduler does helps (``failedAndUnresolvableNodes``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerPrioritize:
    """The answer to ``PrioritizeRequested``: 0 to 10 for each node."""

    reason: str
    request_id: int
    scores: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerBind:
    """The answer to ``BindRequested``: an empty ``error`` says bound, any other: try again."""

    reason: str
    request_id: int
    error: str


Action = (
    Accept
    | Decline
    | Revive
    | Suppress
    | Acknowledge
    | KillTask
    | ShutdownExecutor
    | Reconcile
    | AcceptInverse
    | DeclineInverse
    | ListMesos
    | BindPod
    | DeletePod
    | EvictPod
    | RevertResize
    | UpdateNode
    | DeleteNode
    | ApproveCertificate
    | DenyCertificate
    | RecordEvent
    | AnswerFilter
    | AnswerPrioritize
    | AnswerBind
)
