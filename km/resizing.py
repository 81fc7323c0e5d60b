"""No pod outgrows its task: Mesos has no call that makes a task larger.

Within what its task has, a pod may be resized in place as Kubernetes likes. A resize beyond it, of
requests or of limits, is put back and the pod is told why. One that was made while km was away is
found by comparing; what the pod had before is known then only if it has a single container, and a
pod that can not be put back is evicted, so that its owner makes one with a task of the right size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from km.actions import EvictPod, RevertResize
from km.ledger import Task
from km.pods import Limits, Pod, Sizes, quantity
from km.resources import Resources
from km.timers import Alarm
from km.world import Reverted, World

MIB = 2**20


def seen(world: World, pod: Pod, old: Pod | None, task: Task) -> None:
    """A pod changed: put a resize back that is larger than its task."""
    changed = old is not None and (old.need, old.limits) != (pod.need, pod.limits)
    if not outgrown(world, pod, task):
        world.reverted.pop(pod.uid, None)
    elif changed and old is not None:
        world.counters["resizes.refused"] += 1
        _refuse(world, pod, task, _before(world, pod, old, task))


def compare(world: World, pod: Pod, task: Task) -> None:
    """Find what grew while nobody looked, or could not be put back."""
    reason = outgrown(world, pod, task)
    before = world.reverted.get(pod.uid)
    if not reason or Alarm("retry", retry_key(pod.uid)) in world.timers:
        return
    tried = before is not None and (before.need, before.limits) == (pod.need, pod.limits)
    if before is not None and tried and world.now - before.at < world.rules.settle_seconds:
        return
    world.counters["differences.pod_larger_than_task"] += 1
    _refuse(world, pod, task, None if tried else _as_the_task_has(pod, task))


def outgrown(world: World, pod: Pod, task: Task) -> str:
    """What the pod asks for that its task has not, in words; empty when it has all.

    What is counted for a pod that asks for nothing is a setting of km, and may have been another
    when the task was launched.
    """
    fits = task.resources.covers(pod.need)
    if fits and (task.limits is None or task.limits == pod.limits):  # all but always
        return ""
    default = world.rules.default_request
    need = Resources(
        0 if pod.need.cpus == default.cpus else pod.need.cpus,
        0 if pod.need.mem == default.mem else pod.need.mem,
        pod.need.disk,
        pod.need.gpus,
        pod.need.ports,
    )
    parts = [task.resources.shortfall(need)]
    if task.limits is not None:
        parts.append(task.limits.shortfall(pod.limits))
    return ", ".join(filter(None, parts))


def revert_again(world: World, action: RevertResize) -> None:
    """A resize could not be put back: try again, unless it was undone or the pod is going."""
    pod = world.pods.get(action.uid)
    if pod is None or pod.deleting or pod.finished:
        return
    for task in world.ledger.tasks_of(pod.uid):
        if outgrown(world, pod, task):
            _revert(world, pod, action)
            return


def not_reverted(world: World, action: RevertResize) -> None:
    """Kubernetes does not let the pod be put back."""
    pod = world.pods.get(action.uid)
    if pod is not None and not (pod.deleting or pod.finished):
        _evict(world, pod, action.reason)


def retry_key(uid: str) -> str:
    """Under which a failed revert is kept until it is made again."""
    return f"resize {uid}"


def _refuse(world: World, pod: Pod, task: Task, sizes: Sizes | None) -> None:
    short = outgrown(world, pod, task)
    message = f"can not be resized in place: its Mesos task has {short}; recreate it instead"
    world.tell(pod, "ResizeRefused", message, warning=True)
    if sizes is None:
        _evict(world, pod, message)
        return
    action = RevertResize(
        reason=message, uid=pod.uid, namespace=pod.namespace, name=pod.name, sizes=sizes
    )
    _revert(world, pod, action)


def _revert(world: World, pod: Pod, action: RevertResize) -> None:
    world.reverted[pod.uid] = Reverted(action, pod.need, pod.limits, world.now)
    world.do(action)


def _evict(world: World, pod: Pod, why: str) -> None:
    world.do(
        EvictPod(
            reason=f"{why}; it can not be put back",
            uid=pod.uid,
            namespace=pod.namespace,
            name=pod.name,
        )
    )


def _before(world: World, pod: Pod, old: Pod, task: Task) -> Sizes | None:
    """The sizes from before the first resize that was too large."""
    if not outgrown(world, old, task):
        return old.sizes
    before = world.reverted.get(pod.uid)
    return before.action.sizes if before is not None else _as_the_task_has(pod, task)


def _as_the_task_has(pod: Pod, task: Task) -> Sizes | None:
    """The sizes cut down to the task's, where that is no matter of choice; else None."""
    sizes = pod.sizes
    if len(sizes.containers) != 1 or sizes.sidecars or sizes.pod:
        return None
    ((name, resources),) = sizes.containers
    bound = task.limits or Limits()
    cut: dict[str, Any] = {
        **resources,
        "requests": _cut(resources.get("requests"), task.resources.cpus, task.resources.mem),
        "limits": _cut(resources.get("limits"), bound.cpus, bound.mem),
    }
    cut = {key: value for key, value in cut.items() if value}
    return None if cut == resources else Sizes(((name, cut),))


def _cut(amounts: Mapping[str, Any] | None, cpus: int | None, mem: int | None) -> dict[str, Any]:
    """Requests or limits with no more than so many thousandths of cpus and of MiB."""
    found = dict(amounts or {})
    if cpus is not None and quantity(str(found.get("cpu", 0))) * 1000 > cpus:
        found["cpu"] = f"{cpus}m"
    if mem is not None and quantity(str(found.get("memory", 0))) * 1000 > mem * MIB:
        found["memory"] = str(mem * MIB // 1000)
    return found
