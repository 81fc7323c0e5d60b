"""Kubelets' serving certificates: approved for nodes that run here and what is theirs, no others.

A request may come before what it is judged by: before km has read the state of Mesos, or before the
Node's addresses (its kubelet asks as soon as it knows them itself). Such a request is kept and
judged again with each news of its node; it is denied when the news does not come.
"""

from __future__ import annotations

from km.actions import ApproveCertificate, DenyCertificate
from km.events import CertificateRequested
from km.timers import Alarm
from km.world import World

NODE_USER = "system:node:"
USAGES = frozenset({"digital signature", "key encipherment", "server auth"})


def certificate(world: World, event: CertificateRequested) -> None:
    """A kubelet asks for a certificate: judge it, now or when more is known."""
    world.requests[event.name] = event
    _judge(world, event)


def look_again(world: World, node: str = "") -> None:
    """There is news of a node, or of everything: judge the requests that it concerns."""
    for event in list(world.requests.values()):
        if not node or event.username == NODE_USER + node:
            _judge(world, event)


def time_is_up(world: World, name: str) -> None:
    """What a request was kept for has not come."""
    event = world.requests.get(name)
    if event is not None:
        _deny(world, event, lacks(world, event))


def _judge(world: World, event: CertificateRequested) -> None:
    if not world.synced:
        return
    if problem := wrong(world, event):
        _deny(world, event, problem)
    elif lacks(world, event):
        alarm = Alarm("certificate", event.name)
        if alarm not in world.timers:
            world.timers.set(alarm, world.now + world.rules.settle_seconds)
    else:
        _done(world, event)
        name = event.username.removeprefix(NODE_USER)
        world.do(ApproveCertificate(reason=f"km runs {name}", name=event.name, node=name))


def _deny(world: World, event: CertificateRequested, problem: str) -> None:
    _done(world, event)
    world.do(DenyCertificate(reason=problem, name=event.name))


def _done(world: World, event: CertificateRequested) -> None:
    world.requests.pop(event.name, None)
    world.timers.clear(Alarm("certificate", event.name))


def wrong(world: World, event: CertificateRequested) -> str:
    """What no news can put right about a request; empty when nothing is."""
    name = event.username.removeprefix(NODE_USER)
    if name not in world.runs or event.username == name:
        return f"{event.username} is no node that km runs"
    if set(event.usages) - USAGES or "server auth" not in event.usages:
        return f"usages {', '.join(event.usages)} are not those of a server"
    if any(hostname != name for hostname in event.hostnames):
        return f"host names {', '.join(event.hostnames)} are not {name}"
    return ""


def lacks(world: World, event: CertificateRequested) -> str:
    """What of a request Kubernetes does not say of the node, or not yet; empty when it says all."""
    name = event.username.removeprefix(NODE_USER)
    node = world.nodes.get(name)
    known = node.addresses if node is not None else ()
    foreign = [address for address in event.addresses if address not in known]
    if not foreign:
        return ""
    has = ", ".join(known) or "none"
    return f"addresses {', '.join(foreign)} are not those of node {name}, which has {has}"
