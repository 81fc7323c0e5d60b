"""The Kubernetes client, its watches, the Lease and km's deeds against a real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from km import actions
from km.cluster import client as client_module
from km.cluster.client import Cluster
from km.cluster.deeds import Deeds
from km.cluster.errors import (
    ApiError,
    ConflictError,
    NotFoundError,
    UnreachableError,
)
from km.cluster.framework import FrameworkConfigMap
from km.cluster.kubeconfig import Access, load_kubeconfig
from km.cluster.lease import RENEW_WITHIN, Lease
from km.cluster.recorder import Recorder
from km.cluster.watch import Changed, Deleted, Listed, follow
from km.objects import Taint
from tests.control_plane import ControlPlane

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_objects_are_made_read_changed_and_deleted(cluster: Cluster) -> None:
    await cluster.create(CONFIGMAPS, configmap("one", a="1"))
    with pytest.raises(ConflictError, match="AlreadyExists"):
        await cluster.create(CONFIGMAPS, configmap("one"))
    await cluster.patch(f"{CONFIGMAPS}/one", {"data": {"a": None, "b": "2"}})
    found = await cluster.get(f"{CONFIGMAPS}/one")
    assert found["data"] == {"b": "2"}
    found["metadata"]["resourceVersion"] = "1"
    with pytest.raises(ConflictError):
        await cluster.replace(f"{CONFIGMAPS}/one", found)
    await cluster.delete(f"{CONFIGMAPS}/one")
    with pytest.raises(
        NotFoundError, match=r'GET .*/one: 404 NotFound: configmaps "one" not found'
    ):
        await cluster.get(f"{CONFIGMAPS}/one")


async def test_a_list_is_read_page_by_page(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "PAGE", 3)
    for number in range(8):
        await cluster.create(CONFIGMAPS, configmap(f"page-{number}"))

    names, version = await cluster.list(CONFIGMAPS, lambda item: item["metadata"]["name"])

    assert [name for name in names if name.startswith("page-")] == [f"page-{n}" for n in range(8)]
    assert int(version) > 0
    for number in range(8):
        await cluster.delete(f"{CONFIGMAPS}/page-{number}")


async def test_what_is_not_allowed_is_said(kube: ControlPlane) -> None:
    nobody = Cluster(load_kubeconfig(kube.kubeconfig_of("nobody")))
    with pytest.raises(ApiError, match=r'403 Forbidden: .*"nobody" cannot get') as caught:
        await nobody.get(f"{CONFIGMAPS}/x")
    assert caught.value.status == 403
    await nobody.close()


async def test_another_api_server_is_asked_when_one_is_away(kube: ControlPlane) -> None:
    access = load_kubeconfig(kube.kubeconfig).with_servers(("https://127.0.0.1:1", kube.server))
    cluster = Cluster(access)
    with pytest.raises(UnreachableError, match=r"https://127\.0\.0\.1:1: "):
        await cluster.get("/version")
    assert "gitVersion" in await cluster.get("/version")
    await cluster.close()


async def test_a_collection_is_followed_from_its_list_through_each_change(cluster: Cluster) -> None:
    await cluster.create(CONFIGMAPS, configmap("seen", a="1"))
    news = follow(cluster, CONFIGMAPS, lambda item: (item["metadata"]["name"], item.get("data")))

    first = await anext(news)
    assert isinstance(first, Listed)
    assert ("seen", {"a": "1"}) in first.items
    changing = asyncio.ensure_future(anext(news))
    await asyncio.sleep(0.3)
    await cluster.patch(f"{CONFIGMAPS}/seen", {"data": {"a": "2"}})
    assert await asyncio.wait_for(changing, 5) == Changed(item=("seen", {"a": "2"}))
    await cluster.delete(f"{CONFIGMAPS}/seen")
    assert await asyncio.wait_for(anext(news), 5) == Deleted(item=("seen", {"a": "2"}))
    await news.aclose()


async def test_a_watch_that_is_too_old_is_listed_again() -> None:
    asked = []

    def handler(request: httpx.Request) -> httpx.Response:
        watching = "watch" in request.url.params
        asked.append("watch" if watching else "list")
        if not watching:
            return httpx.Response(200, json={"metadata": {"resourceVersion": "5"}, "items": []})
        if asked.count("watch") == 1:
            gone = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
            return httpx.Response(200, content=json.dumps(gone) + "\n")
        raise httpx.ReadError("cut")

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    cluster = Cluster(Access(servers=("http://k",)), transport=httpx.MockTransport(handler))
    news = follow(cluster, "/api/v1/pods", dict, sleep=sleep)
    assert [await anext(news), await anext(news)] == [Listed(items=[]), Listed(items=[])]
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(anext(news), 0.1)
    # A cut connection resumes where it was: no third list.
    assert asked[:5] == ["list", "watch", "list", "watch", "watch"]
    assert "list" not in asked[5:]


async def test_the_framework_id_is_kept(cluster: Cluster) -> None:
    store = FrameworkConfigMap(cluster)
    assert await store.load() is None
    await store.keep("F1")
    assert await store.load() == "F1"
    await store.keep(None)
    assert await store.load() is None


async def test_the_store_waits_for_an_api_server_that_is_away() -> None:
    answers = iter([httpx.ConnectError("away"), httpx.Response(503), httpx.Response(404, json={})])

    def handler(_: httpx.Request) -> httpx.Response:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    cluster = Cluster(Access(servers=("http://k",)), transport=httpx.MockTransport(handler))
    assert await FrameworkConfigMap(cluster, sleep=sleep).load() is None
    assert pauses == [1.0, 1.0]


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def test_a_lease_has_one_holder_and_is_taken_over_when_it_runs_out(cluster: Cluster) -> None:
    clock = Clock()

    def lease(identity: str) -> Lease:
        return Lease(cluster, identity=identity, name="test", clock=clock, sleep=clock.sleep)

    first, second = lease("first"), lease("second")
    await first.acquire()
    assert first.holder == "first"
    began = clock.now
    await second.acquire()
    assert second.holder == "second"
    assert 15 <= clock.now - began <= 18

    await first.hold()  # returns, as another one holds it
    assert first.holder == "second"
    await second.release()
    began = clock.now
    await first.acquire()
    assert clock.now == began


async def test_a_holder_that_is_known_to_be_dead_is_not_waited_for(cluster: Cluster) -> None:
    clock = Clock()

    def lease(identity: str, dead: str = "") -> Lease:
        return Lease(
            cluster,
            identity=identity,
            name="dead",
            is_dead=lambda holder: holder == dead,
            clock=clock,
            sleep=clock.sleep,
        )

    await lease("first").acquire()
    began = clock.now
    await lease("second", dead="first").acquire()
    assert clock.now == began

    await lease("third", dead="first").acquire()
    assert clock.now - began >= 15


async def test_a_holder_that_cannot_renew_stops_before_another_may_start() -> None:
    clock = Clock()

    def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("away")

    cluster = Cluster(Access(servers=("http://k",)), transport=httpx.MockTransport(handler))
    lease = Lease(cluster, identity="me", clock=clock, sleep=clock.sleep)
    await asyncio.wait_for(lease.hold(), 5)
    assert 10 <= clock.now < 15
    assert lease.lost
    await lease.release()  # asks nobody: who could answer?


async def test_a_holder_asks_another_api_server_when_one_hangs(kube: ControlPlane) -> None:
    """One that takes connections and says nothing, as a host does that was stopped."""
    hung: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: hung.append(writer), "127.0.0.1", 0)
    url = f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    access = load_kubeconfig(kube.kubeconfig).with_servers((url, kube.server))
    both = Cluster(access)
    lease = Lease(both, identity="me", name="hung")
    began = asyncio.get_running_loop().time()
    await lease.acquire()
    assert asyncio.get_running_loop().time() - began < RENEW_WITHIN
    await lease.release()
    await both.close()
    silent.close()
    for writer in hung:
        writer.close()


NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"a": "1"}}}


def update(**fields: Any) -> actions.UpdateNode:
    return actions.UpdateNode(reason="test", node="n1", **fields)


async def test_a_node_is_cordoned_tainted_labelled_and_deleted(cluster: Cluster) -> None:
    deeds = Deeds(cluster)
    await cluster.create("/api/v1/nodes", NODE)
    foreign = {"key": "theirs", "effect": "NoExecute", "value": "x"}
    await cluster.patch("/api/v1/nodes/n1", {"spec": {"taints": [foreign]}})
    mine = Taint("k8s.mesosphere.io/x", "NoSchedule")

    await deeds.do(update(unschedulable=True, add_taints=(mine,), annotations={"k": "v"}))
    node = await cluster.get("/api/v1/nodes/n1")
    taints = {taint["key"] for taint in node["spec"]["taints"]}
    assert taints >= {"theirs", "k8s.mesosphere.io/x"}
    assert node["spec"]["unschedulable"] is True
    assert node["metadata"]["annotations"]["k"] == "v"

    await deeds.do(
        update(
            unschedulable=False, remove_taints=(mine,), annotations={"k": None}, labels={"a": None}
        )
    )
    node = await cluster.get("/api/v1/nodes/n1")
    assert "k8s.mesosphere.io/x" not in {taint["key"] for taint in node["spec"]["taints"]}
    assert "theirs" in {taint["key"] for taint in node["spec"]["taints"]}
    assert not node["spec"].get("unschedulable")
    assert "a" not in node["metadata"].get("labels", {})

    await deeds.do(actions.DeleteNode(reason="test", node="n1", uid="another"))
    uid = (await cluster.get("/api/v1/nodes/n1"))["metadata"]["uid"]
    delete = actions.DeleteNode(reason="test", node="n1", uid=uid)
    await deeds.do(delete)
    await deeds.do(delete)  # gone already: as wanted
    with pytest.raises(NotFoundError):
        await deeds.do(update(unschedulable=True))


PODS = "/api/v1/namespaces/default/pods"


async def pod(cluster: Cluster, name: str) -> str:
    body = {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "x"}], "terminationGracePeriodSeconds": 0},
    }
    made = await cluster.create(PODS, body)
    return str(made["metadata"]["uid"])


def about(kind: type, name: str, uid: str, **fields: Any) -> Any:
    return kind(reason="test", uid=uid, namespace="default", name=name, **fields)


async def test_a_pod_is_bound_once(cluster: Cluster) -> None:
    deeds = Deeds(cluster)
    uid = await pod(cluster, "bound")
    await deeds.do(about(actions.BindPod, "bound", uid, node="a"))
    await deeds.do(about(actions.BindPod, "bound", uid, node="a"))  # so already: as wanted
    with pytest.raises(ConflictError):
        await deeds.do(about(actions.BindPod, "bound", uid, node="b"))
    with pytest.raises(ConflictError):
        await deeds.do(about(actions.BindPod, "bound", "other-uid", node="a"))
    await deeds.do(about(actions.DeletePod, "bound", uid, grace_seconds=0))


async def test_only_the_pod_that_was_meant_is_deleted_or_evicted(cluster: Cluster) -> None:
    deeds = Deeds(cluster)
    uid = await pod(cluster, "kept")
    await deeds.do(about(actions.DeletePod, "kept", "another-uid", grace_seconds=0))
    await deeds.do(about(actions.EvictPod, "kept", "another-uid"))
    assert (await cluster.get(f"{PODS}/kept"))["metadata"]["uid"] == uid
    await deeds.do(about(actions.EvictPod, "kept", uid))
    await deeds.do(about(actions.EvictPod, "kept", uid))
    with pytest.raises(NotFoundError):
        await cluster.get(f"{PODS}/kept")
    await deeds.do(about(actions.DeletePod, "kept", uid, grace_seconds=None))


async def test_a_repeated_event_is_counted(cluster: Cluster) -> None:
    clock = Clock()
    recorder = Recorder(cluster, clock=clock)
    running = asyncio.ensure_future(recorder.run())
    event = actions.RecordEvent(
        reason="0/3: agent-2 offered 0.5 of 1 cpus, held by spark",
        kind="Pod",
        name="web",
        namespace="default",
        uid="u1",
        event="NoRoom",
        warning=True,
    )

    async def found() -> list[dict[str, Any]]:
        events, _ = await cluster.list("/api/v1/namespaces/default/events", dict)
        return [item for item in events if item["reason"] == "NoRoom"]

    recorder.record(event)
    await until_async(found, lambda items: len(items) == 1)
    clock.now += 10
    recorder.record(event)
    await until_async(found, lambda items: len(items) == 1 and items[0]["count"] == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await found())[0]["type"] == "Warning"


async def until_async(ask: Callable[[], Any], good: Callable[[Any], bool]) -> None:
    for _ in range(100):
        if good(await ask()):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"waited too long: {await ask()}")
