"""km's life as a Mesos framework: subscribed, cut off, subscribed again; calls in their order.

Follows the leading master, tells the core what the stream says and sends what the core decides.
Calls go out one after another, since Mesos does not order calls of different connections;
acknowledgements have a lane of their own, so that they never delay a launch.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from km import actions, events
from km.mesos.errors import (
    CallRefusedError,
    MesosError,
    StreamBrokenError,
    UnavailableError,
    reading,
)
from km.mesos.leader import Directory
from km.mesos.scheduler_client import SchedulerClient, Subscription
from km.mesos.translate import call_of, events_of

log = logging.getLogger("km.mesos")

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 4.0
"""Seconds between two tries to subscribe; an election itself takes about as long."""

REMOVED = ("framework has been removed", "completed framework", "framework is unknown")
"""How Mesos says that this framework ID is gone for good (torn down, or failover timeout over)."""

FAILED_OVER = "framework failed over"
"""How Mesos says that another process has subscribed with our framework ID."""


class FailedOverError(Exception):
    """Another km has taken this framework over; this one must stop."""


class FrameworkStore(Protocol):
    """Where the framework ID is kept."""

    async def load(self) -> str | None: ...

    async def keep(self, framework_id: str | None) -> None: ...


class MesosSession:
    """The framework's line to whichever master leads."""

    def __init__(
        self,
        *,
        client: SchedulerClient,
        directory: Directory,
        store: FrameworkStore,
        describe: Callable[[str | None], dict[str, Any]],
        tell: Callable[[events.Event], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._directory = directory
        self._store = store
        self._describe = describe
        self._tell = tell
        self._sleep = sleep
        self._subscription: Subscription | None = None
        self._calls: asyncio.Queue[actions.Action] = asyncio.Queue()
        self._acknowledgements: asyncio.Queue[actions.Action] = asyncio.Queue()

    @property
    def master(self) -> str | None:
        """`host:port` of the master we are subscribed to, None while there is none."""
        return self._subscription.master if self._subscription else None

    @property
    def framework_id(self) -> str | None:
        """The ID of the present subscription, None while there is none."""
        return self._subscription.framework_id if self._subscription else None

    async def run(self) -> None:
        """Stay subscribed until cancelled.

        Raises:
            FailedOverError: another process has our framework ID.
        """
        senders = [
            asyncio.create_task(self._send(q)) for q in (self._calls, self._acknowledgements)
        ]
        try:
            await self._stay_subscribed()
        finally:
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)

    def send(self, action: actions.Action) -> None:
        """Put one of the core's calls in its lane; a failure comes back as CallFailed."""
        lane = self._acknowledgements if isinstance(action, actions.Acknowledge) else self._calls
        lane.put_nowait(action)

    async def _stay_subscribed(self) -> None:
        framework_id = await self._store.load()
        pause = FIRST_PAUSE
        while True:
            try:
                master = await self._directory.leader()
                info = self._describe(framework_id)
                async with await self._client.subscribe(master, info) as subscription:
                    async for message in subscription.events():
                        if message["type"] == "ERROR":
                            with reading("an ERROR event"):
                                words = str(message["error"]["message"])
                            raise CallRefusedError("the framework", status=0, message=words)
                        if message["type"] == "SUBSCRIBED":
                            framework_id = await self._subscribed(subscription, framework_id)
                            pause = FIRST_PAUSE
                        for event in events_of(message):
                            self._tell(event)
            except MesosError as error:
                framework_id = await self._cut_off(error, framework_id)
            # Two schedulers and many frameworks reconnect at the same moment; spread them.
            await self._sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _subscribed(self, subscription: Subscription, known: str | None) -> str:
        framework_id = subscription.framework_id
        if framework_id is None:
            raise StreamBrokenError("SUBSCRIBED came without a framework ID")
        if framework_id != known:
            # Written down before anything is launched: an ID that is lost orphans its tasks.
            await self._store.keep(framework_id)
        log.info("subscribed", extra={"master": subscription.master, "framework_id": framework_id})
        self._subscription = subscription
        self._tell(events.Subscribed(framework_id=framework_id))
        return framework_id

    async def _cut_off(self, error: MesosError, framework_id: str | None) -> str | None:
        words = str(error)
        if self._subscription is not None:
            log.warning("lost the master", extra={"master": self.master, "reason": words})
            self._subscription = None
            self._tell(events.Disconnected(reason=words))
        else:
            log.warning("cannot subscribe", extra={"reason": words})
        if isinstance(error, CallRefusedError):
            if FAILED_OVER in words.lower():
                raise FailedOverError(words) from error
            if framework_id and any(sign in words.lower() for sign in REMOVED):
                log.error(
                    "starting as a new framework",
                    extra={"framework_id": framework_id, "reason": words},
                )
                await self._store.keep(None)
                return None
        return framework_id

    async def _send(self, lane: asyncio.Queue[actions.Action]) -> None:
        while True:
            action = await lane.get()
            call = call_of(action)
            assert call is not None, f"no scheduler call: {action}"
            try:
                if self._subscription is None:
                    raise UnavailableError("not subscribed to a master")
                await self._subscription.call(call[0], **call[1])
            except MesosError as error:
                code = error.status if isinstance(error, CallRefusedError) else None
                log.warning("call failed", extra={"call": call[0], "error": error})
                self._tell(events.CallFailed(action=action, message=str(error), code=code))
