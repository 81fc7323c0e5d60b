"""A collection followed for ever: listed once, then watched, listed again when the past is gone.

Whoever follows sees the whole of it first, then each change; after a gap (410, or a server that
forgot) the whole of it again. So a consumer never has to ask, and never misses a deletion.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from km.cluster.client import Cluster
from km.cluster.errors import ApiError, ClusterError, GoneError

log = logging.getLogger("km.cluster")

Item = TypeVar("Item")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 8.0
"""Seconds between two tries while the API server is away."""


@dataclass(frozen=True, kw_only=True)
class Listed(Generic[Item]):
    """Everything there is now; what is not in it does not exist."""

    items: list[Item]


@dataclass(frozen=True, kw_only=True)
class Changed(Generic[Item]):
    """One object was added or modified."""

    item: Item


@dataclass(frozen=True, kw_only=True)
class Deleted(Generic[Item]):
    """One object is gone; this is how it last looked."""

    item: Item


async def follow(
    cluster: Cluster,
    path: str,
    keep: Callable[[dict[str, Any]], Item],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    **params: str,
) -> AsyncIterator[Listed[Item] | Changed[Item] | Deleted[Item]]:
    """Follow the collection at `path`; `keep` turns each object into what the consumer needs.

    Never ends and raises nothing but cancellation: failures are logged and tried again.
    """
    pause = FIRST_PAUSE
    version: str | None = None
    while True:
        try:
            if version is None:
                items, version = await cluster.list(path, keep, **params)
                yield Listed(items=items)
            async for kind, item in cluster.watch(path, version, **params):
                version = item.get("metadata", {}).get("resourceVersion", version)
                pause = FIRST_PAUSE
                if kind == "DELETED":
                    yield Deleted(item=keep(item))
                elif kind in ("ADDED", "MODIFIED"):
                    yield Changed(item=keep(item))
        except GoneError:
            log.info("listing again", extra={"path": path, "reason": "the watch was too old"})
            version = None
        except ClusterError as error:
            if isinstance(error, ApiError):
                version = None  # refused, not cut: where the watch stood may mean nothing
            log.warning("cannot follow", extra={"path": path, "error": error, "again_in": pause})
            await sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
