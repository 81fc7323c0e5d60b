"""One term of leadership: everything km does to Mesos and Kubernetes, from election to the end."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import time
from collections.abc import Mapping
from typing import Any

from km import __version__, actions
from km.cluster import kube_scheduler
from km.cluster.client import Cluster
from km.cluster.deeds import Deeds
from km.cluster.feeds import feed_certificates, feed_nodes, feed_pods
from km.cluster.framework import FrameworkConfigMap
from km.cluster.recorder import Recorder
from km.core import Core
from km.extender import Extender
from km.futures import first_of
from km.loop import Loop
from km.mesos.agents import AgentWatch
from km.mesos.errors import UnavailableError
from km.mesos.http import Credentials
from km.mesos.leader import directory
from km.mesos.operator import OperatorClient
from km.mesos.scheduler_client import SchedulerClient
from km.mesos.session import MesosSession
from km.mesos.translate import framework_info
from km.mesos_state import StateReader
from km.offers import MesosState
from km.pods import Pod, pod_from_kubernetes
from km.resources import Resources
from km.rules import Rules
from km.settings import Settings
from km.status.metrics import Metrics
from km.status.serve import serve
from km.status.view import fill_gauges, fill_shares, page_of

log = logging.getLogger("km")


class Term:
    """Made when this process becomes the leader, thrown away when it no longer is."""

    def __init__(
        self, settings: Settings, cluster: Cluster, metrics: Metrics, *, address: str
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._metrics = metrics
        self._address = address
        self._rules = rules_of(settings)
        # Task ids end in a number; starting at the clock, they differ from every earlier term's.
        self._core = Core(self._rules, incarnation=int(time.time() * 1000))
        self._deeds = Deeds(cluster)
        self._recorder = Recorder(cluster)
        self._directory = directory(settings.mesos_master)
        credentials = credentials_of(settings)
        timeout = settings.http_client_timeout
        self._client = SchedulerClient(credentials=credentials, timeout=timeout)
        # GET_STATE of a large cluster takes the master longer than a call does.
        self._operator = OperatorClient(credentials=credentials, timeout=3 * timeout)
        self._loop = Loop(
            self._core,
            mesos=self,
            list_mesos=self._list_mesos,
            deeds=self._deeds,
            recorder=self._recorder,
            metrics=metrics,
        )
        self._session = MesosSession(
            client=self._client,
            directory=self._directory,
            store=FrameworkConfigMap(cluster),
            describe=self._describe,
            tell=self._loop.tell,
        )
        self._agents = AgentWatch(
            self._operator, lambda: self._session.master, settings.framework_roles, self._loop.tell
        )

    async def run(self, extender_port: socket.socket) -> None:
        """Do the work until cancelled, or until something fails that cannot be tried again."""
        extender = Extender(self._loop, self._read_pod)
        works = [
            self._session.run(),
            self._agents.run(),
            feed_pods(self._cluster, self._loop.tell, self._rules.default_request),
            feed_nodes(self._cluster, self._loop.tell),
            feed_certificates(self._cluster, self._loop.tell, self._deny),
            self._recorder.run(),
            serve(extender.app(), extender_port),
            self._loop.broken,
        ]
        if self._settings.kube_scheduler is not None:
            works.append(kube_scheduler.keep_running(self._kube_scheduler()))
        try:
            await first_of(*works)
        finally:
            await self._loop.close()
            await self._client.close()
            await self._operator.close()
            await self._directory.close()

    def send(self, action: actions.Action) -> None:
        """Pass a scheduler call on to the session (which needs the loop, which needs this)."""
        self._session.send(action)

    def status(self) -> dict[str, Any]:
        """The leader's part of /status.json."""
        mesos = {
            "master": self._session.master,
            "url": str(self._settings.mesos_master),
            "framework": self._settings.framework_name,
            "framework_id": self._session.framework_id,
            "roles": list(self._settings.framework_roles),
        }
        overhead = (self._rules.executor + self._rules.node_task).as_dict()
        return {"mesos": mesos, **page_of(self._core.view(), overhead, self._loop.recent)}

    def missing(self) -> str:
        """What the leader still waits for; empty when it does its work."""
        if self._session.master is None:
            return f"not subscribed to Mesos at {self._settings.mesos_master}"
        return "" if self._core.world.synced else "still reading the state of Mesos and Kubernetes"

    def refresh_gauges(self) -> None:
        fill_gauges(self._metrics, self._core.totals(), self._core.world.counters)
        fill_shares(self._metrics, self._core.shares())

    def _read_pod(self, pod: Mapping[str, Any]) -> Pod:
        return pod_from_kubernetes(pod, self._rules.default_request)

    def _deny(self, action: actions.DenyCertificate) -> None:
        self._loop.start(action)

    def _describe(self, framework_id: str | None) -> dict[str, Any]:
        settings = self._settings
        page = f"http://{bracketed(self._address)}:{settings.port}/"
        return framework_info(
            framework_id=framework_id,
            name=settings.framework_name,
            user=settings.mesos_user,
            roles=settings.framework_roles,
            failover_timeout=settings.failover_timeout,
            hostname=socket.gethostname(),
            webui_url=settings.framework_weburi or page,
            principal=settings.mesos_authentication_principal,
        )

    async def _list_mesos(self) -> MesosState:
        master, framework_id = self._session.master, self._session.framework_id
        if master is None or framework_id is None:
            raise UnavailableError("not subscribed to a master")
        reader = StateReader(framework_id, self._settings.framework_roles)
        await self._operator.state(master, reader.add)
        return reader.result()

    def _kube_scheduler(self) -> list[str]:
        settings = self._settings
        kubeconfig = settings.kube_scheduler_kubeconfig or settings.kubeconfig
        assert settings.kube_scheduler is not None
        assert kubeconfig is not None
        config = kube_scheduler.write_configuration(
            settings.runtime_dir, kubeconfig, settings.extender_port
        )
        return kube_scheduler.command(settings.kube_scheduler, config, settings.kube_scheduler_port)


def rules_of(settings: Settings) -> Rules:
    """The settings that decisions go by."""
    return Rules(
        nodes=settings.nodes,
        default_request=Resources.of(
            cpus=settings.default_container_cpu_limit, mem=settings.default_container_mem_limit
        ),
        executor=Resources.of(cpus=settings.executor_cpus, mem=settings.executor_mem),
        minion_command=settings.executor_command,
        cluster_dns=settings.cluster_dns or "",
        cluster_domain=settings.cluster_domain,
        node_labels=dict(settings.node_labels),
        agent_labels={agent: dict(labels) for agent, labels in settings.agent_labels},
        node_version=node_version(settings),
        hold_seconds=settings.offer_hold,
        gather_seconds=settings.gather,
        bind_seconds=settings.bind_timeout,
        idle_seconds=settings.idle_timeout,
        list_interval=settings.state_cache_ttl,
        implicit_interval=settings.reconcile_interval,
    )


def node_version(settings: Settings) -> str:
    """A short digest of everything a running node would have to be started anew for."""
    parts = [
        __version__,
        settings.node_version,
        settings.cluster_dns,
        settings.cluster_domain,
        settings.executor_cpus,
        settings.executor_mem,
        settings.executor_command,
        settings.node_labels,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def credentials_of(settings: Settings) -> Credentials | None:
    """Principal and secret, if both are given."""
    secret = settings.secret()
    principal = settings.mesos_authentication_principal
    if secret is None or principal is None:
        return None
    return Credentials(principal=principal, secret=secret)


def bracketed(address: str) -> str:
    """An address as URLs want it."""
    return f"[{address}]" if ":" in address else address
