#!/usr/bin/env python3
"""Runs one task's command: the agent starts it for every task that names no executor.

Speaks the v1 executor HTTP API and follows docs/executor-http-api.md of Mesos. The original
program is not part of the published library. Python 3.10 or later, standard library only.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from typing import Any

UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "secs": 1,
    "mins": 60,
    "hrs": 3600,
    "days": 86400,
    "weeks": 604800,
}
DEFAULT_KILL_GRACE = 3.0
DEFAULT_SHUTDOWN_GRACE = 5.0
ACKNOWLEDGEMENT_TIMEOUT = 60.0
RECONNECT_DELAY = 0.5
TOKEN = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"  # noqa: S105  (the name of a variable)


def seconds(text: str | None, default: float) -> float:
    """A duration as Mesos prints it.

    >>> seconds("5secs", 1), seconds("1.5mins", 1), seconds(None, 7)
    (5.0, 90.0, 7)
    """
    for unit in sorted(UNITS, key=len, reverse=True):
        if text and text.endswith(unit):
            return float(text[: -len(unit)]) * UNITS[unit]
    return default


def nanoseconds(duration: dict[str, int] | None) -> float | None:
    """A DurationInfo in seconds."""
    return None if duration is None else duration["nanoseconds"] / 1e9


class Agent:
    """The executor's side of the agent's HTTP API."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.host, _, port = environment["MESOS_AGENT_ENDPOINT"].rpartition(":")
        self.port = int(port)
        self.identity = {
            "framework_id": {"value": environment["MESOS_FRAMEWORK_ID"]},
            "executor_id": {"value": environment["MESOS_EXECUTOR_ID"]},
        }
        self.headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if environment.get(TOKEN):
            self.headers["Authorization"] = "Bearer " + environment[TOKEN]

    def call(self, message: dict[str, Any], timeout: float | None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        body = json.dumps({**message, **self.identity})
        connection.request("POST", "/api/v1/executor", body, self.headers)
        return connection.getresponse()

    def send(self, message: dict[str, Any]) -> None:
        with self.call(message, timeout=10) as response:
            response.read()

    def events(self, subscribe: dict[str, Any]) -> Any:
        """Everything that the agent says until it goes away, which is an OSError."""
        message = {"type": "SUBSCRIBE", "subscribe": subscribe}
        with self.call(message, timeout=None) as response:
            if response.status != http.HTTPStatus.OK:
                raise OSError(f"subscribe: {response.status} {response.read()!r}")
            while size := response.readline():
                yield json.loads(response.read(int(size)))
        raise OSError("the agent has gone")


class Executor:
    """One task, its process, and the updates that the agent has not acknowledged."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.agent = Agent(environment)
        self.task: dict[str, Any] = {}
        self.child: subprocess.Popen[bytes] | None = None
        self.unacknowledged: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        self.says_killing = False
        self.killed_as: str | None = None
        self.done = False

    def run(self) -> None:
        """Serve the agent; with checkpointing, also the agent that comes after it."""
        while True:
            try:
                for event in self.agent.events(self.subscription()):
                    self.handle(event)
            except (OSError, http.client.HTTPException) as error:
                if self.environment.get("MESOS_CHECKPOINT") != "1":
                    self.kill()
                    sys.exit(f"disconnected: {error}")
                print(f"disconnected: {error}", flush=True)
                time.sleep(RECONNECT_DELAY)

    def subscription(self) -> dict[str, Any]:
        with self.lock:
            updates = [call["update"] for call in self.unacknowledged.values()]
        tasks = [self.task] if self.task and updates else []
        return {"unacknowledged_tasks": tasks, "unacknowledged_updates": updates}

    def handle(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "SUBSCRIBED":
            framework = event["subscribed"]["framework_info"]
            names = {capability["type"] for capability in framework.get("capabilities", [])}
            self.says_killing = "TASK_KILLING_STATE" in names
        elif kind == "LAUNCH":
            self.launch(event["launch"]["task"])
        elif kind == "KILL":
            policy = event["kill"].get("kill_policy", {})
            self.aside(self.kill, "TASK_KILLED", nanoseconds(policy.get("grace_period")))
        elif kind == "ACKNOWLEDGED":
            with self.lock:
                self.unacknowledged.pop(event["acknowledged"]["uuid"], None)
        elif kind == "SHUTDOWN":
            self.shut_down()
        elif kind == "ERROR":
            sys.exit(f"error from the agent: {event['error']['message']}")

    def launch(self, task: dict[str, Any]) -> None:
        self.task = task
        self.update("TASK_STARTING")
        command = task.get("command", {})
        shell = command.get("shell", True)
        try:
            line = ["/bin/sh", "-c", command["value"]] if shell else command.get("arguments")
            self.child = subprocess.Popen(
                line or [command["value"]],
                executable=None if shell else command["value"],
                env=self.task_environment(command),
                start_new_session=True,
            )
        except (OSError, KeyError) as error:
            self.finish("TASK_FAILED", f"Failed to launch the command: {error}")
            return
        self.update("TASK_RUNNING")
        limit = nanoseconds(task.get("max_completion_time"))
        if limit is not None:
            timer = threading.Timer(limit, self.kill, ("TASK_FAILED", 0.0))
            timer.daemon = True
            timer.start()
        self.aside(self.reap)

    def task_environment(self, command: dict[str, Any]) -> dict[str, str]:
        environment = {k: v for k, v in self.environment.items() if k != TOKEN}
        for variable in command.get("environment", {}).get("variables", []):
            if variable.get("type", "VALUE") == "VALUE":
                environment[variable["name"]] = variable.get("value", "")
        allocation = self.task["resources"][0].get("allocation_info", {})
        environment["MESOS_ALLOCATION_ROLE"] = allocation.get("role", "*")
        return environment

    def reap(self) -> None:
        assert self.child is not None
        code = self.child.wait()
        text = (
            f"Command exited with status {code}"
            if code >= 0
            else f"Command terminated with signal {signal.Signals(-code).name}"
        )
        self.finish(self.killed_as or ("TASK_FAILED" if code else "TASK_FINISHED"), text)

    def update(self, state: str, message: str | None = None) -> None:
        """Tell the task's state; what the agent does not acknowledge is told again later."""
        identifier = base64.b64encode(uuid.uuid4().bytes).decode()
        status = {
            "task_id": self.task["task_id"],
            "executor_id": self.agent.identity["executor_id"],
            "state": state,
            "source": "SOURCE_EXECUTOR",
            "uuid": identifier,
            "timestamp": time.time(),
        }
        if message:
            status["message"] = message
        call = {"type": "UPDATE", "update": {"status": status}}
        with self.lock:
            self.unacknowledged[identifier] = call
        try:
            self.agent.send(call)
        except OSError as error:
            print(f"cannot send {state} yet: {error}", flush=True)

    def finish(self, state: str, text: str) -> None:
        self.update(state, text)
        self.done = True
        self.aside(self.leave)

    def leave(self) -> None:
        """Go once the agent knows how the task ended."""
        end = time.monotonic() + ACKNOWLEDGEMENT_TIMEOUT
        while self.unacknowledged and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.1)
        os._exit(0)

    def shut_down(self) -> None:
        if self.child is None or self.done:
            os._exit(0)
        grace = self.environment.get("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD")
        # One second less than the agent waits, so that the last update still gets out.
        self.aside(self.kill, "TASK_KILLED", seconds(grace, DEFAULT_SHUTDOWN_GRACE) - 1)

    def kill(self, state: str = "TASK_KILLED", grace: float | None = None) -> None:
        """TERM, and KILL for what is still there after `grace` seconds (the task's own if None)."""
        if self.child is None or self.done:
            return
        if grace is None:
            policy = self.task.get("kill_policy", {})
            grace = nanoseconds(policy.get("grace_period"))
        if not self.killed_as:
            self.killed_as = state
            if state == "TASK_KILLED" and self.says_killing:
                self.update("TASK_KILLING")
        wait = DEFAULT_KILL_GRACE if grace is None else grace
        for number, patience in ((signal.SIGTERM, wait), (signal.SIGKILL, 0.0)):
            try:
                os.killpg(self.child.pid, number)
            except ProcessLookupError:
                return
            end = time.monotonic() + patience
            while self.child.poll() is None and time.monotonic() < end:
                time.sleep(0.05)

    @staticmethod
    def aside(function: Any, *arguments: Any) -> None:
        """Run something beside the reading of events."""
        threading.Thread(target=function, args=arguments, daemon=True).start()


if __name__ == "__main__":
    Executor(dict(os.environ)).run()
