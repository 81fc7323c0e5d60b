"""The HTTP face to kube-scheduler: filter, prioritize and bind of its extender protocol.

Answers come from the core; this module reads and writes the wire. Keys differ in case between
versions of kube-scheduler (Go does not mind), so they are read in any case.
The protocol: https://pkg.go.dev/k8s.io/kube-scheduler/extender/v1
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from km import actions, events
from km.pods import Pod

Answer = actions.AnswerFilter | actions.AnswerPrioritize | actions.AnswerBind
Question = events.FilterRequested | events.PrioritizeRequested | events.BindRequested


class Asker(Protocol):
    """What the extender needs of the loop."""

    def ask(self, question: Question) -> asyncio.Future[Answer]:
        """Put a question to the core."""

    def tell(self, event: events.Event) -> None: ...


class BadRequestError(ValueError):
    """A request that is not the extender protocol."""


class Extender:
    """The three verbs."""

    def __init__(self, asker: Asker, read_pod: Callable[[Mapping[str, Any]], Pod]) -> None:
        self._asker = asker
        self._read_pod = read_pod
        self._numbers = itertools.count(1)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/filter", self.filter, methods=["POST"]),
                Route("/prioritize", self.prioritize, methods=["POST"]),
                Route("/bind", self.bind, methods=["POST"]),
            ],
            exception_handlers={BadRequestError: refuse},
        )

    async def filter(self, request: Request) -> Response:
        """Which of the nodes the core expects to have room for the pod."""
        pod, nodes = self._arguments(await request.body())
        question = events.FilterRequested(request_id=next(self._numbers), pod=pod, nodes=nodes)
        answer = await self._asker.ask(question)
        assert isinstance(answer, actions.AnswerFilter)
        return JSONResponse(
            {
                "nodenames": list(answer.nodes),
                "failedNodes": dict(answer.failed),
                "failedAndUnresolvableNodes": dict(answer.unresolvable),
                "error": "",
            }
        )

    async def prioritize(self, request: Request) -> Response:
        """How good each of the nodes is, 0 to 10."""
        pod, nodes = self._arguments(await request.body())
        question = events.PrioritizeRequested(request_id=next(self._numbers), pod=pod, nodes=nodes)
        answer = await self._asker.ask(question)
        assert isinstance(answer, actions.AnswerPrioritize)
        return JSONResponse([{"host": h, "score": score} for h, score in answer.scores.items()])

    async def bind(self, request: Request) -> Response:
        """Launch the pod's task and bind it; answered when it is bound or cannot be."""
        question = self._binding(await request.body())
        answer = self._asker.ask(question)
        hung_up = asyncio.ensure_future(gone(request))
        either: set[asyncio.Future[Any]] = {answer, hung_up}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hung_up.cancel()
        if not answer.done():
            self._asker.tell(events.BindAbandoned(request_id=question.request_id))
            return JSONResponse({"error": "nobody waited for the answer"})
        bound = answer.result()
        assert isinstance(bound, actions.AnswerBind)
        return JSONResponse({"error": bound.error})

    def _arguments(self, body: bytes) -> tuple[Pod, tuple[str, ...]]:
        fields = read_object(body)
        pod, names = fields.get("pod"), fields.get("nodenames")
        if not isinstance(pod, dict):
            raise BadRequestError("the request has no pod")
        if names is None and isinstance(fields.get("nodes"), dict):
            raise BadRequestError(
                "node objects were sent; set nodeCacheCapable: true for this extender"
            )
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BadRequestError("the request has no list of node names")
        try:
            return self._read_pod(pod), tuple(names)
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            raise BadRequestError(f"the pod cannot be read: {error}") from error

    def _binding(self, body: bytes) -> events.BindRequested:
        fields = read_object(body)
        values = {}
        for key in ("podname", "podnamespace", "poduid", "node"):
            value = fields.get(key)
            if not isinstance(value, str) or not value:
                raise BadRequestError(f"the request has no {key}")
            values[key] = value
        return events.BindRequested(
            request_id=next(self._numbers),
            uid=values["poduid"],
            namespace=values["podnamespace"],
            name=values["podname"],
            node=values["node"],
        )


def read_object(body: bytes) -> dict[str, Any]:
    """A JSON object with its keys in lower case. Raises BadRequestError."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the request is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRequestError("the request is no JSON object")
    return {key.lower(): value for key, value in fields.items()}


async def gone(request: Request) -> None:
    """Return when the other side has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def refuse(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400)
