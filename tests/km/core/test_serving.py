"""Kubelets' serving certificates: for nodes that run here and what is theirs, no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from km import actions as do
from km import events as on
from km.objects import node_from_kubernetes
from tests.km.core.stage import Stage, of
from tests.km.core.test_failover import NODE, running

OURS = ("10.0.0.21",)
VERDICTS = (do.ApproveCertificate, do.DenyCertificate)


def request(**more: Any) -> on.CertificateRequested:
    fields = {
        "name": "csr",
        "username": "system:node:a",
        "hostnames": ("a",),
        "addresses": OURS,
        "usages": ("server auth", "digital signature"),
    }
    return on.CertificateRequested(**{**fields, **more})


def verdicts(actions: list[Any]) -> list[type]:
    return [type(action) for action in of(actions, VERDICTS)]


@pytest.fixture
def ready(stage: Stage) -> Stage:
    stage.ready("a", addresses=OURS)
    return stage


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param({"username": "system:node:zz"}, "no node that km runs", id="stranger"),
        pytest.param({"username": "a"}, "no node that km runs", id="no node"),
        pytest.param({"hostnames": ("kubernetes",)}, "kubernetes are not a", id="host name"),
        pytest.param({"hostnames": ("a", "b")}, "a, b are not a", id="one name more"),
        pytest.param({"usages": ("client auth",)}, "client auth", id="client"),
        pytest.param({"usages": ()}, "not those of a server", id="no usages"),
    ],
)
def test_what_is_wrong_with_a_request_denies_it_at_once(ready: Stage, asked, words) -> None:
    (verdict,) = of(ready.tell(request(**asked)), VERDICTS)
    assert isinstance(verdict, do.DenyCertificate)
    assert words in verdict.reason


@pytest.mark.parametrize("addresses", [OURS, ()])
def test_a_node_of_ours_gets_what_is_its_own(ready: Stage, addresses) -> None:
    assert verdicts(ready.tell(request(addresses=addresses))) == [do.ApproveCertificate]
    assert not ready.core.world.requests


@pytest.mark.parametrize("addresses", [("10.10.10.1",), (*OURS, "10.10.10.1")])
def test_an_address_that_is_not_the_nodes_is_denied_after_a_time(ready: Stage, addresses) -> None:
    assert not verdicts(ready.tell(request(addresses=addresses)) + ready.wait(9))
    (verdict,) = of(ready.wait(2), VERDICTS)

    assert isinstance(verdict, do.DenyCertificate)
    assert verdict.reason == ("addresses 10.10.10.1 are not those of node a, which has 10.0.0.21")
    assert not verdicts(ready.ready("a", addresses=(*OURS, "10.10.10.1")))


def test_a_request_that_comes_before_the_nodes_addresses_waits_for_them(stage: Stage) -> None:
    assert not verdicts(stage.tell(request()) + stage.wait(1))
    assert not verdicts(stage.ready("b", addresses=OURS)), "another node's news are none"
    assert verdicts(stage.ready("a", addresses=OURS)) == [do.ApproveCertificate]
    assert not verdicts(stage.wait(60))


def test_requests_that_come_before_the_state_is_read_are_judged_then() -> None:
    stage = Stage(agents=("a",))
    stage.tell(request())
    stage.tell(request(name="stranger", username="system:node:zz"))
    assert not verdicts(stage.done)
    actions = stage.sync((), (replace(NODE, addresses=OURS),), **running(()))

    assert {verdict.name: type(verdict) for verdict in of(actions, VERDICTS)} == {
        "csr": do.ApproveCertificate,
        "stranger": do.DenyCertificate,
    }


@pytest.mark.parametrize("asked", [{}, {"username": "system:node:zz"}])
def test_a_verdict_that_was_not_carried_out_is_given_again(ready: Stage, asked) -> None:
    (verdict,) = of(ready.tell(request(**asked)), VERDICTS)
    failed = on.CallFailed(action=verdict, message="etcd is away", code=500)
    assert not verdicts(ready.tell(failed))
    assert of(ready.wait(10), VERDICTS) == [verdict]


def test_a_node_that_ended_meanwhile_is_not_approved_again(ready: Stage) -> None:
    (verdict,) = of(ready.tell(request()), VERDICTS)
    ready.tell(on.CallFailed(action=verdict, message="no answer"))
    run = ready.core.world.runs["a"]
    ready.task(run.task_id, "TASK_FAILED")
    assert not verdicts(ready.wait(10))


def test_a_nodes_addresses_are_those_that_are_ips() -> None:
    listed = [
        {"type": "Hostname", "address": "a"},
        {"type": "InternalIP", "address": "10.0.0.21"},
        {"type": "ExternalIP", "address": "fd00::21"},
        {"type": "InternalDNS", "address": "a.lan"},
    ]
    node = {"metadata": {"name": "a"}, "status": {"addresses": listed}}
    assert node_from_kubernetes(node).addresses == ("10.0.0.21", "fd00::21")
