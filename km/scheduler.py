"""`km scheduler`: stands for election, and while it leads, joins Mesos, Kubernetes and the core.

    stand by ── Lease ──► lead: Mesos session + watches + extender + kube-scheduler + core
        ▲                      │
        └── ends the process ──┘   (losing the lease; systemd starts a fresh one)

A term is never resumed: whoever lost the lead ends, and starts again with nothing in memory. That
makes restart, takeover and crash the same path, and it is taken often enough to be trusted.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from typing import Any
from urllib.parse import urlsplit

from km import __version__
from km.cluster import identity
from km.cluster.client import Cluster
from km.cluster.errors import ClusterError
from km.cluster.kubeconfig import Access, load_kubeconfig
from km.cluster.lease import Lease
from km.futures import first_of
from km.mesos.errors import MesosError
from km.mesos.session import FailedOverError
from km.settings import Settings
from km.status.app import status_app
from km.status.metrics import Metrics
from km.status.serve import listen, serve
from km.term import Term

log = logging.getLogger("km")


async def run_scheduler(settings: Settings) -> int:
    """Run until told to stop (0) or until the lead is lost (1).

    Raises:
        SettingsError, KubeconfigError, PortTakenError: before anything is touched.
    """
    access = access_of(settings)
    access.ssl_context()  # certificates that cannot be used are said now
    settings.secret()
    # Ports first: two schedulers on one host by mistake must not both stand for election.
    status_port = listen(settings.address, settings.port)
    extender_port = listen("127.0.0.1", settings.extender_port)
    stopped = stop_signal()
    scheduler = Scheduler(settings, Cluster(access))
    work = asyncio.ensure_future(scheduler.run(status_port, extender_port))
    either: set[asyncio.Future[Any]] = {work, stopped}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        log.info("stopping", extra={"reason": f"got {stopped.result()}"})
    work.cancel()
    try:
        await work
    except asyncio.CancelledError:
        return 0
    except (ClusterError, MesosError, FailedOverError) as error:
        log.error("ending", extra={"reason": error})  # noqa: TRY400 - a fact, not a mistake of ours
    return 1


def stop_signal() -> asyncio.Future[str]:
    """A future that gets the name of the first SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[str] = loop.create_future()

    def stop(name: str) -> None:
        if not stopped.done():
            stopped.set_result(name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    return stopped


def access_of(settings: Settings) -> Access:
    """How to reach the API server."""
    if settings.kubeconfig is None:
        return Access(servers=settings.api_servers)
    return load_kubeconfig(settings.kubeconfig).with_servers(settings.api_servers)


class Scheduler:
    """One process: always shows its status, and leads when the Lease says so."""

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self._settings = settings
        self._cluster = cluster
        self._metrics = Metrics()
        self._term: Term | None = None
        self._lease = Lease(
            cluster,
            identity=identity.own(),
            name=settings.lease_name,
            is_dead=identity.ended_here,
        )
        self._address = settings.advertised_address or own_address(cluster.server)
        self._metrics.before_scrape(self._refresh)

    async def run(self, status_port: socket.socket, extender_port: socket.socket) -> None:
        """Serve the status, wait for the lead, lead, and give it back at the end."""
        app = status_app(metrics=self._metrics, status=self.status, ready=self.ready)
        status_server = asyncio.ensure_future(serve(app, status_port))
        try:
            await first_of(self._stand_and_lead(extender_port), status_server)
        finally:
            status_server.cancel()
            await asyncio.gather(status_server, return_exceptions=True)
            await self._cluster.close()

    async def _stand_and_lead(self, extender_port: socket.socket) -> None:
        log.info("standing by", extra={"identity": self._lease.identity, "version": __version__})
        await self._lease.acquire()
        log.info("leading", extra={"identity": self._lease.identity})
        self._metrics.leader.set(1)
        term = self._term = Term(
            self._settings, self._cluster, self._metrics, address=self._address
        )
        try:
            await first_of(self._lease.hold(), term.run(extender_port))
        finally:
            self._term = None
            self._metrics.leader.set(0)
            await self._lease.release()

    def status(self) -> dict[str, Any]:
        """What the status page and `km status` show."""
        base = {
            "version": __version__,
            "time": time.time(),
            "leading": self._term is not None,
            "leader": self._lease.holder,
            "identity": self._lease.identity,
        }
        return base if self._term is None else {**base, **self._term.status()}

    def ready(self) -> str:
        """What keeps this process from doing its work; empty when nothing does."""
        if self._term is not None:
            return self._term.missing()
        return "" if self._lease.holder else "nobody leads yet"

    def _refresh(self) -> None:
        if self._term is not None:
            self._term.refresh_gauges()


def own_address(server: str) -> str:
    """The address of this host on the way to `server` (a URL); nothing is sent to find out."""
    parts = urlsplit(server)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((parts.hostname or "", parts.port or 443))
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()
