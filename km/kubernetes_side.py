"""What Kubernetes' events do to the books and whom they concern."""

from __future__ import annotations

from km import binding, lifecycle, reconcile, resizing, serving
from km.events import NodesListed, PodsListed
from km.mesos_side import became_synced
from km.objects import Node
from km.pods import Pod
from km.timers import Alarm
from km.world import DRAINING, READY, STARTING, World

CONFIRMED_WITHIN = 60.0
"""So long a pod counts that only kube-scheduler has told of: far longer than watches lag behind."""

# Pods ---------------------------------------------------------------------------------------------


def pods_listed(world: World, event: PodsListed) -> None:
    first = not world.synced
    present = {pod.uid for pod in event.pods}
    for uid in [uid for uid in world.pods if uid not in present]:
        pod_gone(world, uid)
    for pod in event.pods:
        pod_told(world, pod)
    world.listed["pods"] = True
    if first and world.synced:
        became_synced(world)


def pod_told(world: World, pod: Pod) -> None:
    """The watch or a list has a pod: so it is there."""
    if pod.uid in world.heard_of:
        world.heard_of.discard(pod.uid)
        world.timers.clear(Alarm("heard", pod.uid))
    pod_seen(world, pod)


def pod_heard_of(world: World, pod: Pod) -> None:
    """kube-scheduler asks about a pod: its watch may be faster than ours, or slower.

    A pod whose end we were told is not taken in again: it would wait, have nodes started and offers
    held, until the next list.
    """
    if pod.uid in world.pods or world.ended_lately(pod.uid):
        return
    world.heard_of.add(pod.uid)
    world.timers.set(Alarm("heard", pod.uid), world.now + CONFIRMED_WITHIN)
    pod_seen(world, pod)


def not_confirmed(world: World, uid: str) -> None:
    """Our watch never told of a pod that kube-scheduler asked about: it was gone before."""
    if uid in world.heard_of:
        pod_gone(world, uid)


def pod_seen(world: World, pod: Pod) -> None:
    """A pod is new or has changed."""
    old = world.pods.get(pod.uid)
    if old == pod:
        return
    if old is not None:
        world.unwait(old)
        _off_node(world, old)
    world.pods[pod.uid] = pod
    if pod.node and not pod.finished:
        world.on_node.setdefault(pod.node, {})[pod.uid] = pod
    _note_verdict(world, pod)
    if pod.finished:
        _end(world, pod, f"its pod {pod.phase.lower()}")
    elif pod.uid in world.binds:
        _seen_on_the_way(world, pod)
    elif pod.node:
        _seen_on_node(world, pod, old)
    else:
        _seen_waiting(world, pod, old)
    for name in {pod.node, old.node if old else ""} - {""}:
        _look_at_node(world, name)


def _off_node(world: World, pod: Pod) -> None:
    group = world.on_node.get(pod.node)
    if group is not None:
        group.pop(pod.uid, None)
        if not group:
            del world.on_node[pod.node]


def _note_verdict(world: World, pod: Pod) -> None:
    if pod.waits and pod.unschedulable:
        world.unschedulable_since.setdefault(pod.uid, world.now)
    else:
        world.unschedulable_since.pop(pod.uid, None)
    if not pod.waits:
        world.rejected.pop(pod.uid, None)
        world.told.pop(pod.uid, None)


def _seen_on_the_way(world: World, pod: Pod) -> None:
    """A pod changed while it is being bound."""
    bind = world.binds[pod.uid]
    if bind.adopts and pod.node == bind.node:
        binding.changed(world, bind, pod)
    elif pod.node and pod.node == bind.node:
        # The watch may be faster than the answer to our own call.
        binding.bound(world, pod.uid)
    elif pod.node or pod.deleting:
        where = f"it was bound to {pod.node}" if pod.node else "it is being deleted"
        binding.fail(world, bind, where)
    else:
        binding.changed(world, bind, pod)


def _seen_on_node(world: World, pod: Pod, old: Pod | None) -> None:
    for task in world.ledger.tasks_of(pod.uid):
        task.bound = True
        world.timers.clear(Alarm("confirm", task.id))
        resizing.seen(world, pod, old, task)
    if old is None or old.node != pod.node:
        reconcile.compare_pod(world, pod)


def _seen_waiting(world: World, pod: Pod, old: Pod | None) -> None:
    world.note_waiting(pod)
    group = world.waiting.get(pod.shape)
    if group is None or pod.uid not in group:
        return
    if old is None or not old.waits:
        world.want_offers(f"{pod.full_name} waits")
        world.plan_soon()
    elif pod.unschedulable and not old.unschedulable:
        world.plan_soon()


def pod_gone(world: World, uid: str) -> None:
    """A pod's object is deleted: nothing of it runs any more."""
    pod = world.pods.pop(uid, None)
    if pod is None or not pod.node:  # of others kube-scheduler does not ask
        world.note_ended(uid)
    if pod is None:
        return
    world.heard_of.discard(uid)
    world.unwait(pod)
    _off_node(world, pod)
    world.rejected.pop(uid, None)
    world.unschedulable_since.pop(uid, None)
    world.reverted.pop(uid, None)
    world.told.pop(uid, None)
    _end(world, pod, "its pod is gone")
    if pod.node:
        _look_at_node(world, pod.node)


def _end(world: World, pod: Pod, why: str) -> None:
    bind = world.binds.get(pod.uid)
    if bind is not None:
        if pod.node == bind.node and not bind.adopts:
            # It was bound and has ended before the answer to our own call came.
            binding.bound(world, pod.uid)
        else:
            bind.pod = pod
            binding.fail(world, bind, why)
    for task in world.ledger.tasks_of(pod.uid):
        if not task.killing:
            binding.kill(world, task, why)


def _look_at_node(world: World, name: str) -> None:
    run = world.runs.get(name)
    if run is None:
        return
    if run.phase == READY:
        lifecycle.look_idle(world, run)
    elif run.phase == DRAINING:
        lifecycle.step_drain(world, run)


# Nodes --------------------------------------------------------------------------------------------


def nodes_listed(world: World, event: NodesListed) -> None:
    first = not world.synced
    present = {node.name for node in event.nodes}
    for name in [name for name in world.nodes if name not in present]:
        node_gone(world, name)
    for node in event.nodes:
        node_seen(world, node)
    world.listed["nodes"] = True
    if first and world.synced:
        became_synced(world)


def node_seen(world: World, node: Node) -> None:
    old = world.nodes.get(node.name)
    if old == node:
        return
    world.nodes[node.name] = node
    run = world.runs.get(node.name)
    if run is not None:
        lifecycle.observe(world, run)
        if old is not None and old.unschedulable and not node.unschedulable:
            world.want_offers(f"{node.name} takes pods again")
        if run.phase == STARTING and not node.ready:
            run.why = "its kubelet has registered and is not ready yet"
    serving.look_again(world, node.name)


def node_gone(world: World, name: str) -> None:
    """Somebody deleted a Node object: its kubelet does not come back by itself, so end it."""
    if world.nodes.pop(name, None) is None:
        return
    world.timers.clear(Alarm("clear", name))
    run = world.runs.get(name)
    if run is not None and run.phase in (READY, DRAINING):
        lifecycle.stop(world, run, f"the Node object {name} was deleted")
    agent = world.ledger.on_host(name)
    if run is None and agent is not None:
        lifecycle.startable(world, agent, f"{name} may be a node again")
