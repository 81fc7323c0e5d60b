"""An executor for tests: each task ends after as many seconds as its data says, in plain text."""

from __future__ import annotations

import base64
import threading
from typing import Any

from tests.km import executor


def on(event: dict[str, Any], otherwise: Any = executor.on) -> None:
    if event["type"] != "LAUNCH":
        otherwise(event)
        return
    task = event["launch"]["task"]
    task_id = task["task_id"]["value"]
    executor.tasks[task_id] = task
    executor.update(task_id, "TASK_RUNNING")
    seconds = float(base64.b64decode(task["data"]))
    threading.Timer(seconds, executor.update, (task_id, "TASK_FINISHED")).start()


if __name__ == "__main__":
    executor.on = on
    executor.main()
