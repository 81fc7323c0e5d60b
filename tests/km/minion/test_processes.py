"""Processes that are kept, and the guard that outlives the minion; all of them real."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from km.minion.guard import Guard
from km.minion.processes import LONGEST_PAUSE, Process, cut_log, logs_in, pause
from tests.km.minion.one_agent import REPOSITORY, wait_for


@pytest.fixture
async def changed() -> AsyncIterator[asyncio.Condition]:
    condition = asyncio.Condition()
    tasks = set()

    async def notify() -> None:
        async with condition:
            condition.notify_all()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, lambda: tasks.add(loop.create_task(notify())))
    yield condition
    loop.remove_signal_handler(signal.SIGCHLD)


def make(tmp_path: Path, script: str) -> Process:
    return Process(
        name="it",
        command=["sh", "-c", script],
        log_path=f"{tmp_path}/it.log",
        environment={"PATH": os.environ["PATH"], "WORD": "hello"},
    )


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.5), (1, 0.5), (2, 1), (3, 2), (7, LONGEST_PAUSE), (99, 30)]
)
def test_pauses_grow_and_end_growing(failures: int, seconds: float) -> None:
    assert pause(failures) == seconds


async def test_a_process_that_dies_is_started_again(
    tmp_path: Path, changed: asyncio.Condition
) -> None:
    process = make(tmp_path, "echo $WORD; exec sleep 100")
    process.start()
    keeping = asyncio.create_task(process.keep(changed))
    await asyncio.sleep(0.1)
    first = process.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await asyncio.sleep(0.9)

    assert process.pid not in (None, first)
    assert (process.restarts, process.last_end) == (1, "signal 9")
    assert (tmp_path / "it.log").read_text() == "hello\nhello\n"
    keeping.cancel()
    await process.stop(1)
    assert process.pid is None


async def test_a_stubborn_process_is_killed(tmp_path: Path) -> None:
    process = make(tmp_path, "trap '' TERM; echo up; while :; do sleep 1; done")
    process.start()
    wait_for((tmp_path / "it.log").read_text)

    await process.stop(0.2)

    assert process.pid is None


def test_a_log_is_cut_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with path.open("a") as writer:
        print("x" * 100, file=writer, flush=True)
        assert cut_log(str(path), 1000) is False
        assert cut_log(str(path), 50) is True
        print("after", file=writer, flush=True)

    assert path.read_text() == "after\n"
    assert (tmp_path / "a.log.1").read_text() == "x" * 100 + "\n"
    assert cut_log(str(tmp_path / "none.log"), 1) is False


def test_the_minions_own_output_is_cut_as_well() -> None:
    kubelet = Process(name="kubelet", command=[], log_path="/s/kubelet.log", environment={})

    assert logs_in("/s", [kubelet]) == ["/s/stdout", "/s/stderr", "/s/kubelet.log"]


GUARDED = """
import os, sys
from km.minion.guard import Guard
guard = Guard(escape=[], clean_up=["touch", sys.argv[1]], log_path=sys.argv[2])
if sys.argv[3] == "dismiss":
    guard.dismiss()
print("up", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("how", "cleaned"), [("killed", True), ("dismiss", False)])
def test_the_guard_cleans_up_unless_dismissed(tmp_path: Path, how: str, cleaned: bool) -> None:
    mark = tmp_path / "cleaned"
    child = subprocess.Popen(
        [sys.executable, "-c", GUARDED, str(mark), str(tmp_path / "log"), how],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    assert child.stdout.readline() == b"up\n"
    assert not mark.exists()
    child.kill()
    child.communicate()

    if cleaned:
        wait_for(mark.exists)
    else:
        subprocess.run(["sleep", "0.3"], check=True)
        assert not mark.exists()


def test_children_of_the_minion_do_not_keep_the_guard_waiting(tmp_path: Path) -> None:
    guard = Guard(escape=[], clean_up=["true"], log_path=str(tmp_path / "log"))

    assert not os.get_inheritable(guard._writing)
    guard.dismiss()
    os.close(guard._writing)
