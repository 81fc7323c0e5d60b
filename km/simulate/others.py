"""Another framework: jobs come, take what they are offered, run for a while and go."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from km.offers import Offer
from km.resources import Resources
from km.simulate.clock import Clock
from km.simulate.master import Framework, Master, SimAgent


@dataclass(frozen=True, slots=True)
class Job:
    need: Resources
    seconds: float


class Batch(Framework):
    """A well-behaved batch framework (Spark or Chronos): one task per job, first come."""

    def __init__(self, name: str, master: Master, clock: Clock, weight: float = 1.0) -> None:
        super().__init__(name, weight)
        self.master = master
        self.clock = clock
        self.jobs: deque[Job] = deque()
        self.running: dict[str, tuple[str, Job]] = {}
        self.finished = 0
        self.suppressed = True
        self._count = 0

    def submit(self, jobs: list[Job]) -> None:
        self.jobs.extend(jobs)
        if jobs:
            self.master.revive(self)

    def offered(self, offers: list[Offer]) -> None:
        for offer in offers:
            left, tasks = offer.resources, {}
            while self.jobs and left.covers(self.jobs[0].need):
                job = self.jobs.popleft()
                left = left - job.need
                tasks[self._start(offer.agent_id, job)] = job.need
            if tasks:
                self.master.run(self, offer.id, tasks)
            else:
                self.master.decline((offer.id,), 5.0)
        if not self.jobs:
            self.suppressed = True

    def _start(self, agent_id: str, job: Job) -> str:
        self._count += 1
        task_id = f"{self.name}.{self._count}"
        self.running[task_id] = (agent_id, job)
        self.clock.after(job.seconds, self._end, task_id)
        return task_id

    def _end(self, task_id: str) -> None:
        found = self.running.pop(task_id, None)
        if found is not None:
            self.master.end(found[0], task_id)
            self.finished += 1

    def lost(self, agent: SimAgent) -> None:
        for task_id, (agent_id, job) in list(self.running.items()):
            if agent_id == agent.id:
                del self.running[task_id]
                self.submit([job])
