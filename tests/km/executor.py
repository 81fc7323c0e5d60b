"""An executor for tests of km scheduler: takes node and pod tasks as the minion does, runs nothing.

Started by a real Mesos agent through `km scheduler --executor-command`. Standard library only.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import sys
import time
import uuid
from typing import Any

ENDPOINT = os.environ["MESOS_AGENT_ENDPOINT"]
FRAMEWORK = {"value": os.environ["MESOS_FRAMEWORK_ID"]}
EXECUTOR = {"value": os.environ["MESOS_EXECUTOR_ID"]}
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}

tasks: dict[str, dict[str, Any]] = {}
unacknowledged: dict[str, dict[str, Any]] = {}


def post(kind: str, **fields: Any) -> None:
    line = http.client.HTTPConnection(ENDPOINT, timeout=10)
    body = {"type": kind, "framework_id": FRAMEWORK, "executor_id": EXECUTOR, **fields}
    line.request("POST", "/api/v1/executor", json.dumps(body), HEADERS)
    line.getresponse().read()
    line.close()


def update(task_id: str, state: str) -> None:
    number = base64.b64encode(uuid.uuid4().bytes).decode()
    status = {
        "task_id": {"value": task_id},
        "state": state,
        "source": "SOURCE_EXECUTOR",
        "uuid": number,
        "executor_id": EXECUTOR,
        "timestamp": time.time(),
    }
    unacknowledged[number] = {"status": status}
    try:
        post("UPDATE", update={"status": status})
    except OSError as error:
        print("update not sent", error, flush=True)  # the next subscription carries it


def on(event: dict[str, Any]) -> None:
    kind = event["type"]
    if kind == "LAUNCH":
        task = event["launch"]["task"]
        tasks[task["task_id"]["value"]] = task
        print("launch", base64.b64decode(task["data"]).decode(), flush=True)
        update(task["task_id"]["value"], "TASK_RUNNING")
    elif kind == "KILL":
        update(event["kill"]["task_id"]["value"], "TASK_KILLED")
    elif kind == "ACKNOWLEDGED":
        unacknowledged.pop(event["acknowledged"]["uuid"], None)
        tasks.pop(event["acknowledged"]["task_id"]["value"], None)
    elif kind == "SHUTDOWN":
        sys.exit(0)


def subscribe() -> None:
    line = http.client.HTTPConnection(ENDPOINT, timeout=60)
    known = {
        "unacknowledged_tasks": list(tasks.values()),
        "unacknowledged_updates": list(unacknowledged.values()),
    }
    body = {
        "type": "SUBSCRIBE", "framework_id": FRAMEWORK, "executor_id": EXECUTOR, "subscribe": known
    }  # fmt: skip
    line.request("POST", "/api/v1/executor", json.dumps(body), HEADERS)
    answer = line.getresponse()
    if answer.status != 200:
        raise OSError(f"{answer.status} {answer.read()!r}")
    while size := answer.readline():
        on(json.loads(answer.read(int(size))))
    raise OSError("the stream ended")


def main() -> None:
    while True:
        try:
            subscribe()
        except (OSError, http.client.HTTPException, ValueError) as error:
            print("connection:", error, flush=True)
            time.sleep(0.5)


if __name__ == "__main__":
    main()
