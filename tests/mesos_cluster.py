"""Real Mesos (and ZooKeeper) on loopback, for tests: masters and agents as plain processes.

Everything lies in one throwaway directory, every port is free when chosen, and `stop` leaves no
process behind, executors included. Agents isolate by posix means only, so no root is needed for
more than what the executors themselves do.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VERSION = "1.11.0"
JAVA_CLASSES = ("/usr/share/java/zookeeper.jar",)
RESOURCES = "cpus:4;mem:4096;disk:8192;ports:[31000-32000]"


def cache() -> Path:
    """Where built programs lie."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("KUBERNETES_MESOS_CACHE") or f"{home}/kubernetes-mesos")


def programs() -> Path:
    """The directory with mesos-master and mesos-agent."""
    return cache() / "programs" / "mesos" / VERSION


def missing() -> str:
    """Why Mesos cannot run here; empty when it can."""
    if not (programs() / "mesos-master").exists():
        return f"{programs()}/mesos-master is not there; make setup builds it"
    return ""


def missing_zookeeper() -> str:
    """Why ZooKeeper cannot run here; empty when it can."""
    if shutil.which("java") is None:
        return "java is not installed"
    if not Path(JAVA_CLASSES[0]).exists():
        return f"{JAVA_CLASSES[0]} is not there (Debian package zookeeper)"
    return ""


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> Any:
    """Ask until it is true; give what it said. Raises TimeoutError naming `what`."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


@dataclass
class Program:
    """A process that can be killed and started again as it was."""

    name: str
    command: list[str]
    log: Path
    address: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it (by default as a crash does) and wait for that."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            # One that was stopped by SIGSTOP takes nothing but SIGKILL.
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


@dataclass
class MesosCluster:
    """Masters, agents and ZooKeeper servers below one directory."""

    directory: Path
    masters: dict[str, Program] = field(default_factory=dict)
    agents: dict[str, Program] = field(default_factory=dict)
    zookeeper: Program | None = None

    def start_zookeeper(self) -> str:
        """One server; returns the URL for masters and agents."""
        home = self.directory / "zookeeper"
        home.mkdir()
        port = free_port()
        (home / "zoo.cfg").write_text(
            f"tickTime=500\ndataDir={home}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
            "admin.enableServer=false\nmaxClientCnxns=0\nminSessionTimeout=1000\n"
            "4lw.commands.whitelist=srvr\n"
        )
        command = [
            "java",
            "-Xmx128m",
            "-cp",
            ":".join(JAVA_CLASSES),
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(home / "zoo.cfg"),
        ]
        program = self.zookeeper = self._program("zookeeper", command, f"127.0.0.1:{port}")
        program.start()
        self._wait_for_port(program)
        # It listens before it serves.
        wait_until(lambda: b"Mode: " in say(port, b"srvr"), 30, "ZooKeeper serving")
        return f"zk://{program.address}/mesos"

    def start_master(self, name: str = "master-1", *, zk: str | None = None, **flags: str) -> str:
        """A master; alone with a registry in memory, with `zk` one of several with one on disk.

        Returns:
            Its `host:port`.
        """
        port = free_port()
        work = self.directory / name
        options = {
            "ip": "127.0.0.1",
            "hostname": "127.0.0.1",
            "port": str(port),
            "work_dir": str(work),
            "allocation_interval": "200ms",
            "agent_ping_timeout": "2secs",
            "max_agent_ping_timeouts": "2",
        }
        if zk is None:
            options["registry"] = "in_memory"
        else:
            # Each master has a log of its own: enough to fail over, not to keep the registry.
            options |= {"zk": zk, "quorum": "1", "zk_session_timeout": "2secs"}
        command = [
            str(programs() / "mesos-master"),
            *flag_list(options | flags),
            "--no-hostname_lookup",
        ]
        program = self.masters[name] = self._program(name, command, f"127.0.0.1:{port}")
        program.start()
        self._wait_for_port(program)
        return program.address

    def start_agent(
        self, name: str = "agent-1", *, master: str, resources: str = RESOURCES, **flags: str
    ) -> Program:
        """An agent that is known to Mesos (and later Kubernetes) as `name`."""
        port = free_port()
        work = self.directory / name
        options = {
            "master": master,
            "ip": "127.0.0.1",
            "port": str(port),
            "hostname": name,
            "work_dir": str(work / "work"),
            "runtime_dir": str(work / "run"),
            "fetcher_cache_dir": str(work / "fetch"),
            "launcher_dir": str(programs()),
            "launcher": "posix",
            "isolation": "posix/cpu,posix/mem",
            "resources": resources,
            "registration_backoff_factor": "100ms",
            "executor_registration_timeout": "20secs",
        }
        command = [str(programs() / "mesos-agent"), *flag_list(options | flags)]
        command += ["--no-systemd_enable_support", "--no-hostname_lookup"]
        program = self.agents[name] = self._program(name, command, f"127.0.0.1:{port}")
        program.start()
        self._wait_for_port(program)
        return program

    def leader(self) -> str | None:
        """`host:port` of the master that leads at the moment."""
        for master in self.masters.values():
            if not master.running:
                continue
            with contextlib.suppress(OSError, KeyError, ValueError):
                found = ask(master.address, "GET_MASTER")["get_master"]["master_info"]["address"]
                return f"{found['ip']}:{found['port']}"
        return None

    def wait_for_agents(self, count: int, seconds: float = 20) -> list[dict[str, Any]]:
        """Wait until the leading master has so many active agents; give them."""

        def active() -> list[dict[str, Any]] | None:
            leader = self.leader()
            if leader is None:
                return None
            with contextlib.suppress(OSError):
                listed = ask(leader, "GET_AGENTS")["get_agents"].get("agents", [])
                found = [agent for agent in listed if agent["active"]]
                return found if len(found) == count else None
            return None

        found: list[dict[str, Any]] = wait_until(active, seconds, f"{count} active agents")
        return found

    def executors(self) -> list[int]:
        """Process ids of everything that agents of this cluster started and that still runs."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    environment = (entry / "environ").read_bytes()
                    if f"MESOS_SANDBOX={self.directory}".encode() in environment:
                        found.append(int(entry.name))
        return found

    def _launchers(self) -> list[int]:
        """What stands between an agent and its executors: it waits in their sandboxes."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if (entry / "cwd").readlink().is_relative_to(self.directory):
                        found.append(int(entry.name))
        return found

    def stop(self) -> None:
        """End everything, executors first, so that nobody starts them again."""
        for agent in self.agents.values():
            agent.stop()
        # Not once: an agent may have ended in the middle of a launch.
        while left := [*self.executors(), *self._launchers()]:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for program in (*self.masters.values(), self.zookeeper):
            if program is not None:
                program.stop()

    def _program(self, name: str, command: list[str], address: str) -> Program:
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        environment = {key: os.environ[key] for key in kept if key in os.environ}
        log = self.directory / f"{name}.log"
        return Program(name, command, log, address, environment)

    def _wait_for_port(self, program: Program) -> None:
        host, port = program.address.split(":")

        def listening() -> bool:
            if not program.running:
                raise RuntimeError(f"{program.name} ended:\n{program.tail()}")
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return True
            return False

        wait_until(listening, 30, f"{program.name} listening on {program.address}")


def say(port: int, word: bytes) -> bytes:
    """What ZooKeeper answers to one of its four-letter words; nothing if it does not."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as line:
        line.sendall(word)
        return b"".join(iter(lambda: line.recv(4096), b""))
    return b""


def flag_list(options: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def ask(master: str, kind: str, **fields: Any) -> dict[str, Any]:
    """One call of the operator API, answered by the leader."""
    request = urllib.request.Request(
        f"http://{master}/api/v1",
        data=json.dumps({"type": kind, **fields}).encode(),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            content = response.read()
    except urllib.error.HTTPError as error:
        location = error.headers.get("Location", "")
        if error.code == 307 and location:
            return ask(location.split("/")[2], kind, **fields)
        raise OSError(f"{kind}: {error.code} {error.read()[:200]!r}") from error
    return json.loads(content) if content else {}


@contextlib.contextmanager
def mesos_cluster(directory: Path) -> Iterator[MesosCluster]:
    """A cluster without anything in it yet; whatever is started ends with the block."""
    cluster = MesosCluster(directory)
    try:
        yield cluster
    finally:
        cluster.stop()
