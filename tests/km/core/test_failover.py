"""What the core finds when it comes back, and what it believes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from km import actions as do
from km import events as on
from km.objects import CORDONED_BY_KM, Node
from km.offers import AgentRecord, ExecutorRecord, InverseOffer, MesosState, TaskRecord
from km.resources import Resources
from km.rules import EVERY_AGENT, ON_DEMAND, Rules
from tests.km.core.stage import Stage, launched, of, offer, pod

# Failover and truth


def running(pods: tuple[str, ...] = ("p",)):
    """What Mesos lists when km comes back: a node and these pods' tasks."""
    info = {"executor_id": {"value": "km-a"}, "resources": []}
    tasks = [
        TaskRecord(task_id=f"pod.{uid}.5", agent_id="S-a", executor_id="km-a",
                   state="TASK_RUNNING", resources=Resources.of(cpus=1, mem=100))
        for uid in pods
    ]  # fmt: skip
    tasks.append(
        TaskRecord(task_id="node.a.4", agent_id="S-a", executor_id="km-a", state="TASK_RUNNING",
                   resources=Resources.of(cpus=0.01, mem=1))
    )  # fmt: skip
    executor = ExecutorRecord(
        executor_id="km-a", agent_id="S-a", info=info, resources=Resources.of(cpus=0.1, mem=192)
    )
    return {"tasks": tuple(tasks), "executors": (executor,)}


NODE = Node(name="a", ready=True, provider_id="mesos://F/S-a")


def test_after_a_restart_everything_goes_on() -> None:
    stage = Stage(agents=("a",))

    actions = stage.sync((replace(pod("p"), node="a", phase="Running"),), (NODE,), **running())
    actions += stage.wait(5)

    assert not of(actions, (do.KillTask, do.DeletePod, do.DeleteNode, do.ShutdownExecutor))
    assert stage.core.world.runs["a"].phase == "ready"
    assert stage.core.world.ledger.agents["S-a"].free == Resources.of(cpus=2.89, mem=3707)


def test_other_defaults_than_before_are_no_resize_of_the_pods_that_run() -> None:
    more = Resources.of(cpus=2, mem=500)
    stage = Stage(Rules(nodes=EVERY_AGENT, default_request=more), agents=("a",))
    mine = replace(pod("p", cpus=2, mem=500), node="a", phase="Running")

    actions = stage.sync((mine,), (NODE,), **running()) + stage.wait(60)

    assert not of(actions, (do.RecordEvent, do.RevertResize, do.KillTask, do.EvictPod))
    assert stage.core.world.counters["resizes.refused"] == 0


def test_a_task_whose_pod_is_gone_is_killed_after_a_restart() -> None:
    stage = Stage(agents=("a",))

    actions = stage.sync((), (NODE,), **running())

    assert [kill.task_id for kill in of(actions, do.KillTask)] == ["pod.p.5"]


def test_a_task_whose_pod_was_never_bound_is_killed_after_a_restart() -> None:
    stage = Stage(agents=("a",))

    actions = stage.sync((pod("p"),), (NODE,), **running())

    assert [kill.task_id for kill in of(actions, do.KillTask)] == ["pod.p.5"]


def test_a_running_pod_without_a_task_gets_one_with_the_running_executors_info() -> None:
    stage = Stage(agents=("a",))
    state = running(())
    stage.sync((replace(pod("p"), node="a", phase="Running"),), (NODE,), **state)

    (accept,) = of(stage.offers(offer("o", "a", cpus=2)) + stage.wait(0.1), do.Accept)
    (info,) = accept.task_infos
    actions = stage.task(info["task_id"]["value"])

    assert info["executor"] is state["executors"][0].info
    assert not of(actions, do.BindPod)
    assert stage.core.world.counters["pods.adopted"] == 1


def test_numbers_of_tasks_grow_also_when_the_clock_went_back() -> None:
    stage = Stage(agents=("a",))
    ahead = running(())
    (node,) = ahead["tasks"]
    state = {**ahead, "tasks": (replace(node, task_id="node.a.5000"),)}
    stage.sync((replace(pod("p"), node="a", phase="Running"),), (NODE,), **state)

    assert launched(stage.offers(offer("o", "a", cpus=2)) + stage.wait(0.1)) == ["pod.p.5001"]


def test_a_running_pod_that_gets_no_task_is_deleted() -> None:
    stage = Stage(agents=("a",))
    stage.sync((replace(pod("p"), node="a", phase="Running"),), (NODE,), **running(()))

    assert of(stage.wait(61), do.DeletePod)[0].uid == "p"


def test_an_agent_that_is_back_after_a_failover_is_looked_at_before_anything_is_started() -> None:
    stage = Stage(agents=("b",))
    pods = (replace(pod("p"), node="a", phase="Running"), pod("waits"))
    stage.sync(pods, (NODE,), recovering=frozenset({"S-a"}))

    back = stage.offers(offer("o", "a", executor_ids=[{"value": "km-a"}])) + stage.wait(0.2)
    assert of(back, do.ListMesos)
    assert launched(back) == []
    listed = MesosState(agents=Stage(agents=("a", "b")).agents, **running())
    after = stage.tell(on.MesosListed(state=listed, asked_at=stage.now)) + stage.wait(30)

    assert stage.core.world.runs["a"].phase == "ready"
    assert not of(back + after, (do.DeletePod, do.DeleteNode, do.KillTask, do.ShutdownExecutor))


def test_an_agent_that_a_new_master_waited_for_is_looked_at_when_it_is_back() -> None:
    stage = Stage(agents=("b",))
    stage.sync((), (NODE,), recovering=frozenset({"S-a"}))
    back = AgentRecord(id="S-a", hostname="a", total=Resources.of(cpus=4, mem=4000))

    assert of(stage.tell(on.AgentAdded(agent=back)) + stage.wait(1.1), do.ListMesos)


def test_an_agent_that_was_added_is_not_forgotten_for_an_older_list() -> None:
    stage = Stage(agents=("b",))
    stage.sync()
    asked_at, new = stage.now, AgentRecord(id="S-a", hostname="a", total=Resources.of(cpus=4))
    stage.tell(on.AgentAdded(agent=new))
    without = MesosState(agents=stage.agents, tasks=(), executors=())

    stage.tell(on.MesosListed(state=without, asked_at=asked_at))
    assert stage.core.totals()["agents"] == 2
    stage.tell(on.MesosListed(state=without, asked_at=stage.now + 1))
    assert stage.core.totals()["agents"] == 1


def test_an_offer_from_before_an_executor_ended_says_nothing_about_the_next(stage) -> None:
    stage.tell(on.PodSeen(pod=pod("waits")))
    stage.offers(offer("o", "a", executor_ids=[{"value": "km-a"}]))
    stage.tell(on.ExecutorExited(agent_id="S-a", executor_id="km-a", status=9))
    stage.tell(on.NodeGone(name="a"))

    assert launched(stage.wait(3))[0].startswith("node.a.")


def test_an_offer_that_comes_together_with_an_executors_end_tells_of_the_next(stage) -> None:
    """After a reconnection many events come in one moment, in their order."""
    stage.tell(on.PodSeen(pod=pod("waits")))
    stage.tell(on.ExecutorExited(agent_id="S-b", executor_id="km-b", status=9))
    both = offer("o", "b", executor_ids=[{"value": "km-b"}])

    actions = stage.tell(on.OffersReceived(offers=(both,)), after=0) + stage.wait(3)

    assert not launched(actions)
    assert of(actions, do.ListMesos)


@pytest.mark.parametrize("nodes", [EVERY_AGENT, ON_DEMAND])
@pytest.mark.parametrize("end", ["told", "listed"])
def test_no_node_is_started_beside_an_executor_that_lost_its_node(nodes, end) -> None:
    """A pod's launch may have started an executor anew whose node's task is gone."""
    stage = Stage(Rules(nodes=nodes), agents=("a",))
    state = running(())
    actions = stage.sync((pod("waits"),), (), **{**state, "tasks": ()})
    assert [s.executor_id for s in of(actions, do.ShutdownExecutor)] == ["km-a"]
    info = [{"value": "km-a"}]
    assert not launched(stage.offers(offer("1", "a", executor_ids=info)) + stage.wait(6))
    assert "executor without a node" in stage.core.view()["nodes"][0]["why"]

    if end == "told":
        stage.tell(on.ExecutorExited(agent_id="S-a", executor_id="km-a", status=0))
    else:
        empty = MesosState(agents=stage.agents, tasks=(), executors=())
        stage.tell(on.MesosListed(state=empty, asked_at=stage.now))
    assert launched(stage.offers(offer("2", "a")) + stage.wait(1))[0].startswith("node.a.")


def test_a_node_that_is_not_ready_when_km_comes_back_keeps_its_pods() -> None:
    stage = Stage(agents=("a",))
    state = running()

    actions = stage.sync(
        (replace(pod("p"), node="a", phase="Running"),), (replace(NODE, ready=False),), **state
    )
    actions += stage.wait(600)

    assert not of(actions, (do.KillTask, do.DeletePod, do.DeleteNode, do.ShutdownExecutor))


# Failover in the middle of DRAIN_AGENT

OURS = replace(NODE, unschedulable=True, annotations={CORDONED_BY_KM: "Mesos drains the agent"})
GUEST = replace(pod("p"), node="a", phase="Running")
DRAINED = AgentRecord(id="S-a", hostname="a", total=Resources.of(cpus=4, mem=4000), draining=True)


def cordons(actions: list) -> list:
    return [update.unschedulable for update in of(actions, do.UpdateNode)]


@pytest.mark.parametrize("node", [NODE, OURS], ids=["not-cordoned", "cordoned-by-us"])
def test_a_node_on_an_agent_that_is_drained_stays_cordoned(node) -> None:
    stage = Stage(agents=("a",))

    actions = stage.sync((GUEST,), (node,), **{**running(), "agents": (DRAINED,)})
    actions += stage.tell(on.NodeSeen(node=OURS)) + stage.wait(30)

    assert cordons(actions) == ([] if node is OURS else [True])
    assert of(actions, do.EvictPod)[0].uid == "p"
    assert not of(actions, do.ShutdownExecutor)


def test_a_draining_node_that_somebody_uncordoned_is_cordoned_again() -> None:
    stage = Stage(agents=("a",))
    stage.sync((GUEST,), (OURS,), **{**running(), "agents": (DRAINED,)})

    assert cordons(stage.tell(on.NodeSeen(node=NODE)) + stage.wait(4)) == [True]


def killing(state: dict) -> tuple[TaskRecord, ...]:
    """The same tasks, the node's told to end."""
    return tuple(
        replace(task, state="TASK_KILLING") if task.task_id.startswith("node.") else task
        for task in state["tasks"]
    )


def test_a_node_whose_task_is_listed_as_ending_is_drained() -> None:
    stage = Stage(agents=("a",))
    state = running()

    actions = stage.sync((GUEST,), (NODE,), **{**state, "tasks": killing(state)})

    assert cordons(actions) == [True]
    assert of(actions, do.EvictPod)[0].uid == "p"


def test_that_a_nodes_task_ends_may_be_learned_from_a_later_list() -> None:
    stage = Stage(agents=("a",))
    state = running()
    stage.sync((GUEST,), (NODE,), **state)
    later = MesosState(agents=stage.agents, **{**state, "tasks": killing(state)})

    actions = stage.tell(on.MesosListed(state=later, asked_at=stage.now))

    assert of(actions, do.EvictPod)[0].uid == "p"


def test_a_node_is_not_taken_for_empty_before_the_pods_are_known() -> None:
    stage = Stage(agents=("a",))
    stage.tell(on.Subscribed(framework_id="F"))
    stage.tell(on.NodesListed(nodes=(NODE,)))
    state = MesosState(**{**running(), "agents": (DRAINED,)})
    actions = stage.tell(on.MesosListed(state=state, asked_at=stage.now))
    assert not actions

    actions = stage.tell(on.PodsListed(pods=(GUEST,))) + stage.wait(30)
    assert of(actions, do.EvictPod)[0].uid == "p"
    assert not of(actions, do.ShutdownExecutor)


def test_nobody_is_told_that_an_agent_may_go_before_it_is_known_what_runs_there() -> None:
    stage = Stage(agents=("a",))
    stage.tell(on.Subscribed(framework_id="F"))
    inverse = InverseOffer(id="i", agent_id="S-a", hostname="a", starts_at=0, seconds=None)

    actions = stage.tell(on.InverseOffersReceived(inverse_offers=(inverse,)))

    assert not of(actions, do.AcceptInverse)
    assert of(actions, do.DeclineInverse)[0].refuse_seconds == 15


def test_a_new_term_asks_for_every_task_by_name() -> None:
    stage = Stage(agents=("a",))

    (asked,) = of(stage.sync((GUEST,), (NODE,), **running()), do.Reconcile)

    assert {task for task, _ in asked.tasks} == {"pod.p.5", "node.a.4"}


def test_a_node_object_without_an_executor_is_deleted_with_its_pods() -> None:
    stage = Stage(agents=("a",))

    actions = stage.sync((replace(pod("p"), node="a"),), (NODE,))

    assert of(actions, do.DeleteNode)[0].node == "a"
    assert of(actions, do.DeletePod)[0].uid == "p"


def test_a_node_is_left_alone_while_a_new_master_waits_for_its_agent() -> None:
    stage = Stage(agents=())

    actions = stage.sync((replace(pod("p"), node="a"),), (NODE,), recovering=frozenset({"S-a"}))

    assert not of(actions + stage.wait(60), (do.DeleteNode, do.DeletePod))


def test_nodes_that_are_not_ours_are_left_alone(stage) -> None:
    stage.tell(on.NodeSeen(node=Node(name="metal-1", ready=True, provider_id="aws:///i-1")))
    stage.tell(on.PodSeen(pod=replace(pod("p"), node="metal-1", phase="Running")))

    assert not of(stage.wait(120), (do.DeleteNode, do.DeletePod, do.UpdateNode))


def test_tasks_that_mesos_does_not_list_are_asked_for_by_name_first(stage) -> None:
    task_id = stage.run_pod(pod("p"), "a")
    stage.wait(20)
    state = MesosState(agents=stage.agents, tasks=(), executors=())

    actions = stage.tell(on.MesosListed(state=state, asked_at=stage.now))

    assert task_id in [task for task, _ in of(actions, do.Reconcile)[0].tasks]
    assert not of(actions, do.DeletePod)


def test_reconciliation_backs_off_until_every_task_is_confirmed(stage) -> None:
    task_id = stage.run_pod(pod("p"), "a")
    stage.tell(on.Disconnected(reason="cut"))
    stage.tell(on.Subscribed(framework_id="F"))
    asked = of(stage.wait(31), do.Reconcile)
    assert len(asked) == 4

    for known in [task_id, "node.a.1001"]:
        stage.task(known)
    stage.task("node.b.1002", host="b")
    assert not [r for r in of(stage.wait(60), do.Reconcile) if r.tasks]


def test_another_framework_id_means_that_all_is_gone(stage) -> None:
    stage.run_pod(pod("p"), "a")

    actions = stage.tell(on.Subscribed(framework_id="F2"))

    assert {delete.node for delete in of(actions, do.DeleteNode)} == {"a", "b"}
    assert of(actions, do.DeletePod)[0].uid == "p"


def test_every_update_with_a_uuid_is_acknowledged_even_of_unknown_tasks(stage) -> None:
    assert of(stage.task("pod.nobody.1"), do.Acknowledge)
