"""A framework that is not ours: jobs by avmesos, the library of Airflow's provider for Mesos."""

from __future__ import annotations

import base64
import contextlib
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avmesos.client import MesosClient
from avmesos.exception import MesosException

from tests.mesos_cluster import wait_until

ROOT = Path(__file__).parents[2]
COMMAND = f"cd {ROOT} && exec {sys.executable} -m tests.km.job_executor"
ENDED = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR", "TASK_DROPPED"}
NOTHING = "nothing"
"""No task has this name."""
FAILOVER_S = 600
OVERDUE_S = 10
"""Longer than any job takes."""


def scalars(amounts: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {"name": kind, "type": "SCALAR", "scalar": {"value": amount}}
        for kind, amount in amounts.items()
    ]


def amount(resources: list[dict[str, Any]], kind: str) -> float:
    """How much of a kind there is, in Mesos' thousandths."""
    found = sum(one["scalar"]["value"] for one in resources if one["name"] == kind)
    return round(found, 3)


class Batch:
    """Runs jobs of one size wherever they fit; keeps the offers when `keeps` is set."""

    def __init__(
        self,
        master: str,
        *,
        name: str = "batch",
        role: str = "*",
        jobs: list[float] | None = None,
        keeps: bool = False,
        cpus: float = 0.3,
        mem: float = 48,
        command: str = COMMAND,
        at_once: int = sys.maxsize,
    ) -> None:
        self.waiting = deque(enumerate(jobs or []))
        self.running: dict[str, tuple[int, float]] = {}
        self.finished: set[int] = set()
        self.lost = 0
        self._keeps, self._cpus, self._mem, self._number = keeps, cpus, mem, 0
        self._command, self._at_once = command, at_once
        self._launched: dict[str, tuple[str, float]] = {}
        self._stopping = threading.Event()
        self.name = name
        self._client = MesosClient([f"http://{master}"], frameworkName=name, frameworkUser="root")
        self._client.set_role(role)
        # A master that went away is looked for until it is back, and keeps the jobs meanwhile.
        self._client.WAIT_TIME, self._client.max_reconnect = 1, sys.maxsize
        self._client.set_failover_timeout(FAILOVER_S)
        self._client.on(MesosClient.OFFERS, self._offered)
        self._client.on(MesosClient.UPDATE, self._updated)
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._client.register, self._nudge)
        ]

    @contextlib.contextmanager
    def at_work(self) -> Iterator[Batch]:
        """Registered until the block ends, torn down then."""
        logging.getLogger("avmesos").setLevel(logging.CRITICAL)
        for thread in self._threads:
            thread.start()
        try:
            wait_until(lambda: self._client.frameworkId, 20, f"{self.name} registered")
            yield self
        finally:
            self._stopping.set()
            self._client.get_driver().tearDown()
            self._client.stop = True
            self._client.disconnect_framework()
            for thread in self._threads:
                thread.join(15)

    def _nudge(self) -> None:
        """Make the master say something: avmesos hands on an event only when the next one comes."""
        while not self._stopping.wait(0.1):
            if self._client.frameworkId:
                asked = [(NOTHING, NOTHING), *self._overdue()]
                with contextlib.suppress(MesosException):
                    self._client.get_driver().reconcile(
                        [{"task_id": {"value": t}, "agent_id": {"value": a}} for t, a in asked]
                    )

    def _overdue(self) -> list[tuple[str, str]]:
        """Jobs that a master which went away may never have heard of."""
        limit = time.monotonic() - OVERDUE_S
        return [(task, agent) for task, (agent, at) in list(self._launched.items()) if at < limit]

    def _offered(self, offers: list[Any]) -> None:
        for offer in offers:
            if self._keeps:
                continue
            tasks = self._tasks(offer.get_offer())
            if tasks:
                offer.accept(tasks, {"filters": {"refuse_seconds": 0}})
            else:
                offer.decline({"filters": {"refuse_seconds": 0.5 if self.waiting else 3600}})

    def _tasks(self, offer: dict[str, Any]) -> list[dict[str, Any]]:
        """As many jobs as fit besides the executor they run in."""
        cpus = amount(offer["resources"], "cpus") - 0.1
        mem = amount(offer["resources"], "mem") - 32
        tasks = []
        room = self._at_once - len(self.running)
        while self.waiting and cpus >= self._cpus and mem >= self._mem and len(tasks) < room:
            job = self.waiting.popleft()
            self._number += 1
            task_id = f"job-{job[0]}-{self._number}"
            self.running[task_id] = job
            self._launched[task_id] = (offer["agent_id"]["value"], time.monotonic())
            cpus, mem = cpus - self._cpus, mem - self._mem
            tasks.append(
                {
                    "name": f"job {job[0]}",
                    "task_id": {"value": task_id},
                    "agent_id": offer["agent_id"],
                    "resources": scalars({"cpus": self._cpus, "mem": self._mem}),
                    "data": base64.b64encode(str(job[1]).encode()).decode(),
                    "executor": {
                        "type": "CUSTOM",
                        "executor_id": {"value": self.name},
                        "command": {"value": self._command},
                        "resources": scalars({"cpus": 0.1, "mem": 32}),
                    },
                }
            )
        return tasks

    def _updated(self, update: dict[str, Any]) -> None:
        status = update["status"]
        job = self.running.get(status["task_id"]["value"])
        if job is None or status["state"] not in ENDED:
            return
        del self.running[status["task_id"]["value"]]
        del self._launched[status["task_id"]["value"]]
        if status["state"] == "TASK_FINISHED":
            self.finished.add(job[0])
        else:
            self.lost += 1
            self.waiting.append(job)
