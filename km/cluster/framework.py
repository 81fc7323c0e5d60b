"""The framework ID, the one thing km keeps: ConfigMap `km-framework` in kube-system.

Everything else is read back from Mesos and Kubernetes. With the ID a new km takes over the
executors and tasks of the one before; without it Mesos would kill them after the failover timeout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from km.cluster.client import Cluster
from km.cluster.errors import NotFoundError, UnreachableError

log = logging.getLogger("km.cluster")

Result = TypeVar("Result")

RETRY = 1.0
"""Seconds between two tries while the API server is away."""

COLLECTION = "/api/v1/namespaces/kube-system/configmaps"
NAME = "km-framework"
KEY = "framework-id"


class FrameworkConfigMap:
    """The ID in its ConfigMap; waits for an API server that is away."""

    def __init__(
        self, cluster: Cluster, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._cluster = cluster
        self._sleep = sleep

    async def load(self) -> str | None:
        """The ID that was kept, or None before the first subscription.

        Raises:
            ApiError: the API server does not let us read it. To go on without would orphan tasks.
        """
        return await self._patiently(self._load)

    async def keep(self, framework_id: str | None) -> None:
        """Write it down; None forgets it (Mesos has removed the framework for good)."""

        async def keep() -> None:
            await self._keep(framework_id or "")

        await self._patiently(keep)

    async def _patiently(self, work: Callable[[], Awaitable[Result]]) -> Result:
        while True:
            try:
                return await work()
            except UnreachableError as error:
                log.warning("the framework ID has to wait", extra={"error": error})
                await self._sleep(RETRY)

    async def _load(self) -> str | None:
        try:
            kept = await self._cluster.get(f"{COLLECTION}/{NAME}")
        except NotFoundError:
            return None
        return (kept.get("data") or {}).get(KEY) or None

    async def _keep(self, framework_id: str) -> None:
        data = {KEY: framework_id}
        try:
            await self._cluster.patch(f"{COLLECTION}/{NAME}", {"data": data})
        except NotFoundError:
            await self._cluster.create(
                COLLECTION,
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": "km"}},
                    "data": data,
                },
            )
