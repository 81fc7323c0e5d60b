"""When what Kubernetes shows can be believed again after all hosts died."""

from __future__ import annotations

import pytest

from tools import settling

BEFORE, AFTER = "2026-01-01T00:00:00.000000Z", "2026-01-01T00:02:00.000000Z"
DIED = settling.seconds("2026-01-01T00:01:00Z")


def thing(name: str, spec: dict | None = None, **metadata: str) -> dict:
    return {"metadata": {"name": name, **metadata}, "spec": spec or {}}


NODE = thing("a")
FRESH, OLD = thing("a", {"renewTime": AFTER}), thing("a", {"renewTime": BEFORE})
THERE, ELSEWHERE, WAITS = thing("p", {"nodeName": "a"}), thing("p", {"nodeName": "b"}), thing("p")
ENDS = thing("p", {"nodeName": "a"}, deletionTimestamp=AFTER)


@pytest.mark.parametrize(
    ("nodes", "leases", "pods", "stale"),
    [
        pytest.param([], [], [], [], id="nothing"),
        pytest.param([NODE], [FRESH], [THERE, WAITS], [], id="a node that has spoken since"),
        pytest.param([NODE], [OLD], [THERE], ["node a"], id="a node as it was before"),
        pytest.param([NODE], [], [], ["node a"], id="a node without a lease"),
        pytest.param([], [OLD], [], [], id="a lease that outlived its node"),
        pytest.param([NODE], [FRESH], [ELSEWHERE], ["pod p"], id="a pod without its node"),
        pytest.param([NODE], [FRESH], [ENDS], ["pod p"], id="a pod that ends"),
    ],
)
def test_what_is_shown_is_believed_when_it_is_newer(nodes, leases, pods, stale) -> None:
    things = {"nodes": nodes, "leases": leases, "pods": pods}

    assert settling.stale_things(things, DIED) == stale


def in_state(uid: str | None, kind: str = settling.POD) -> dict:
    outputs = {"metadata": {"uid": uid}} if uid else None
    return {"type": kind, "id": "default/p", "outputs": outputs}


KNOWN, OTHER = thing("p", {"nodeName": "a"}, uid="1"), thing("p", {"nodeName": "a"}, uid="2")
ENDING = thing("p", {"nodeName": "a"}, uid="1", deletionTimestamp=AFTER)
HOMELESS = thing("p", {"nodeName": "b"}, uid="1")


@pytest.mark.parametrize(
    ("resource", "pods", "lost"),
    [
        pytest.param(in_state("1"), [KNOWN], [], id="there"),
        pytest.param(in_state("1"), [KNOWN, OTHER], [], id="there among others"),
        pytest.param(in_state("1"), [], ["default/p"], id="gone"),
        pytest.param(in_state("1"), [OTHER], ["default/p"], id="another of its name"),
        pytest.param(in_state("1"), [ENDING], ["default/p"], id="ends"),
        pytest.param(in_state("1"), [HOMELESS], ["default/p"], id="without its node"),
        pytest.param(in_state(None), [], [], id="not made yet"),
        pytest.param(in_state("1", "kubernetes:core/v1:Service"), [], [], id="no pod"),
        pytest.param({}, [], [], id="a stack"),
    ],
)
def test_a_pod_is_lost_when_it_is_no_more_the_one_of_the_state(resource, pods, lost) -> None:
    things = {"nodes": [NODE], "leases": [], "pods": pods}

    assert settling.lost_pods([resource], things) == lost
    assert settling.lost_pods([resource], None) == []


def test_an_api_server_that_does_not_answer_is_waited_for() -> None:
    assert settling.stale_things(None, DIED) == ["the API server"]


def test_waiting_ends_with_words_about_what_is_missing(monkeypatch, capsys) -> None:
    things = {"nodes": [NODE], "leases": [OLD], "pods": []}
    monkeypatch.setattr(settling, "read_things", lambda _: things)
    monkeypatch.setattr(settling, "LIMIT_SECONDS", 0)
    settling.settle("local", DIED)

    assert "Not settled after 0 s: node a" in capsys.readouterr().err
