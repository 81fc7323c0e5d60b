"""Events in, decisions out: the one place where the core meets the world.

`tell` is synchronous: the core decides at once, its actions are started in their order and whatever
they lead to comes back as another event. Nothing here waits, so nothing can be out of order.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from km import actions, events
from km.cluster.deeds import Deeds
from km.cluster.errors import ApiError, ClusterError
from km.cluster.recorder import Recorder
from km.extender import Answer, Question
from km.mesos.errors import CallRefusedError, MesosError
from km.offers import MesosState
from km.status.metrics import Metrics

log = logging.getLogger("km.decision")

DEEDS_AT_ONCE = 32
"""Requests to the API server under way together."""

QUIET = (
    actions.Acknowledge,
    actions.AnswerFilter,
    actions.AnswerPrioritize,
    actions.ListMesos,
    actions.RecordEvent,
)
"""Actions too many or too small to be logged at `info`."""


ABOUT = ("namespace", "object", "node", "tasks", "task_id", "executor_id")
"""Fields that tell an operator what a decision is about."""

RECENT = 60


class Decider(Protocol):
    """The core, as the loop needs it."""

    def handle(self, event: events.Event, now: float) -> list[actions.Action]: ...

    def next_tick(self) -> float | None: ...


class Calls(Protocol):
    """Mesos' scheduler API, as the loop needs it."""

    def send(self, action: actions.Action) -> None: ...


class Loop:
    """Joins the core with Mesos, Kubernetes and kube-scheduler."""

    def __init__(
        self,
        core: Decider,
        *,
        mesos: Calls,
        list_mesos: Callable[[], Coroutine[Any, Any, MesosState]],
        deeds: Deeds,
        recorder: Recorder,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._core = core
        self._mesos = mesos
        self._list_mesos = list_mesos
        self._deeds = deeds
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(DEEDS_AT_ONCE)
        self._node_locks: weakref.WeakValueDictionary[str, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        """The latest decisions, oldest first, for the status page."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done, with the exception, when the core failed: the process must start anew."""

    def tell(self, event: events.Event) -> None:
        """Give the core an event and start what it decides."""
        if self.broken.done():
            return
        started = time.perf_counter()
        try:
            decided = self._core.handle(event, self._clock())
            for action in decided:
                self.start(action)
            self._arm()
        except Exception as error:  # noqa: BLE001 - a wrong state must not decide anything more
            self.broken.set_exception(error)
            return
        self._metrics.handled(event, time.perf_counter() - started)

    def ask(self, question: Question) -> asyncio.Future[Answer]:
        """Put kube-scheduler's question to the core; the future holds the answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[question.request_id] = answer
        answer.add_done_callback(lambda _: self._answers.pop(question.request_id, None))
        self._metrics.asked(question, answer)
        self.tell(question)
        return answer

    async def close(self) -> None:
        """Stop everything under way. Open binds are left unanswered, so kube-scheduler retries."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.broken.done():
            self.broken.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for answer in list(self._answers.values()):
            answer.cancel()

    def start(self, action: actions.Action) -> None:
        """Start carrying an action out."""
        self._metrics.decided(action)
        self._report(action)
        if isinstance(action, (actions.AnswerFilter, actions.AnswerPrioritize, actions.AnswerBind)):
            answer = self._answers.get(action.request_id)
            if answer is not None and not answer.done():
                answer.set_result(action)
        elif isinstance(action, actions.RecordEvent):
            self._recorder.record(action)
        elif isinstance(action, actions.ListMesos):
            self._spawn(self._list(action))
        elif self._deeds.does(action):
            self._spawn(self._do(action))
        else:
            self._mesos.send(action)

    def _report(self, action: actions.Action) -> None:
        level = loudness(action)
        if level < logging.INFO and not log.isEnabledFor(level):
            return
        about = subject(action)
        what = type(action).__name__
        extra = {"error": action.error} if isinstance(action, actions.AnswerBind) else {}
        log.log(level, what, extra={"reason": action.reason, **about, **extra})
        if level >= logging.INFO:
            words = " ".join(about[key] for key in ABOUT if key in about)
            self.recent.append(
                {"time": time.time(), "what": what, "about": words, "reason": action.reason}
            )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.broken.done():
            self.broken.set_exception(error)

    async def _list(self, action: actions.ListMesos) -> None:
        asked_at = self._clock()
        try:
            state = await self._list_mesos()
        except MesosError as error:
            code = error.status if isinstance(error, CallRefusedError) else None
            self._failed(action, error, code)
        else:
            self.tell(events.MesosListed(state=state, asked_at=asked_at))

    async def _do(self, action: actions.Action) -> None:
        # Writes to one node keep their order; everything else may overtake.
        name = action.node if isinstance(action, (actions.UpdateNode, actions.DeleteNode)) else None
        lock = self._node_locks.setdefault(name, asyncio.Lock()) if name else asyncio.Lock()
        try:
            async with lock, self._slots:
                await self._deeds.do(action)
        except ClusterError as error:
            self._failed(action, error, error.status if isinstance(error, ApiError) else None)
        else:
            if isinstance(action, actions.BindPod):
                self.tell(events.PodBound(uid=action.uid))

    def _failed(self, action: actions.Action, error: Exception, code: int | None) -> None:
        fields = {"action": type(action).__name__, "because": action.reason, "error": error}
        # A disruption budget that says "not yet" is the way evictions go, not a failure.
        quiet = isinstance(action, actions.EvictPod) and code == 429
        log.log(logging.INFO if quiet else logging.WARNING, "not carried out", extra=fields)
        self._metrics.failed(action)
        self.tell(events.CallFailed(action=action, message=str(error), code=code))

    def _arm(self) -> None:
        due = self._core.next_tick()
        if due == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = due
        if due is not None:
            delay = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.tell(events.Tick())


def subject(action: actions.Action) -> dict[str, str]:
    """What an action is about, as fields of a log line."""
    fields = {}
    for name in ("node", "namespace", "name", "task_id", "agent_id", "executor_id", "offer_ids"):
        value = getattr(action, name, None)
        if value:
            # `name` is a LogRecord's own.
            key = "object" if name == "name" else name
            fields[key] = ",".join(value) if isinstance(value, tuple) else str(value)
    if isinstance(action, actions.Accept):
        fields["tasks"] = ",".join(task["task_id"]["value"] for task in action.task_infos)
    return fields


def loudness(action: actions.Action) -> int:
    """The level at which an action is logged."""
    if isinstance(action, actions.AnswerFilter) and not action.nodes:
        return logging.INFO  # a pod that fits nowhere is what operators look for
    return logging.DEBUG if isinstance(action, QUIET) else logging.INFO
