"""What a stack's Kubernetes and Mesos say: asked as an operator would, and read."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

from tests.integration.checkout import Checkout


def wait_for(what: str, found: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"after {seconds} s still not: {what}"
        time.sleep(0.3)
    return value


# Asked through the checkout -----------------------------------------------------------------------


def kubectl(checkout: Checkout, words: str, *, check: bool = True) -> str:
    return checkout.shell(f"kubectl {words}", check=check).output


def items(checkout: Checkout, words: str) -> list[dict]:
    return json.loads(kubectl(checkout, f"get {words} -o json"))["items"]


def output(checkout: Checkout, name: str) -> str:
    return checkout.shell(f"pulumi stack output {name} -s {checkout.stack}").output.strip()


def mesos_state(checkout: Checkout) -> dict:
    return state_of(output(checkout, "mesos_url"))


def framework(checkout: Checkout) -> dict:
    return framework_of(mesos_state(checkout))


def pod_tasks(checkout: Checkout) -> dict[str, str]:
    return pod_tasks_of(framework(checkout))


def running_pods(checkout: Checkout) -> dict[str, tuple[str, int]]:
    return lives_of(items(checkout, "pods -A"))


# Read ---------------------------------------------------------------------------------------------


def state_of(master: str) -> dict[str, Any]:
    """All that a master, given by its URL, knows."""
    with urllib.request.urlopen(f"{master}/state", timeout=10) as answer:
        return json.load(answer)


def framework_of(state: dict[str, Any]) -> dict[str, Any]:
    (found,) = [f for f in state["frameworks"] if f["name"] == "Kubernetes"]
    return found


def pod_tasks_of(framework: dict[str, Any]) -> dict[str, str]:
    """Running tasks of pods: pod's full name to task id."""
    return {t["name"]: t["id"] for t in framework["tasks"] if t["id"].startswith("pod.")}


def lives_of(pods: Iterable[dict[str, Any]]) -> dict[str, tuple[str, int]]:
    """Running pods: full name to uid and how often their containers restarted."""
    return {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": (
            pod["metadata"]["uid"],
            sum(status["restartCount"] for status in pod["status"]["containerStatuses"]),
        )
        for pod in pods
        if pod["status"]["phase"] == "Running"
    }
