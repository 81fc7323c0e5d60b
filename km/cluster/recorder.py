"""Kubernetes events: what `kubectl describe` shows of km's decisions.

The same event again within the hour is counted, not written anew. Events are a courtesy: they wait
in a short queue of their own and the oldest are dropped when the API server cannot keep up.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from km import actions
from km.cluster.client import Cluster
from km.cluster.errors import ClusterError, NotFoundError

log = logging.getLogger("km.events")

QUEUE = 1000
REMEMBERED = 4096
FORGET_AFTER = 3600.0
"""Seconds; the API server itself forgets events after an hour."""

SHORTEST = 5.0
"""Seconds between two writes of one event: a repetition in between is only counted."""

LONGEST_MESSAGE = 1024
"""Bytes that the API server takes."""


@dataclass
class Written:
    """An event as it was last written."""

    name: str
    count: int
    at: float


class Recorder:
    """Writes the core's RecordEvent actions, one after another."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._queue: asyncio.Queue[actions.RecordEvent] = asyncio.Queue()
        self._written: OrderedDict[tuple[str, ...], Written] = OrderedDict()
        self.dropped = 0

    def record(self, action: actions.RecordEvent) -> None:
        """Put an event in the queue."""
        if self._queue.qsize() >= QUEUE:
            self._queue.get_nowait()
            self.dropped += 1
        self._queue.put_nowait(action)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            action = await self._queue.get()
            try:
                await self._write(action)
            except ClusterError as error:
                log.debug("event not written", extra={"event": action.event, "error": error})

    async def _write(self, action: actions.RecordEvent) -> None:
        key = (action.kind, action.namespace, action.name, action.uid, action.event, action.reason)
        now = self._clock()
        before = self._written.get(key)
        collection = f"/api/v1/namespaces/{action.namespace or 'default'}/events"
        if before is not None and now - before.at < FORGET_AFTER:
            before.count += 1
            if now - before.at < SHORTEST:
                return
            before.at = now
            patch = {"count": before.count, "lastTimestamp": timestamp()}
            try:
                await self._cluster.patch(f"{collection}/{before.name}", patch)
            except NotFoundError:
                del self._written[key]
            else:
                return
        name = event_name(key)
        await self._cluster.create(collection, event_of(action, name))
        self._written[key] = Written(name, 1, now)
        self._written.move_to_end(key)
        while len(self._written) > REMEMBERED:
            self._written.popitem(last=False)


def timestamp() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def event_name(key: tuple[str, ...]) -> str:
    """Unique per event and moment, and a valid object name as the object's own name is one."""
    digest = hashlib.sha256("\0".join((*key, str(time.time_ns()))).encode()).hexdigest()
    return f"{key[2][:230]}.{digest[:16]}"


def event_of(action: actions.RecordEvent, name: str) -> dict[str, Any]:
    """The Event object. Nodes have no namespace; their events live in `default`, like kubelet's."""
    now = timestamp()
    involved = {"kind": action.kind, "apiVersion": "v1", "name": action.name, "uid": action.uid}
    if action.namespace:
        involved["namespace"] = action.namespace
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": action.namespace or "default"},
        "involvedObject": involved,
        "reason": action.event,
        "message": action.reason[:LONGEST_MESSAGE],
        "type": "Warning" if action.warning else "Normal",
        "source": {"component": "km"},
        "reportingComponent": "km",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
