"""The HTTP face to kube-scheduler: any case of keys, any input, always an answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from km import actions, events
from km.extender import Extender
from km.pods import pod_from_kubernetes
from km.resources import Resources

POD = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u1"},
    "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
}


class Core:
    """Answers questions as a test wants, and remembers them."""

    def __init__(self) -> None:
        self.questions: list[Any] = []
        self.told: list[Any] = []
        self.waiting: list[asyncio.Future[Any]] = []

    def ask(self, question: Any) -> asyncio.Future[Any]:
        self.questions.append(question)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        number = question.request_id
        if isinstance(question, events.FilterRequested):
            nodes = tuple(name for name in question.nodes if name != "full")
            failed = {name: "too small" for name in question.nodes if name == "full"}
            answer.set_result(
                actions.AnswerFilter(
                    reason="", request_id=number, nodes=nodes, failed=failed, unresolvable={}
                )
            )
        elif isinstance(question, events.PrioritizeRequested):
            scores = dict.fromkeys(question.nodes, 7)
            answer.set_result(actions.AnswerPrioritize(reason="", request_id=number, scores=scores))
        else:
            self.waiting.append(answer)
        return answer

    def tell(self, event: Any) -> None:
        self.told.append(event)


def read_pod(pod: Any) -> Any:
    return pod_from_kubernetes(pod, Resources.of(cpus=0.01, mem=32))


def face(core: Core) -> httpx.AsyncClient:
    app = Extender(core, read_pod).app()
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://km")


@pytest.mark.parametrize("case", [str, str.lower, str.upper], ids=["Go", "lower", "upper"])
async def test_filter_reads_keys_in_any_case(case: Any) -> None:
    core = Core()
    body = {case("Pod"): POD, case("Nodes"): None, case("NodeNames"): ["a", "full"]}
    async with face(core) as http:
        answer = (await http.post("/filter", json=body)).json()

    assert answer["nodenames"] == ["a"]
    assert answer["failedNodes"] == {"full": "too small"}
    assert answer["error"] == ""
    assert core.questions[0].pod.full_name == "default/web"


async def test_prioritize_gives_one_score_a_node() -> None:
    async with face(Core()) as http:
        body = {"Pod": POD, "NodeNames": ["a", "b"]}
        answer = (await http.post("/prioritize", json=body)).json()

    assert answer == [{"host": "a", "score": 7}, {"host": "b", "score": 7}]


BINDING = {"PodName": "web", "PodNamespace": "default", "PodUID": "u1", "Node": "a"}


@pytest.mark.parametrize("error", ["", "no room on a any more"])
async def test_bind_is_answered_when_the_core_answers(error: str) -> None:
    core = Core()
    async with face(core) as http:
        call = asyncio.ensure_future(http.post("/bind", json=BINDING))
        while not core.waiting:  # noqa: ASYNC110 - the real loop has no event to wait for
            await asyncio.sleep(0)
        assert not call.done()
        core.waiting[0].set_result(actions.AnswerBind(reason="", request_id=1, error=error))
        assert (await call).json() == {"error": error}

    asked = core.questions[0]
    assert (asked.uid, asked.namespace, asked.name, asked.node) == ("u1", "default", "web", "a")


async def test_a_scheduler_that_hangs_up_is_told_to_the_core() -> None:
    core = Core()
    app = Extender(core, read_pod).app()
    body = json.dumps(BINDING).encode()
    incoming = [
        {"type": "http.request", "body": body, "more_body": False},
        {"type": "http.disconnect"},
    ]
    scope = {
        "type": "http", "method": "POST", "path": "/bind", "headers": [], "query_string": b"",
    }  # fmt: skip

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(_: Any) -> None:
        pass

    await app(scope, receive, send)

    assert core.told == [events.BindAbandoned(request_id=core.questions[0].request_id)]


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/filter", b"", "is not JSON"),
        ("/filter", b"[]", "is no JSON object"),
        ("/filter", b"[" * 100_000, "is not JSON"),
        ("/filter", b"{}", "has no pod"),
        ("/filter", json.dumps({"pod": POD}).encode(), "no list of node names"),
        ("/filter", json.dumps({"pod": POD, "nodes": {"items": []}}).encode(), "nodeCacheCapable"),
        ("/filter", json.dumps({"pod": POD, "nodenames": [1]}).encode(), "no list of node names"),
        ("/filter", json.dumps({"pod": {"spec": 3}, "nodenames": []}).encode(), "cannot be read"),
        ("/bind", b'{"PodName": "web"}', "has no podnamespace"),
        ("/bind", json.dumps({**BINDING, "Node": 3}).encode(), "has no node"),
    ],
)
async def test_a_bad_request_is_answered_in_words(path: str, body: bytes, words: str) -> None:
    async with face(Core()) as http:
        answer = await http.post(path, content=body)

    assert answer.status_code == 400
    assert words in answer.json()["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["pod", "Pod", "nodenames", "NodeNames", "metadata", "spec", "containers", "resources",
             "requests", "limits", "cpu", "initContainers", "affinity", "tolerations", "status",
             "podname", "node", "poduid", "priority", "topologySpreadConstraints", "maxSkew",
             "overhead", "ports", "hostPort", "memory", "ephemeral-storage", "nvidia.com/gpu",
             "restartPolicy", "nodeAffinity", "podAntiAffinity", "labelSelector", "matchLabels",
             "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms", "conditions",
             "matchExpressions", "ownerReferences", "creationTimestamp", "annotations", "labels"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None)  # machines that run tests are busy
@given(path=st.sampled_from(["/filter", "/prioritize", "/bind"]), body=JSON)
async def test_no_input_breaks_the_extender(path: str, body: Any) -> None:
    async with face(Core()) as http:
        answer = await http.post(path, content=json.dumps(body))

    assert answer.status_code in (200, 400)


@settings(deadline=None)  # machines that run tests are busy
@given(path=st.sampled_from(["/filter", "/prioritize", "/bind"]), body=st.binary(max_size=60))
async def test_no_bytes_break_the_extender(path: str, body: bytes) -> None:
    async with face(Core()) as http:
        answer = await http.post(path, content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]


QUANTITIES = st.sampled_from(
    ["1", "100m", "1e400", "1e9999999999", "-1", "0x1", "1Ki1", "nan", "∞"]
)


@settings(deadline=None)
@given(kind=st.sampled_from(["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"]),
       amount=QUANTITIES | st.text(max_size=12) | st.floats() | st.integers())  # fmt: skip
async def test_no_quantity_breaks_the_extender(kind: str, amount: Any) -> None:
    requests = {"name": "c", "resources": {"requests": {kind: amount}, "limits": {kind: amount}}}
    pod = {"metadata": {}, "spec": {"containers": [requests], "overhead": {kind: amount}}}
    async with face(Core()) as http:
        answer = await http.post("/filter", content=json.dumps({"pod": pod, "nodenames": []}))

    assert answer.status_code in (200, 400)


@settings(deadline=None)
@given(metadata=JSON, spec=JSON, status=JSON)
async def test_no_pod_breaks_the_extender(metadata: Any, spec: Any, status: Any) -> None:
    pod = {"metadata": metadata, "spec": spec, "status": status}
    body = json.dumps({"pod": pod, "nodenames": []})
    async with face(Core()) as http:
        answer = await http.post("/filter", content=body)

    assert answer.status_code in (200, 400)
