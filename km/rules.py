"""The numbers and choices that the decisions go by. All of them are settings of `km scheduler`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from km.resources import Resources

EVERY_AGENT = "every-agent"
ON_DEMAND = "on-demand"


def _no_environment() -> dict[str, Any]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What `Core` is made with. Times are in seconds."""

    nodes: str = ON_DEMAND
    """``on-demand``: nodes start for pods that need them and leave when idle; ``every-agent``:
    every agent that has room for it is a node."""

    scheduler_names: frozenset[str] = frozenset({"default-scheduler"})
    """Pods of these schedulers come to us through kube-scheduler."""

    default_request: Resources = field(default_factory=lambda: Resources.of(cpus=0.01, mem=32))
    """What a pod without requests is given (10m, 32Mi); per resource that sums to nothing."""

    executor: Resources = field(default_factory=lambda: Resources.of(cpus=0.1, mem=192))
    """What a node itself (minion, kubelet, kube-proxy, flanneld) is given."""

    node_task: Resources = field(default_factory=lambda: Resources.of(cpus=0.01, mem=1))
    """The task that stands for the node; Mesos takes no task without resources."""

    minion_command: str = "exec /opt/kubernetes-mesos/bin/km minion"
    executor_grace: float = 10.0
    """How long Mesos lets a minion clean up before it kills it."""

    cluster_dns: str = "10.10.10.10"
    cluster_domain: str = "cluster.local"
    node_labels: Mapping[str, str] = field(default_factory=_no_environment)
    """Labels that every node gets."""

    agent_labels: Mapping[str, Mapping[str, str]] = field(default_factory=_no_environment)
    """Labels that the node of an agent gets besides, by the agent's name. A running node gets new
    ones as it is."""

    node_version: str = ""
    """What running nodes were started with: km's version, Kubernetes' version and flags, digested.
    A node of another version is drained and started again, one at a time. Empty: never."""

    # Offers
    hold_seconds: float = 5.0
    """No offer is kept longer than this."""

    idle_hold_seconds: float = 0.0
    """How long offers are kept when nothing waits: 0 gives them back at once."""

    hold_factor: float = 4.0
    """Offers are held for this many times what waiting pods need in all."""

    hold_least: int = 32
    """So many offers may be held whatever the pods need (small clusters: all of them)."""

    refuse_unneeded: float = 3600.0
    """Filter on offers that nothing waits for; Revive lifts it when something does."""

    refuse_unfitting: float = 5.0
    """Filter on offers that fit none of the pods that wait."""

    gather_seconds: float = 0.015
    """Binds for one agent are gathered for so long and launched in one ACCEPT."""

    revive_interval: float = 0.1
    """At least so long between two Revives …"""

    revive_interval_per_agent: float = 0.0002
    """… and so much more per agent, since each makes the master look at all of them."""

    # Binding
    bind_seconds: float = 10.0
    """A bind that has not succeeded by then goes back to kube-scheduler's queue."""

    adopt_seconds: float = 60.0
    """A running pod without a task gets one within this time, or is deleted."""

    nudge_interval: float = 1.0
    """At least so long between two annotations that make kube-scheduler look again at pods."""

    # Nodes
    idle_seconds: float = 300.0
    """On demand, a node without pods leaves after this time."""

    plan_seconds: float = 0.1
    """Pods and offers are gathered for so long before nodes are chosen …"""

    plan_seconds_per_node: float = 0.0002
    """… and so much longer per node."""

    unschedulable_patience: float = 5.0
    """kube-scheduler called a pod unschedulable for so long though a node seems to have room:
    start another node for it."""

    unschedulable_patience_most: float = 60.0
    """If that was in vain, the patience doubles, up to this: nodes that nobody takes stay few."""

    start_seconds: float = 120.0
    """A node that is not Ready by then is shut down and tried again later."""

    start_backoff: float = 2.0
    """First pause after a node failed to start; doubles each time …"""

    start_backoff_most: float = 300.0
    """… up to this."""

    unreachable_seconds: float = 300.0
    """A node without pods whose agent the master lost is given up after this time; one with pods
    only when Mesos says that the agent is gone."""

    evict_retry_seconds: float = 5.0
    """Pause before an eviction that a disruption budget forbade is asked for again."""

    retry_seconds: float = 5.0
    """Pause before a call that failed or had no effect is made again."""

    inverse_refuse_seconds: float = 15.0
    """Mesos asks for an agent again after this time while its node drains."""

    maintenance_seconds: float = 30.0
    """Every agent is a node: so often is looked whether planned maintenance was called off."""

    # Truth
    list_interval: float = 15.0
    """GET_STATE so often, to see what others hold and that nobody's books differ …"""

    list_interval_per_agent: float = 0.003
    """… and so much less often per agent."""

    reconcile_first: float = 2.0
    """Unanswered explicit reconciliation is repeated after this time, doubling …"""

    reconcile_most: float = 60.0
    """… up to this."""

    implicit_interval: float = 900.0
    """All tasks are reconciled implicitly so often."""

    settle_seconds: float = 10.0
    """What Kubernetes and Mesos disagree about is repaired only when it is older than this."""

    def labels_of(self, agent: str) -> dict[str, str]:
        """The labels that settings give to an agent's node."""
        return {**self.node_labels, **self.agent_labels.get(agent, {})}
