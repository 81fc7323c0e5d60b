"""Leader election by a Lease, as Kubernetes' own components do it.

One holder renews; the others watch when it last did, by their own clocks (never by the time
written in it: clocks of machines differ), and take over when it has been silent for the lease's
duration. Losing it is reported before anybody else can have it, as RENEW_WITHIN < DURATION.
A holder that is known to be dead is not waited for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Any

from km.cluster.client import Cluster
from km.cluster.errors import ClusterError, ConflictError, NotFoundError
from km.futures import within

log = logging.getLogger("km.lease")

DURATION = 15.0
"""Seconds of silence after which another may take it."""
RENEW_WITHIN = 10.0
"""Seconds without a successful renewal after which the holder must stop."""
RETRY = 2.0
"""Seconds between two tries, of the holder and of the others."""
PATIENCE = 3.0
"""Seconds for one answer: RENEW_WITHIN has room for a second try, at another API server."""

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


class Lease:
    """A place that one of several processes can hold."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        identity: str,
        name: str = "km-scheduler",
        namespace: str = "kube-system",
        is_dead: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster = cluster
        self.identity = identity
        self.holder: str | None = None
        """Who held it when we last looked."""
        self.lost = False
        """Whether we had it and can no longer be sure that we do."""
        self._collection = LEASES.format(namespace=namespace)
        self._name = name
        self._is_dead = is_dead
        self._clock = clock
        self._sleep = sleep
        self._seen: tuple[Any, ...] | None = None
        self._seen_at = 0.0

    async def acquire(self) -> None:
        """Wait until this process holds the lease."""
        self.lost = False
        while True:
            try:
                if await self._try():
                    return
            except ClusterError as error:
                log.warning("cannot look at the lease", extra={"error": error})
            await self._sleep(RETRY)

    async def hold(self) -> None:
        """Renew until that fails for RENEW_WITHIN seconds or another one holds it; then return."""
        renewed = self._clock()
        while True:
            await self._sleep(RETRY)
            left = RENEW_WITHIN - (self._clock() - renewed)
            if left <= 0:
                self.lost = True
                log.error("lost the lease", extra={"reason": "it could not be renewed in time"})
                return
            try:
                # A request that hangs must not carry us past the moment another may take over.
                held = await within(left, self._try())
            except (ClusterError, asyncio.TimeoutError) as error:
                log.warning(
                    "cannot renew the lease", extra={"error": error, "left": round(left, 1)}
                )
                continue
            if not held:
                self.lost = True
                log.error("lost the lease", extra={"reason": f"{self.holder} holds it"})
                return
            renewed = self._clock()

    async def release(self) -> None:
        """Give it back, so that another one need not wait for it to run out.

        One that was lost is not asked for: the API server that could not renew it does not answer
        this either, and a fresh start must not wait for it.
        """
        if self.lost:
            return
        path = f"{self._collection}/{self._name}"
        try:
            lease = await self._cluster.get(path, patience=PATIENCE)
            if lease["spec"].get("holderIdentity") == self.identity:
                lease["spec"]["holderIdentity"] = ""
                lease["spec"]["leaseDurationSeconds"] = 1
                await self._cluster.replace(path, lease, patience=PATIENCE)
        except ClusterError as error:
            log.warning("cannot release the lease", extra={"error": error})

    async def _try(self) -> bool:
        path = f"{self._collection}/{self._name}"
        try:
            lease = await self._cluster.get(path, patience=PATIENCE)
        except NotFoundError:
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self._name},
                "spec": {"leaseTransitions": -1},
            }
        spec = lease["spec"]
        self.holder = spec.get("holderIdentity") or None
        if self.holder not in (None, self.identity) and not (
            self._is_dead(self.holder) or self._ran_out(spec)
        ):
            return False
        self._take(spec)
        try:
            if "resourceVersion" in lease["metadata"]:
                await self._cluster.replace(path, lease, patience=PATIENCE)
            else:
                await self._cluster.create(self._collection, lease, patience=PATIENCE)
        except ConflictError:
            return False  # another one was faster
        self.holder = self.identity
        return True

    def _ran_out(self, spec: dict[str, Any]) -> bool:
        record = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock()
        return self._clock() - self._seen_at >= float(spec.get("leaseDurationSeconds") or DURATION)

    def _take(self, spec: dict[str, Any]) -> None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if spec.get("holderIdentity") != self.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec["holderIdentity"] = self.identity
        spec["leaseDurationSeconds"] = int(DURATION)
        spec["renewTime"] = now
