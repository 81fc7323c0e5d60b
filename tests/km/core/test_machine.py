"""Events interleaved at random: whatever happens in whatever order, the invariants hold.

The world is the simulator's (it judges over-commitment, double binding and changed executors by
itself); here hypothesis chooses what happens when, and shrinks what it finds.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from km.pods import Shape
from km.resources import NOTHING, Resources
from km.rules import EVERY_AGENT, ON_DEMAND
from km.simulate.others import Job
from km.simulate.scenario import Plan, Scenario

QUIET = 30.0
"""Seconds: longer than any back-off, of km, kube-scheduler or a declined offer."""


class Anything(RuleBasedStateMachine):
    """Pods, jobs, accidents and time, in any order."""

    @initialize(
        nodes=st.sampled_from([ON_DEMAND, EVERY_AGENT]),
        seed=st.integers(0, 1000),
        reserved=st.sampled_from([0.0, 0.5]),
    )
    def begin(self, nodes: str, seed: int, reserved: float = 0.0) -> None:
        self.scenario = Scenario(
            Plan(
                agents=3, cpus=4, mem=4096, nodes=nodes, seed=seed, idle_seconds=5,
                reserved=reserved,
            )
        )  # fmt: skip
        self.scenario.km.start()

    def pass_time(self, seconds: float) -> None:
        end = self.scenario.clock.now + seconds
        while self.scenario.clock.step(end):
            self.scenario.check()

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.1, 1.0, 3.0, 12.0]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(
        cpus=st.sampled_from([0.1, 1, 1.8, 2.5, 8]),
        count=st.integers(1, 5),
        ends=st.sampled_from([None, 0.5, 5.0]),
    )
    def pods_come(self, cpus: float, count: int, ends: float | None) -> None:
        for _ in range(count):
            self.scenario.cluster.create(Shape(need=Resources.of(cpus=cpus, mem=100)), ends)

    @rule(count=st.integers(1, 5), cpus=st.sampled_from([0.5, 2, 4]))
    def jobs_come(self, count: int, cpus: float) -> None:
        need = Resources.of(cpus=cpus, mem=256)
        self.scenario.others[0].submit([Job(need, 3.0)] * count)

    @rule(
        kind=st.sampled_from(
            [
                "_rescind", "_executor_ends", "_stream_cut", "_km_restarts", "_pod_deleted",
                "_api_stutters", "_master_fails", "_operator_cordons", "_node_deleted",
                "_pod_resized", "_scheduler_lags", "_scheduler_refuses",
            ]
        )
    )  # fmt: skip
    def accident(self, kind: str) -> None:
        getattr(self.scenario, kind)()

    @precondition(lambda self: len(self.scenario.master.agents) > 1)
    @rule(
        kind=st.sampled_from(
            ["_agent_dies", "_agent_silent", "_agent_drained", "_agent_wanted_back"]
        )
    )
    def agent_trouble(self, kind: str) -> None:
        getattr(self.scenario, kind)()

    @invariant()
    def books_add_up(self) -> None:
        if not hasattr(self, "scenario"):
            return
        world = self.scenario.km.core.world
        for agent in world.ledger.agents.values():
            tasks = sum((task.resources for task in agent.tasks.values()), NOTHING)
            assert agent.used == tasks + agent.executor
            queue = world.queues.get(agent.id, {}).values()
            assert agent.promised == sum((bind.need for bind in queue), NOTHING)
        needs = (pod.need for group in world.waiting.values() for pod in group.values())
        assert world.demand == sum(needs, NOTHING)
        assert not set(world.binds) & {uid for group in world.waiting.values() for uid in group}
        assert set(world.ready) == {n for n, run in world.runs.items() if run.phase == "ready"}

    def teardown(self) -> None:
        if hasattr(self, "scenario"):
            self.pass_time(150)
            while self.something_moves(within=QUIET):
                pass
            self.scenario.check_converged()

    def something_moves(self, within: float) -> bool:
        """What ends makes room for what waits, one after another: that takes its time."""
        before = self.moves()
        self.pass_time(within)
        return self.moves() > before

    def moves(self) -> int:
        """Pods that found a place and jobs of others that ended, so far."""
        jobs = sum(batch.finished for batch in self.scenario.others)
        return self.scenario.cluster.bound_count + jobs


Anything.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnything = Anything.TestCase


def test_a_pod_that_was_launched_twice_keeps_only_its_later_task():
    """An executor ends while no master leads; its node is given up after pods were sent to it."""
    state = Anything()
    state.begin(nodes=ON_DEMAND, seed=903)
    state.pods_come(count=2, cpus=0.1, ends=None)
    state.agent_trouble(kind="_agent_dies")
    state.wait(seconds=1.0)
    state.accident(kind="_master_fails")
    state.agent_trouble(kind="_agent_dies")
    state.wait(seconds=3.0)
    state.pods_come(count=1, cpus=0.1, ends=None)
    state.accident(kind="_executor_ends")
    state.accident(kind="_api_stutters")

    state.teardown()
