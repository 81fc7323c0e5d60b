"""The minion under a real Mesos agent with its real cgroup isolators; node programs only wait.

Needs root and cgroup version 1. What a real kubelet does is tested on a lab host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.km.minion.one_agent import (
    MESOS,
    NODE,
    Framework,
    OneAgent,
    executor,
    host_files,
    one_agent,
    pod_data,
    task,
    wait_for,
)
from tests.km.minion.test_cri import Sandboxes
from tests.mesos_cluster import ask

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="cgroups are root's"),
    pytest.mark.skipif(not (MESOS / "mesos-agent").exists(), reason="no Mesos; run make setup"),
    pytest.mark.skipif(
        not Path("/sys/fs/cgroup/memory").exists(), reason="Mesos 1.11 isolates on cgroup v1 only"
    ),
]
MIB = 2**20


class Host:
    """A host with an agent, a runtime socket without containers, and a framework."""

    def __init__(self, directory: Path, agent: OneAgent) -> None:
        self.directory = directory
        self.agent = agent
        self.settings = host_files(directory / "host")
        self.executor = executor(self.settings)
        self.framework = Framework(agent.master_port)

    def start_node(self) -> None:
        self.framework.launch(self.executor, task("node.here.1", NODE, cpus=0.01, mem=1))
        self.wait("node.here.1", "TASK_RUNNING")

    def start_pod(self, name: str, limit: float | None = None, **more: Any) -> None:
        self.framework.launch(self.executor, task(name, pod_data(name, limit), **more))
        self.wait(name, "TASK_RUNNING")

    def wait(self, task_id: str, state: str, seconds: float = 15) -> None:
        wait_for(lambda: self.framework.state(task_id) == state, seconds)

    @property
    def notes(self) -> dict[str, Any]:
        notes = json.loads((self.directory / "host/state/state.json").read_text())
        assert isinstance(notes, dict)
        return notes

    def cgroup(self, controller: str, path: str = "/pods") -> Path:
        return Path(f"/sys/fs/cgroup/{controller}{self.notes['cgroups']['path']}{path}")

    @property
    def memory(self) -> int:
        return int((self.cgroup("memory") / "memory.limit_in_bytes").read_text())

    def run_in_pods(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a process in the cgroups that a pod would be in."""
        groups = [self.cgroup(controller) for controller in ("memory", "freezer", "pids")]
        enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in groups)
        return subprocess.Popen(["sh", "-c", f'{enter}exec "$@"', "sh", *command])

    def left(self) -> list[str]:
        """Cgroups of the node, in any hierarchy."""
        found = Path("/sys/fs/cgroup").glob(f"*/{self.agent.cgroups_root}/*-*")
        return [str(path) for path in found]


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet has no command line."""
    with contextlib.suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    return False


@contextlib.contextmanager
def runtime(path: Path) -> Iterator[Sandboxes]:
    """A container runtime's socket; the grpc server needs a loop of its own."""
    sandboxes = Sandboxes()
    sandboxes.running = {"a" * 64}
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    up = threading.Event()

    async def serve() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((sandboxes,))
        server.add_insecure_port(f"unix://{path}")
        await server.start()
        up.set()
        await stop.wait()
        await server.stop(None)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    up.wait()
    yield sandboxes
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with one_agent(tmp_path) as agent:
        host = Host(tmp_path, agent)
        with runtime(tmp_path / "host/no-runtime.sock"):
            yield host
            with contextlib.suppress(FileNotFoundError):
                host.framework.call("TEARDOWN")
                wait_for(lambda: not (tmp_path / "host/state/state.json").exists())
        host.framework.close()
        host.framework.close()


def test_a_node_runs_its_three_programs_with_their_files(host: Host) -> None:
    host.start_node()
    log = wait_for((host.agent.sandbox() / "kubelet.log").read_text)

    assert f"--config={host.directory}/host/state/kubelet.json" in log
    configuration = json.loads((host.directory / "host/state/kubelet.json").read_text())
    assert configuration["cgroupRoot"] == host.notes["cgroups"]["path"] + "/pods"
    assert [process["name"] for process in host.notes["processes"]] == [
        "kubelet",
        "kube-proxy",
        "flanneld",
    ]
    assert [state for _, state, _ in host.framework.states] == ["TASK_STARTING", "TASK_RUNNING"]


def test_the_minion_stays_small(host: Host) -> None:
    host.start_node()
    status = Path(f"/proc/{host.notes['pid']}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))

    assert int(resident.split()[1]) < 40 * 1024


def test_pods_hold_what_their_tasks_were_granted_upwards_and_downwards(host: Host) -> None:
    host.start_node()
    assert host.memory == 16 * MIB
    host.start_pod("a", mem=64)
    assert host.memory == 64 * MIB
    host.start_pod("b", mem=64, limits={"mem": {"value": 200}, "cpus": {"value": "Infinity"}})
    assert host.memory == 264 * MIB
    assert (host.cgroup("cpu") / "cpu.shares").read_text() == "204\n"

    host.framework.kill("b")
    host.wait("b", "TASK_KILLED")

    assert host.memory == 64 * MIB
    container = int((host.cgroup("memory", "") / "memory.limit_in_bytes").read_text())
    assert container >= (128 + 1 + 64 + 200) * MIB, "Mesos never lowers it, so the minion has to"


def test_memory_in_use_is_taken_back_as_it_is_freed(host: Host) -> None:
    host.start_node()
    host.start_pod("a", mem=32)
    host.start_pod("b", mem=300)
    mark = host.directory / "holds"
    script = "import sys, time; b = bytearray(150 << 20); open(sys.argv[1], 'w'); time.sleep(99)"
    holder = host.run_in_pods("python3", "-c", script, str(mark))
    wait_for(mark.exists)

    host.framework.kill("b")
    host.wait("b", "TASK_KILLED")
    assert 150 * MIB < host.memory < 300 * MIB
    wait_for(lambda: host.notes["memory_settled"] is False)
    holder.kill()
    holder.wait()

    wait_for(lambda: host.memory == 32 * MIB)


def test_a_pod_that_takes_more_is_killed_and_the_node_is_not(host: Host) -> None:
    host.start_node()
    host.start_pod("a", mem=64)
    pids = [process["pid"] for process in host.notes["processes"]]

    greedy = host.run_in_pods("tail", "/dev/zero")

    assert greedy.wait(20) == -signal.SIGKILL
    assert [process["pid"] for process in host.notes["processes"]] == pids
    assert host.framework.state("node.here.1") == "TASK_RUNNING"


def test_killing_the_node_ends_pods_first_kindly_and_leaves_nothing(host: Host) -> None:
    host.start_node()
    host.start_pod("a")
    mark = host.directory / "ended in order"
    script = f"trap 'touch \"{mark}\"; exit' TERM; while :; do sleep 0.05; done"
    pod = host.run_in_pods("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script)
    orphan = host.run_in_pods("sleep", "1000")
    wait_for(lambda: len((host.cgroup("pids") / "cgroup.procs").read_text().split()) >= 3)
    pids = [process["pid"] for process in host.notes["processes"]]

    host.framework.kill("node.here.1")
    host.wait("node.here.1", "TASK_KILLED")

    assert mark.exists()
    assert host.framework.state("a") == "TASK_KILLED"
    assert orphan.wait(20) == -signal.SIGKILL
    pod.wait(5)
    wait_for(lambda: not any(map(alive, pids)))
    wait_for(lambda: not host.left())
    assert not (host.directory / "host/state/state.json").exists()


def test_shutdown_of_the_executor_leaves_nothing(host: Host) -> None:
    host.start_node()
    host.start_pod("a")

    host.framework.shut_down(host.executor["executor_id"]["value"])

    host.wait("node.here.1", "TASK_KILLED")
    wait_for(lambda: not host.left())
    assert not (host.directory / "host/state/state.json").exists()


def drain_agent(host: Host, **more: Any) -> None:
    body = {"agent_id": host.framework.agent_id, **more}
    ask(f"127.0.0.1:{host.agent.master_port}", "DRAIN_AGENT", drain_agent=body)


@pytest.mark.parametrize("more", [{"max_grace_period": {"seconds": 60}}, {}])
def test_on_a_drained_agent_pods_stay_until_km_ends_them(host: Host, more: dict[str, Any]) -> None:
    host.start_node()
    host.start_pod("a")

    drain_agent(host, **more)
    host.wait("node.here.1", "TASK_KILLING")
    time.sleep(1)
    assert host.framework.state("a") == "TASK_RUNNING"
    host.framework.kill("a")
    host.wait("a", "TASK_KILLED")
    host.framework.kill("node.here.1")

    host.wait("node.here.1", "TASK_KILLED")


def test_a_drained_agent_is_left_when_the_time_that_was_granted_is_over(host: Host) -> None:
    host.start_node()
    host.start_pod("a")

    drain_agent(host, max_grace_period={"seconds": 3})
    host.wait("node.here.1", "TASK_KILLING")
    assert host.framework.state("a") == "TASK_RUNNING"

    host.wait("node.here.1", "TASK_KILLED")
    assert host.framework.state("a") == "TASK_KILLED"
    wait_for(lambda: not host.left())


def test_a_killed_minion_leaves_nothing_either(host: Host) -> None:
    host.start_node()
    host.start_pod("a")
    orphan = host.run_in_pods("sleep", "1000")
    pids = [process["pid"] for process in host.notes["processes"]]

    os.kill(host.notes["pid"], signal.SIGKILL)

    # Mesos waits until nobody is left in the container's cgroups, and a zombie is somebody.
    assert orphan.wait(20) == -signal.SIGKILL
    host.wait("node.here.1", "TASK_FAILED")
    wait_for(lambda: not host.left())
    wait_for(lambda: not (host.directory / "host/state/state.json").exists())
    wait_for(lambda: not any(map(alive, pids)))


def test_a_node_follows_at_once_on_one_that_was_killed(host: Host) -> None:
    host.start_node()
    os.kill(host.notes["pid"], signal.SIGKILL)
    host.wait("node.here.1", "TASK_FAILED")

    host.framework.launch(host.executor, task("node.here.2", NODE, cpus=0.01, mem=1))

    host.wait("node.here.2", "TASK_RUNNING")
    assert len(host.left()) == len({Path(path).parent for path in host.left()}), "one container"


def test_a_restarted_agent_finds_pods_and_node_as_they_were(host: Host) -> None:
    host.start_node()
    host.start_pod("a")
    before = host.notes["pid"], [process["pid"] for process in host.notes["processes"]]

    host.agent.kill("mesos-agent")
    wait_for(lambda: host.notes["connected"] is False)
    host.agent.start_agent()
    wait_for(lambda: host.notes["connected"] is True)
    host.start_pod("b")

    assert (host.notes["pid"], [p["pid"] for p in host.notes["processes"]]) == before
    states = [state for task_id, state, _ in host.framework.states if task_id == "a"]
    assert set(states) == {"TASK_RUNNING"}


def test_what_happens_while_the_agent_is_away_is_told_when_it_is_back(host: Host) -> None:
    host.start_node()
    host.agent.kill("mesos-agent")
    os.kill(host.notes["processes"][0]["pid"], signal.SIGKILL)
    wait_for(lambda: host.notes["processes"][0]["restarts"] == 1)

    os.kill(host.notes["pid"], signal.SIGTERM)
    wait_for(lambda: not (host.directory / "host/state/state.json").exists())
    host.agent.start_agent()

    wait_for(lambda: host.framework.state("node.here.1") not in ("TASK_RUNNING", None), 30)


def test_a_second_node_and_senseless_tasks_are_refused(host: Host) -> None:
    host.start_node()
    host.framework.launch(host.executor, task("node.here.2", NODE), task("x", {"kind": "cat"}))

    host.wait("node.here.2", "TASK_FAILED")
    host.wait("x", "TASK_ERROR")
    assert "node here runs here already" in host.framework.message("node.here.2")
    assert "data.kind is 'cat'" in host.framework.message("x")
    assert host.framework.state("node.here.1") == "TASK_RUNNING"


def test_a_host_that_lacks_something_says_all_of_it_and_the_executor_goes(host: Host) -> None:
    shutil.rmtree(host.directory / "host/bin")
    host.framework.launch(host.executor, task("node.here.1", NODE))

    host.wait("node.here.1", "TASK_FAILED")

    for name in ("kubelet", "kube-proxy", "flanneld"):
        assert f"{name} is no executable file" in host.framework.message("node.here.1")
    wait_for(lambda: not host.left())


def test_a_pods_task_runs_within_milliseconds(host: Host) -> None:
    host.start_node()
    for number in range(10):
        host.start_pod(f"p{number}", mem=8)

    lines = (host.agent.sandbox() / "stderr").read_text().splitlines()
    assert sum("TASK_RUNNING" in line for line in lines) == 11
    started = time.perf_counter()
    host.start_pod("last", mem=8)
    assert time.perf_counter() - started < 1


def test_without_mesos_isolators_the_tree_is_our_own(tmp_path: Path) -> None:
    with one_agent(tmp_path, launcher="posix") as agent:
        host = Host(tmp_path, agent)
        with runtime(tmp_path / "host/no-runtime.sock"):
            host.start_node()
            outer = host.cgroup("memory", "") / "memory.limit_in_bytes"
            assert int(outer.read_text()) == (128 + 1) * MIB, "what the node itself was granted"
            host.start_pod("a", limit=100)
            assert (
                host.cgroup("memory", "")
                == Path("/sys/fs/cgroup/memory/mesos") / (host.executor["executor_id"]["value"])
            )
            assert host.memory == 100 * MIB
            assert int(outer.read_text()) == (128 + 1 + 100) * MIB
            minion = host.notes["pid"]
            inside = (host.cgroup("memory", "/node") / "cgroup.procs").read_text().split()
            assert str(minion) in inside
            orphan = host.run_in_pods("sleep", "1000")
            groups = host.cgroup("memory", "")

            os.kill(minion, signal.SIGKILL)

            assert orphan.wait(20) == -signal.SIGKILL
            host.wait("node.here.1", "TASK_FAILED")
            wait_for(lambda: not groups.exists())
            wait_for(lambda: not (tmp_path / "host/state/state.json").exists())
        host.framework.close()
