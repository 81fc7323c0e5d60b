"""From the start of a node to its end, and who may call itself one."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import pairwise

import pytest

from km import actions as do
from km import events as on
from km.objects import AGENT_UNREACHABLE, CORDONED_BY_KM, VERSION_LABEL
from km.offers import InverseOffer, MesosState, TaskRecord
from km.pods import Shape
from km.resources import Resources
from km.rules import EVERY_AGENT, ON_DEMAND, Rules
from tests.km.core.stage import Stage, demand, launched, of, offer, pod

# Nodes


def test_on_demand_a_node_is_started_for_a_pod_and_not_before() -> None:
    stage = demand()
    assert not launched(stage.offers(offer("1", "a")) + stage.wait(1))
    stage.tell(on.PodSeen(pod=pod("p")))

    actions = stage.offers(offer("2", "a"), offer("3", "b")) + stage.wait(0.2)

    assert len(launched(actions)) == 1
    assert of(actions, do.Decline)[-1].reason == "no more nodes are needed"


def test_daemon_pods_start_no_nodes() -> None:
    stage = demand()
    stage.tell(on.PodSeen(pod=replace(pod("p"), daemon=True)))

    assert not launched(stage.offers(offer("2", "a")) + stage.wait(1))


def test_a_nodes_task_says_what_the_minion_needs() -> None:
    stage = Stage(Rules(nodes=EVERY_AGENT, node_version="v2", node_labels={"x": "y"}))
    stage.sync()
    attributes = [{"name": "rack", "type": "TEXT", "text": {"value": "r1"}}]
    (accept,) = of(stage.offers(offer("o", "a", attributes=attributes)), do.Accept)
    (info,) = accept.task_infos
    data = json.loads(base64.b64decode(info["data"]))

    assert info["task_id"]["value"] == "node.a.1001"
    assert info["executor"]["executor_id"]["value"] == "km-a"
    assert data["provider_id"] == "mesos://F/S-a"
    assert data["labels"] == {
        "k8s.mesosphere.io/attribute-rack": "r1", "x": "y", VERSION_LABEL: "v2"
    }  # fmt: skip
    assert "v2" not in json.dumps(info["executor"])


def test_an_agents_own_labels_are_its_nodes_and_the_kubelet_gets_those_it_may_set() -> None:
    own = {"tier": "db", "node-role.kubernetes.io/db": "", "example.com/rack": "r1"}
    stage = Stage(Rules(nodes=EVERY_AGENT, agent_labels={"a": own}))
    stage.sync()
    (accept,) = of(stage.offers(offer("o", "a")), do.Accept)
    (info,) = accept.task_infos
    data = json.loads(base64.b64decode(info["data"]))
    stage.task(info["task_id"]["value"])
    updates = of(stage.ready("a", labels=data["labels"]), do.UpdateNode)

    assert data["labels"] == {"tier": "db", "example.com/rack": "r1"}
    assert [update.labels for update in updates] == [{"node-role.kubernetes.io/db": ""}]


def test_a_node_is_started_on_the_agent_whose_labels_a_pod_wants() -> None:
    stage = demand(agent_labels={"b": {"tier": "db"}})
    shape = Shape(need=Resources.of(cpus=1, mem=100), selector=(("tier", "db"),))
    stage.tell(on.PodSeen(pod=replace(pod("p"), shape=shape)))

    actions = stage.offers(offer("1", "a"), offer("2", "b")) + stage.wait(1)

    assert [task_id.split(".")[1] for task_id in launched(actions)] == ["b"]


def idle(stage) -> str:
    """One node, started on demand, whose pod has ended."""
    stage.tell(on.PodSeen(pod=pod("p")))
    node = launched(stage.offers(offer("1", "a")) + stage.wait(0.2))[0]
    stage.task(node)
    stage.ready("a")
    task_id = stage.run_pod(pod("p"), "a")
    stage.tell(on.PodGone(uid="p"))
    stage.task(task_id, "TASK_KILLED")
    return node


def test_an_idle_node_is_cordoned_emptied_shut_down_and_deleted() -> None:
    stage = demand(idle_seconds=30)
    node = idle(stage)
    assert not of(stage.wait(29), do.ShutdownExecutor)

    actions = stage.wait(2)
    (update,) = [u for u in of(actions, do.UpdateNode) if u.unschedulable]
    assert update.annotations[CORDONED_BY_KM]
    assert of(actions, do.ShutdownExecutor)[0].executor_id == "km-a"

    (delete,) = of(stage.task(node, "TASK_FAILED"), do.DeleteNode)
    assert delete.node == "a"
    assert not stage.core.world.runs


def test_an_idle_node_stays_for_a_pod_that_waits_and_fits() -> None:
    stage = demand(idle_seconds=10)
    idle(stage)
    stage.tell(on.PodSeen(pod=pod("q")))

    assert not of(stage.wait(50), do.ShutdownExecutor)
    assert of(stage.wait(60), do.ShutdownExecutor)


def test_a_node_in_use_never_idles_out() -> None:
    stage = demand(idle_seconds=30)
    idle(stage)
    stage.run_pod(pod("q"), "a")

    assert not of(stage.wait(300), do.ShutdownExecutor)


def test_an_operators_cordon_is_never_undone(stage) -> None:
    actions = stage.ready("a", unschedulable=True) + stage.wait(60)

    assert not [u for u in of(actions, do.UpdateNode) if u.unschedulable is False]


def cordoned(stage) -> list:
    """The idle node's cordons and uncordons, and whether it left, in the next ten minutes."""
    actions = stage.wait(600)
    return [update.unschedulable for update in of(actions, do.UpdateNode)] + of(
        actions, do.ShutdownExecutor
    )


def test_a_node_that_an_operator_cordoned_does_not_leave_for_being_idle() -> None:
    stage = demand(idle_seconds=30)
    idle(stage)
    stage.ready("a", unschedulable=True)
    assert cordoned(stage) == []

    stage.ready("a")
    assert not of(stage.wait(29), do.ShutdownExecutor), "it is idle from now on"
    assert of(stage.wait(2), do.ShutdownExecutor)


def test_a_node_that_an_operator_cordoned_is_not_changed_for_a_new_version() -> None:
    stage = Stage(Rules(nodes=EVERY_AGENT, node_version="v2"))
    stage.up("a", "b")
    stage.ready("a", labels={VERSION_LABEL: "v1"}, unschedulable=True)
    stage.ready("b", labels={VERSION_LABEL: "v1"})

    assert [s.executor_id for s in of(stage.wait(20), do.ShutdownExecutor)] == ["km-b"]


def test_a_mark_of_ours_that_an_operators_uncordon_left_behind_is_taken_off(stage) -> None:
    (update,) = of(stage.ready("a", annotations={CORDONED_BY_KM: "idle"}), do.UpdateNode)

    assert (update.unschedulable, update.annotations) == (None, {CORDONED_BY_KM: None})


def test_an_uncordon_that_failed_is_not_made_again_once_an_operator_has_cordoned(stage) -> None:
    ours = {CORDONED_BY_KM: "idle"}
    (update,) = of(stage.ready("a", unschedulable=True, annotations=ours), do.UpdateNode)
    stage.tell(on.CallFailed(action=update, message="away"))
    assert [u.unschedulable for u in of(stage.wait(6), do.UpdateNode)] == [False]

    stage.tell(on.CallFailed(action=update, message="away"))
    stage.ready("a", unschedulable=True)
    assert not of(stage.wait(60), do.UpdateNode)


def test_a_cordon_that_failed_is_made_again(stage) -> None:
    stage.run_pod(pod("p"), "a")
    (update,) = of(drained_by_mesos(stage), do.UpdateNode)
    stage.tell(on.CallFailed(action=update, message="away"))

    (again,) = of(stage.wait(6), do.UpdateNode)
    assert (again.unschedulable, again.annotations) == (True, update.annotations)


def test_a_taint_that_failed_is_put_on_again_while_it_is_meant(stage) -> None:
    (update,) = of(stage.task("node.a.1001", "TASK_UNREACHABLE"), do.UpdateNode)
    stage.tell(on.CallFailed(action=update, message="away"))
    assert of(stage.wait(6), do.UpdateNode)[0].add_taints == (AGENT_UNREACHABLE,)

    stage.task("node.a.1001", "TASK_RUNNING")
    assert not of(stage.wait(60), do.UpdateNode)


def test_room_that_could_not_be_told_of_is_told_of_with_the_next_offer(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p", unschedulable="0/2")))
    (update,) = of(stage.offers(offer("o", "a")), do.UpdateNode)
    stage.tell(on.CallFailed(action=update, message="away"))
    stage.tell(on.OfferRescinded(offer_id="o"))

    assert of(stage.offers(offer("o2", "a")) + stage.wait(1), do.UpdateNode)


def drained_by_mesos(stage) -> list:
    return stage.task(stage.core.world.runs["a"].task_id, "TASK_KILLING")


def test_our_own_cordon_is_undone_when_it_is_no_longer_meant(stage) -> None:
    actions = stage.ready("a", unschedulable=True, annotations={CORDONED_BY_KM: "idle"})

    assert [u.unschedulable for u in of(actions, do.UpdateNode)] == [False]


def test_maintenance_drains_through_evictions_and_agrees_when_empty(stage) -> None:
    stage.run_pod(pod("p"), "a")
    inverse = InverseOffer(id="i", agent_id="S-a", hostname="a", starts_at=0, seconds=None)

    actions = stage.tell(on.InverseOffersReceived(inverse_offers=(inverse,)))
    (evict,) = of(actions, do.EvictPod)
    assert evict.uid == "p"
    assert of(actions, do.DeclineInverse)
    stage.tell(on.CallFailed(action=evict, message="budget", code=429))
    assert of(stage.wait(6), do.EvictPod)

    assert of(stage.tell(on.PodGone(uid="p")), do.ShutdownExecutor)
    stage.tell(on.ExecutorExited(agent_id="S-a", executor_id="km-a", status=0))
    actions = stage.tell(on.InverseOffersReceived(inverse_offers=(inverse,)))
    assert of(actions, do.AcceptInverse)
    assert not launched(stage.offers(offer("x", "a", unavailability={"start": {}})))


def test_an_agent_that_mesos_drains_is_emptied_through_evictions(stage) -> None:
    stage.run_pod(pod("p"), "a")
    node = stage.core.world.runs["a"].task_id

    actions = stage.task(node, "TASK_KILLING") + stage.wait(1)
    assert of(actions, do.UpdateNode)[0].unschedulable
    assert [evict.uid for evict in of(actions, do.EvictPod)] == ["p"]
    assert not of(actions, (do.KillTask, do.ShutdownExecutor, do.DeletePod))
    gone = stage.tell(on.PodGone(uid="p"))

    assert of(gone, do.ShutdownExecutor)[0].executor_id == "km-a"
    assert of(stage.task(node, "TASK_KILLED"), do.DeleteNode)[0].node == "a"


def test_an_agent_that_was_out_of_reach_when_mesos_began_to_drain_it_is_emptied(stage) -> None:
    stage.run_pod(pod("p"), "a")
    stage.task("node.a.1001", "TASK_UNREACHABLE")

    assert [evict.uid for evict in of(drained_by_mesos(stage), do.EvictPod)] == ["p"]
    assert stage.core.world.runs["a"].phase == "draining"


def test_an_agent_that_the_master_lists_as_draining_is_emptied(stage) -> None:
    stage.run_pod(pod("p"), "a")
    first, *others = stage.agents
    state = stage.core.world
    tasks = tuple(
        TaskRecord(task_id=task.id, agent_id=task.agent_id, executor_id="km-a", state=task.state,
                   resources=task.resources)
        for task in state.ledger.tasks.values()
    )  # fmt: skip
    listed = MesosState(agents=(replace(first, draining=True), *others), tasks=tasks, executors=())

    assert of(stage.tell(on.MesosListed(state=listed, asked_at=stage.now)), do.EvictPod)


def test_a_node_that_ran_out_of_its_grace_period_is_no_failure_of_its_agent(stage) -> None:
    stage.run_pod(pod("p"), "a")
    node = stage.core.world.runs["a"].task_id
    stage.task(node, "TASK_KILLING")

    assert of(stage.task(node, "TASK_KILLED"), do.DeletePod)[0].uid == "p"
    assert stage.core.world.ledger.agents["S-a"].failures == 0


def test_an_unreachable_agent_is_tainted_at_once_and_its_pods_are_kept(stage) -> None:
    stage.run_pod(pod("p"), "a")

    actions = stage.task("node.a.1001", "TASK_UNREACHABLE")
    assert of(actions, do.UpdateNode)[0].add_taints == (AGENT_UNREACHABLE,)
    actions = stage.wait(7200)
    assert not of(actions, (do.DeletePod, do.DeleteNode, do.EvictPod, do.KillTask))
    (event,) = of(actions, do.RecordEvent)
    assert "MARK_AGENT_GONE" in event.reason
    assert stage.core.world.runs["a"].why == event.reason


@pytest.mark.parametrize("state", ["TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN"])
@pytest.mark.parametrize("waited", [1, 1000])
def test_an_unreachable_agent_that_mesos_calls_gone_is_given_up_at_once(
    stage, state, waited
) -> None:
    stage.run_pod(pod("p"), "a")
    stage.task("node.a.1001", "TASK_UNREACHABLE")
    stage.wait(waited)

    actions = stage.task("node.a.1001", state)
    assert of(actions, do.DeleteNode)[0].node == "a"
    assert of(actions, do.DeletePod)[0].grace_seconds == 0


def test_an_unreachable_node_without_pods_is_given_up_after_a_time(stage) -> None:
    stage.task("node.a.1001", "TASK_UNREACHABLE")

    assert not of(stage.wait(290), do.DeleteNode)
    assert of(stage.wait(20), do.DeleteNode)[0].node == "a"


@pytest.mark.parametrize("active", [True, False])
def test_a_host_that_is_back_as_another_agent_has_not_kept_its_pods(stage, active) -> None:
    stage.run_pod(pod("p"), "a")
    stage.task("node.a.1001", "TASK_UNREACHABLE")
    other = replace(stage.agents[0], id="S-new", active=active)
    stage.tell(on.AgentAdded(agent=other))

    assert not of(stage.wait(290), do.DeletePod), "it may be a mistake: there is time"
    assert bool(of(stage.wait(140), (do.DeletePod, do.DeleteNode))) == active


def test_an_agent_that_comes_back_in_time_keeps_its_pods(stage) -> None:
    stage.run_pod(pod("p"), "a")
    stage.task("node.a.1001", "TASK_UNREACHABLE")
    stage.ready("a", taints=(AGENT_UNREACHABLE,))

    actions = stage.task("node.a.1001", "TASK_RUNNING") + stage.wait(600)

    assert AGENT_UNREACHABLE in of(actions, do.UpdateNode)[0].remove_taints
    assert not of(actions, (do.DeletePod, do.DeleteNode))


@pytest.mark.parametrize(
    "event",
    [
        on.ExecutorExited(agent_id="S-a", executor_id="km-a", status=9),
        pytest.param("TASK_GONE", id="agent-gone"),
        pytest.param("TASK_FAILED", id="task-failed"),
    ],
)
def test_a_dead_executor_costs_its_node_and_its_pods_at_once(stage, event) -> None:
    stage.run_pod(pod("p"), "a")

    actions = stage.task("node.a.1001", event) if isinstance(event, str) else stage.tell(event)

    assert of(actions, do.DeleteNode)[0].node == "a"
    assert of(actions, do.DeletePod)[0].uid == "p"


@pytest.mark.parametrize("nodes", [ON_DEMAND, EVERY_AGENT])
def test_no_node_is_started_while_the_one_before_is_being_deleted(nodes) -> None:
    """The new kubelet would go on with the old Node, which then goes."""
    stage = Stage(Rules(nodes=nodes, start_backoff=0.1), agents=("a",))
    stage.sync()
    stage.tell(on.PodSeen(pod=pod("p")))
    node = launched(stage.offers(offer("1", "a")) + stage.wait(1))[0]
    stage.task(node)
    stage.ready("a", uid="first")
    (delete,) = of(stage.task(node, "TASK_FAILED"), do.DeleteNode)
    assert delete.uid == "first"
    assert not launched(stage.wait(1) + stage.offers(offer("2", "a")) + stage.wait(3))

    actions = stage.tell(on.NodeGone(name="a")) + stage.wait(1)
    assert of(actions, do.Revive)
    assert launched(stage.offers(offer("3", "a")) + stage.wait(1))[0].startswith("node.a.")


def test_the_end_of_an_executor_that_is_told_late_is_not_that_of_the_next_one(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("p")))
    stage.offers(offer("o", "a"))
    stage.tell(on.NodeGone(name="a"))
    (again,) = launched(stage.task("node.a.1001", "TASK_FAILED"))

    stage.tell(on.ExecutorExited(agent_id="S-a", executor_id="km-a", status=0))

    assert stage.core.world.runs["a"].task_id == again
    stage.task(again, "TASK_FAILED")
    assert "a" not in stage.core.world.runs


def test_a_node_that_keeps_failing_is_tried_less_and_less_often() -> None:
    stage = Stage(agents=("a",))
    stage.sync()
    starts = []
    for number in range(200):
        actions = stage.offers(offer(f"o{number}", "a")) + stage.wait(1)
        for task_id in launched(actions):
            starts.append(stage.now)
            stage.task(task_id, "TASK_FAILED")

    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert len(starts) < 10
    assert gaps == sorted(gaps)


def test_a_change_goes_through_the_nodes_one_by_one() -> None:
    stage = Stage(Rules(nodes=EVERY_AGENT, node_version="v2"))
    stage.up("a", "b")
    for host in "ab":
        stage.ready(host, labels={VERSION_LABEL: "v1"})
        stage.core.world.runs[host].version = "v1"

    actions = stage.wait(30)
    assert [s.executor_id for s in of(actions, do.ShutdownExecutor)][:1] == ["km-a"]
    assert stage.core.world.runs["b"].phase == "ready"

    stage.task(stage.core.world.runs["a"].task_id, "TASK_FAILED")
    stage.tell(on.NodeGone(name="a"))
    stage.task(launched(stage.offers(offer("n", "a")) + stage.wait(3))[0])
    stage.ready("a", labels={VERSION_LABEL: "v2"})

    assert of(stage.wait(30), do.ShutdownExecutor)[0].executor_id == "km-b"


def test_maintenance_that_is_called_off_makes_the_agent_a_node_again(stage) -> None:
    inverse = InverseOffer(id="i", agent_id="S-a", hostname="a", starts_at=0, seconds=None)
    stage.tell(on.InverseOffersReceived(inverse_offers=(inverse,)))
    stage.tell(on.ExecutorExited(agent_id="S-a", executor_id="km-a", status=0))
    stage.tell(on.NodeGone(name="a"))
    assert of(stage.wait(25), do.Revive) == []
    assert of(stage.wait(10), do.Revive), "nobody tells, so km looks"

    planned = offer("still", "a", unavailability={"start": {"nanoseconds": 1}})
    assert not of(stage.offers(planned) + stage.wait(1), do.Accept)
    assert of(stage.wait(35), do.Revive)
    actions = stage.offers(offer("free", "a")) + stage.wait(1)
    assert launched(actions)[0].startswith("node.a.")
    assert not of(stage.wait(100), do.Revive)
