"""A pod never outgrows its Mesos task, whoever resizes it and whenever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from km import actions as do
from km import events as on
from km.launches import pod_task
from km.ledger import Agent
from km.mesos_state import StateReader
from km.objects import Node
from km.offers import ExecutorRecord, TaskRecord
from km.pods import Limits, Pod, Sizes, pod_from_kubernetes
from km.resources import Resources
from tests.km.core.stage import Stage, of, offer, pod


def test_growing_a_pod_in_place_is_refused_with_the_reason(stage) -> None:
    containers = (("c", {"requests": {"cpu": "1"}}),)
    small = replace(pod("p"), sizes=Sizes(containers))
    stage.run_pod(small, "a")
    grown = replace(small, node="a", phase="Running", shape=pod("p", cpus=2).shape)

    (revert,) = of(stage.tell(on.PodSeen(pod=grown)), do.RevertResize)

    assert revert.sizes == small.sizes
    assert "1 of 2 cpus" in revert.reason


def test_shrinking_a_pod_in_place_is_fine(stage) -> None:
    stage.run_pod(pod("p"), "a")
    less = replace(pod("p", cpus=0.5), node="a", phase="Running")

    assert not of(stage.tell(on.PodSeen(pod=less)), (do.RevertResize, do.RecordEvent))


def test_a_resize_that_could_not_be_put_back_is_put_back_later(stage) -> None:
    small = pod("p", sizes=Sizes((("main", {"requests": {"cpu": "1"}}),)))
    stage.run_pod(small, "a")
    big = replace(small, node="a", phase="Running", shape=pod("p", cpus=3).shape)
    (revert,) = of(stage.tell(on.PodSeen(pod=big)), do.RevertResize)
    assert not of(stage.wait(10), do.RevertResize)
    stage.tell(on.CallFailed(action=revert, message="no answer", code=None))
    assert of(stage.wait(10), do.RevertResize) == [revert]

    stage.tell(on.CallFailed(action=revert, message="no answer", code=503))
    stage.tell(on.PodSeen(pod=replace(big, shape=small.shape)))
    assert not of(stage.wait(10), do.RevertResize), "it was undone meanwhile"
    stage.tell(on.CallFailed(action=revert, message="forbidden", code=403))
    assert not of(stage.wait(10), do.RevertResize)


# Limits


def bursting(mem: float | None, **more) -> Pod:
    """A pod with this memory limit."""
    limits = Limits(None, None if mem is None else round(mem * 1000))
    return pod(
        "p", limits=limits, sizes=Sizes((("c", {"limits": {"memory": f"{mem}Mi"}}),)), **more
    )


@pytest.mark.parametrize(("mem", "words"), [(512, "128 of 512 MiB"), (None, "128 of any MiB")])
def test_raising_a_limit_in_place_is_refused_as_well(stage, mem, words) -> None:
    stage.run_pod(bursting(128), "a")

    actions = stage.tell(on.PodSeen(pod=replace(bursting(mem), node="a", phase="Running")))

    (revert,) = of(actions, do.RevertResize)
    assert f"a limit of {words}" in revert.reason
    assert revert.sizes == bursting(128).sizes
    (event,) = of(actions, do.RecordEvent)
    assert (event.event, event.warning) == ("ResizeRefused", True)


@pytest.mark.parametrize(("before", "after"), [(128, 64), (None, 512)])
def test_lowering_a_limit_in_place_is_fine(stage, before, after) -> None:
    stage.run_pod(bursting(before), "a")

    assert not of(
        stage.tell(on.PodSeen(pod=replace(bursting(after), node="a", phase="Running"))),
        (do.RevertResize, do.RecordEvent),
    )


def test_a_resize_on_top_of_a_refused_one_is_put_back_to_the_first_size(stage) -> None:
    stage.run_pod(bursting(128), "a")
    for mem in (256, 512):
        seen = stage.tell(on.PodSeen(pod=replace(bursting(mem), node="a", phase="Running")))

    assert of(seen, do.RevertResize)[0].sizes == bursting(128).sizes


def test_what_kubernetes_does_not_put_back_is_evicted(stage) -> None:
    stage.run_pod(bursting(128), "a")
    grown = stage.tell(on.PodSeen(pod=replace(bursting(512), node="a", phase="Running")))
    (revert,) = of(grown, do.RevertResize)

    (evict,) = of(stage.tell(on.CallFailed(action=revert, message="no", code=422)), do.EvictPod)

    assert evict.uid == "p"


def test_what_was_put_back_without_effect_is_evicted(stage) -> None:
    """A request that was added in place can not be taken out again."""
    stage.run_pod(bursting(128), "a")
    stage.tell(on.PodSeen(pod=replace(bursting(512), node="a", phase="Running")))
    assert not of(stage.wait(9), (do.RevertResize, do.EvictPod))

    (evict,) = of(stage.wait(16), do.EvictPod)
    assert "128 of 512 MiB memory" in evict.reason


def test_a_pod_that_is_resized_before_its_launch_is_launched_as_it_is_then(stage) -> None:
    stage.bind(pod("p"), "a")
    stage.tell(on.PodSeen(pod=pod("p", cpus=2)))

    (accept,) = of(stage.offers(offer("o", "a")) + stage.wait(0.02), do.Accept)
    (task,) = stage.core.world.ledger.tasks_of("p")

    assert task.resources.cpus == 2000
    cpus = [r for r in accept.task_infos[0]["resources"] if r["name"] == "cpus"]
    assert cpus[0]["scalar"]["value"] == 2


# While km was away

NODE = Node(name="a", ready=True, provider_id="mesos://F/S-a")


def back(given: Pod, limits: Limits | None = None) -> tuple[Stage, list]:
    """km comes back; the pod's task has 1 cpu and 100 MiB."""
    info = {"executor_id": {"value": "km-a"}, "resources": []}
    size = {"node.a.4": Resources.of(cpus=0.01, mem=1), "pod.p.5": Resources.of(cpus=1, mem=100)}
    tasks = tuple(
        TaskRecord(task_id=name, agent_id="S-a", executor_id="km-a", state="TASK_RUNNING",
                   resources=amount, limits=limits if "pod" in name else None)
        for name, amount in size.items()
    )  # fmt: skip
    own = Resources.of(cpus=0.1, mem=192)
    executor = ExecutorRecord(executor_id="km-a", agent_id="S-a", info=info, resources=own)
    stage = Stage(agents=("a",))
    actions = stage.sync((given,), (NODE,), tasks=tasks, executors=(executor,))
    return stage, actions


def grown(*containers: dict, **more) -> Pod:
    spec = {"nodeName": "a", "containers": list(containers), **more}
    return pod_from_kubernetes(
        {"metadata": {"uid": "p", "name": "p"}, "spec": spec, "status": {"phase": "Running"}},
        Resources.of(cpus=0.01, mem=32),
    )


def box(requests: dict, limits: dict | None = None, name: str = "c") -> dict:
    return {
        "name": name,
        "resources": {"requests": requests, **({"limits": limits} if limits else {})},
    }


def test_a_resize_while_km_was_away_is_put_back_to_what_the_task_has() -> None:
    bound = Limits(1000, 200_000)
    large = grown(box({"cpu": "3", "memory": "100Mi"}, {"cpu": "3", "memory": "1Gi"}))

    stage, actions = back(large, bound)

    (revert,) = of(actions, do.RevertResize)
    ((name, resources),) = revert.sizes.containers
    assert (name, resources) == (
        "c",
        {
            "requests": {"cpu": "1000m", "memory": "100Mi"},
            "limits": {"cpu": "1000m", "memory": str(200 * 2**20)},
        },
    )
    assert stage.core.world.counters["differences.pod_larger_than_task"] == 1
    assert of(actions, do.RecordEvent)[0].event == "ResizeRefused"
    fits = grown({"name": name, "resources": resources})
    assert not of(
        stage.tell(on.PodSeen(pod=fits)) + stage.wait(100), (do.RevertResize, do.EvictPod)
    )


@pytest.mark.parametrize(
    "large",
    [
        grown(box({"cpu": "2"}), box({"cpu": "1"}, name="d")),
        grown(box({"cpu": "1"}), initContainers=[{**box({"cpu": "2"}), "restartPolicy": "Always"}]),
        grown(box({"cpu": "1"}), resources={"requests": {"cpu": "2"}}),
    ],
    ids=["two-containers", "sidecar", "pod-level"],
)
def test_where_it_is_a_matter_of_choice_what_to_take_away_the_pod_is_evicted(large) -> None:
    stage, actions = back(large)

    assert [evict.uid for evict in of(actions, do.EvictPod)] == ["p"]
    assert not of(actions, do.RevertResize)
    assert of(stage.wait(40), do.EvictPod), "a budget may have forbidden it"


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        pytest.param(grown(box({"cpu": "1", "memory": "100Mi"})), None, id="as-large"),
        pytest.param(grown(box({"cpu": "1"}, {"memory": "9Gi"})), None, id="limits-not-known"),
        pytest.param(grown(box({"cpu": "100m"}), box({}, name="d")), Limits(), id="smaller"),
    ],
)
def test_what_its_task_covers_is_left_alone(given, limits) -> None:
    if limits is None:
        given = replace(given, shape=pod("p").shape)
    _, actions = back(given, limits)

    assert not of(actions, (do.RevertResize, do.EvictPod, do.RecordEvent))


def test_a_larger_default_for_pods_that_ask_for_nothing_is_no_resize() -> None:
    """Their tasks have what was the default when they were launched."""
    stage, actions = back(replace(grown(box({})), shape=pod("p", cpus=0.01, mem=100).shape))
    assert not of(actions, (do.RevertResize, do.EvictPod))
    default = stage.core.world.rules.default_request
    assert default.cpus == 10

    (task,) = stage.core.world.ledger.tasks_of("p")
    task.resources = Resources.of(cpus=0.005, mem=100)
    assert not of(stage.wait(60), (do.RevertResize, do.EvictPod))


# What the next km knows of limits


@pytest.mark.parametrize("takes_limits", [True, False], ids=["as-limits", "as-labels"])
@pytest.mark.parametrize("limits", [Limits(), Limits(2000, None), Limits(1500, 128_000)])
def test_limits_are_read_back_from_mesos(takes_limits, limits) -> None:
    agent = Agent("S-a", "a")
    agent.takes_limits = takes_limits
    task = pod_task(pod("p", limits=limits), agent, "pod.p.1", {}, [])
    reader = StateReader("F")
    reader.add(("get_tasks", "tasks"), {**task, "framework_id": {"value": "F"}})

    assert reader.result().tasks[0].limits == limits


def test_tasks_of_others_and_of_nodes_have_no_limits() -> None:
    reader = StateReader("F")
    reader.add(
        ("get_tasks", "tasks"), {"task_id": {"value": "node.a.1"}, "framework_id": {"value": "F"}}
    )

    assert reader.result().tasks[0].limits is None
