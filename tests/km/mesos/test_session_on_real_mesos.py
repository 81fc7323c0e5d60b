"""The session against real masters, agents and ZooKeeper."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from km import actions, events
from km.mesos.agents import AgentWatch
from km.mesos.errors import CallRefusedError, UnavailableError
from km.mesos.http import Credentials
from km.mesos.leader import Directory, directory, parse_master
from km.mesos.operator import OperatorClient
from km.mesos.scheduler_client import SchedulerClient
from km.mesos.session import FailedOverError, MesosSession
from km.mesos.translate import framework_info
from km.mesos_state import StateReader
from tests.mesos_cluster import MesosCluster


class Store:
    """Keeps the framework ID for a test."""

    def __init__(self) -> None:
        self.framework_id: str | None = None
        self.kept: list[str | None] = []

    async def load(self) -> str | None:
        return self.framework_id

    async def keep(self, framework_id: str | None) -> None:
        self.framework_id = framework_id
        self.kept.append(framework_id)


def describe(framework_id: str | None) -> dict[str, Any]:
    return framework_info(
        framework_id=framework_id,
        name="test",
        user="root",
        roles=["*"],
        failover_timeout=60.0,
        hostname="here",
        webui_url="http://here/",
        principal=None,
    )


class Framework:
    """A session whose events a test can wait for."""

    def __init__(self, where: Directory, store: Store, client: SchedulerClient) -> None:
        self.seen: list[events.Event] = []
        self.session = MesosSession(
            client=client, directory=where, store=store, describe=describe, tell=self.seen.append
        )
        self.run = asyncio.ensure_future(self.session.run())

    async def wait(
        self, kind: type, seconds: float = 15, where: Callable[[Any], bool] = lambda _: True
    ) -> Any:
        """The next event of a kind that has not been waited for yet."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for index, event in enumerate(self.seen):
                if isinstance(event, kind) and where(event):
                    del self.seen[: index + 1]
                    return event
            if self.run.done():
                self.run.result()
            await asyncio.sleep(0.02)
        raise TimeoutError(f"no {kind.__name__} in {self.seen}")

    async def states_until(self, last: str) -> list[str]:
        """The states a task goes through; each comes only after the one before is acknowledged."""
        states = []
        while last not in states:
            update = (await self.wait(events.TaskUpdated)).status
            states.append(update.state)
            self.session.send(
                actions.Acknowledge(
                    reason="test",
                    agent_id=update.agent_id,
                    task_id=update.task_id,
                    uuid=update.uuid,
                )
            )
        return states


@contextlib.asynccontextmanager
async def framework(
    url: str, store: Store | None = None, credentials: Credentials | None = None
) -> AsyncIterator[Framework]:
    where = directory(parse_master(url))
    client = SchedulerClient(credentials=credentials)
    made = Framework(where, store or Store(), client)
    try:
        yield made
    finally:
        made.run.cancel()
        await asyncio.gather(made.run, return_exceptions=True)
        await client.close()
        await where.close()


async def test_an_offer_becomes_a_running_command_and_its_updates_are_acknowledged(
    mesos: MesosCluster,
) -> None:
    master = mesos.start_master()
    mesos.start_agent(master=master, attributes="rack:r1")
    async with framework(master) as km:
        await km.wait(events.Subscribed)
        offers = await km.wait(events.OffersReceived)
        offer = offers.offers[0]
        assert (offer.hostname, dict(offer.attributes)) == ("agent-1", {"rack": "r1"})
        task = {
            "name": "sleep",
            "task_id": {"value": "t1"},
            "agent_id": {"value": offer.agent_id},
            "command": {"value": "exec sleep 1000"},
            "resources": [piece.to_mesos() for piece in offer.pieces if piece.name == "cpus"],
        }
        task["resources"][0]["scalar"] = {"value": 0.5}
        task["resources"].append(
            {
                "name": "mem",
                "type": "SCALAR",
                "scalar": {"value": 32},
                "allocation_info": {"role": "*"},
            }
        )
        km.session.send(
            actions.Accept(
                reason="test", offer_ids=(offer.id,), agent_id=offer.agent_id, task_infos=(task,)
            )
        )
        assert await km.states_until("TASK_RUNNING") == ["TASK_STARTING", "TASK_RUNNING"]
        operator = OperatorClient()
        reader = StateReader(km.session.framework_id or "")
        await operator.state(master, reader.add)
        state = reader.result()
        assert [(task.task_id, task.state) for task in state.tasks] == [("t1", "TASK_RUNNING")]
        await operator.close()

        km.session.send(actions.KillTask(reason="test", task_id="t1", agent_id=offer.agent_id))
        assert await km.states_until("TASK_KILLED") == ["TASK_KILLING", "TASK_KILLED"]


async def test_a_refused_call_comes_back_to_the_core(mesos: MesosCluster) -> None:
    master = mesos.start_master()
    async with framework(master) as km:
        await km.wait(events.Subscribed)
        bad = actions.Decline(reason="test", offer_ids=("no-such-offer",), refuse_seconds=1)
        km.session.send(bad)  # Mesos takes this one silently
        worse = actions.Acknowledge(reason="test", agent_id="a", task_id="t", uuid="not base64!")
        km.session.send(worse)
        failed = await km.wait(events.CallFailed)
        assert failed.action == worse
        assert failed.code == 400


async def test_calls_while_cut_off_fail_at_once(mesos: MesosCluster) -> None:
    async with framework("127.0.0.1:1") as km:
        km.session.send(actions.Revive(reason="test"))
        failed = await km.wait(events.CallFailed, 2)
        assert (failed.code, failed.message) == (None, "not subscribed to a master")


async def test_a_killed_master_that_comes_back_keeps_the_framework(mesos: MesosCluster) -> None:
    master = mesos.start_master()
    store = Store()
    async with framework(master, store) as km:
        first = await km.wait(events.Subscribed)
        mesos.masters["master-1"].stop()
        await km.wait(events.Disconnected)
        mesos.masters["master-1"].start()
        second = await km.wait(events.Subscribed)
        assert second.framework_id == first.framework_id
        assert store.kept == [first.framework_id]


async def test_another_master_is_found_through_zookeeper(
    mesos: MesosCluster, zookeeper: str
) -> None:
    for name in ("master-1", "master-2"):
        mesos.start_master(name, zk=zookeeper)
    async with framework(zookeeper) as km:
        first = await km.wait(events.Subscribed, 30)
        led = km.session.master
        (leader,) = (m for m in mesos.masters.values() if m.address == led)
        leader.stop()
        await km.wait(events.Disconnected)
        second = await km.wait(events.Subscribed, 30)
        assert second.framework_id == first.framework_id
        assert km.session.master not in (led, None)


async def test_a_master_that_freezes_is_left_when_heartbeats_are_missing(
    mesos: MesosCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Five intervals of 15 s would be 75 s of test.
    monkeypatch.setattr("km.mesos.scheduler_client.MISSED_HEARTBEATS", 0.1)
    master = mesos.start_master()
    async with framework(master) as km:
        await km.wait(events.Subscribed)
        process = mesos.masters["master-1"].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            gone = await km.wait(events.Disconnected, 10)
        finally:
            process.send_signal(signal.SIGCONT)
        assert "silent for 1.5 s" in gone.reason
        await km.wait(events.Subscribed, 30)


async def test_the_one_whose_framework_is_taken_over_stops(mesos: MesosCluster) -> None:
    master = mesos.start_master()
    store = Store()
    async with framework(master, store) as old:
        await old.wait(events.Subscribed)
        async with framework(master, store) as new:
            await new.wait(events.Subscribed)
            with pytest.raises(FailedOverError):
                await asyncio.wait_for(old.run, 10)


async def test_a_framework_that_was_torn_down_starts_anew(mesos: MesosCluster) -> None:
    master = mesos.start_master()
    store = Store()
    operator = OperatorClient()
    async with framework(master, store) as km:
        first = await km.wait(events.Subscribed)
        await operator.ask(
            master, "TEARDOWN", teardown={"framework_id": {"value": first.framework_id}}
        )
        second = await km.wait(events.Subscribed, 20)
        assert second.framework_id != first.framework_id
        assert store.kept == [first.framework_id, None, second.framework_id]
    await operator.close()


async def test_a_master_that_wants_credentials_gets_them(mesos: MesosCluster) -> None:
    secrets = mesos.directory / "credentials.json"
    secrets.write_text('{"credentials":[{"principal":"km","secret":"hush"}]}')
    master = mesos.start_master(
        authenticate_http_frameworks="true",
        http_framework_authenticators="basic",
        credentials=f"file://{secrets}",
    )
    client = SchedulerClient()
    with pytest.raises(CallRefusedError, match="401"):
        await client.subscribe(master, describe(None))
    await client.close()
    async with framework(master, credentials=Credentials(principal="km", secret="hush")) as km:
        await km.wait(events.Subscribed)


async def test_agents_that_come_and_go_are_heard_of(mesos: MesosCluster) -> None:
    master = mesos.start_master()
    operator = OperatorClient()
    seen: list[events.Event] = []
    watch = asyncio.ensure_future(AgentWatch(operator, lambda: master, ("*",), seen.append).run())
    await asyncio.sleep(0.5)
    agent = mesos.start_agent(master=master)
    await until(lambda: any(isinstance(event, events.AgentAdded) for event in seen))
    agent.stop(signal.SIGUSR1)  # asks the agent to leave for good
    await until(lambda: any(isinstance(event, events.AgentRemoved) for event in seen))
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await operator.close()


async def test_a_zookeeper_without_masters_says_so(mesos: MesosCluster, zookeeper: str) -> None:
    where = directory(parse_master(zookeeper))
    with pytest.raises(UnavailableError, match="no master has registered there yet"):
        await where.leader()
    assert mesos.zookeeper is not None
    mesos.zookeeper.stop()
    with pytest.raises(UnavailableError, match="ZooKeeper does not answer"):
        await where.leader()
    await where.close()


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.05)
