"""How an agent leaves: what Mesos and Kubernetes are told, and who is not asked any more."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.recipe import render, script
from tests.preflight.light_hosts import free_port

AGENTS = """{{"get_agents": {{"agents": [{{"active": true, "pid": "slave(1)@127.0.0.1:{port}",
"agent_info": {{"hostname": "rack2", "id": {{"value": "S1"}}}}}}]}}}}"""


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Programs that write down what they are asked, in place of curl and kubectl."""
    log = tmp_path / "calls"
    programs = {
        "bin/curl": f"case $* in *GET_AGENTS*) cat {tmp_path}/agents ;; esac",
        "home/bin/kubectl": "case $* in *jsonpath*) echo True ;; esac",
    }
    for name, text in programs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(f'#!/bin/sh\necho {path.name} "$@" >>{log}\n{text}\n')
        path.chmod(0o755)
    return log


@pytest.fixture
def alive() -> Iterator[int]:
    """The port of an agent that answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def leave(tmp_path: Path, action: str, port: int, gone: str) -> None:
    (tmp_path / "agents").write_text(AGENTS.format(port=port))
    values = {
        "RECIPE": "departure",
        "DEPARTURE_AGENT": "rack2",
        "DEPARTURE_MESOS": "127.0.0.1",
        "DEPARTURE_TIMEOUT_S": "1",
        "DEPARTURE_GONE": gone,
    }
    text = render(script("departure"), values)
    text = text.replace("/opt/kubernetes-mesos", f"{tmp_path}/home")
    text = text.replace("/etc/kubernetes-mesos", f"{tmp_path}/etc")
    subprocess.run(
        ["bash", "-s", "--", action],
        input=text.replace("try_until 40 ", "try_until 0 "),
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
    )


@pytest.mark.parametrize("action", ["up", "down"])
def test_one_that_is_gone_is_told_to_mesos_and_kubernetes_whatever_still_answers_there(
    tmp_path: Path, calls: Path, action: str, alive: int
) -> None:
    leave(tmp_path, action, port=alive, gone="yes")

    said = calls.read_text()
    assert '"type": "MARK_AGENT_GONE", "mark_agent_gone": {"agent_id": {"value": "S1"}}' in said
    assert "delete node rack2 --ignore-not-found --wait=false" in said
    assert "drain" not in said.lower()


def test_one_that_lives_is_drained(tmp_path: Path, calls: Path, alive: int) -> None:
    leave(tmp_path, "down", port=alive, gone="")

    said = calls.read_text()
    assert "drain rack2 --ignore-daemonsets" in said
    assert '"DRAIN_AGENT"' in said
    assert "MARK_AGENT_GONE" not in said


def test_nothing_happens_before_it_leaves(tmp_path: Path, calls: Path) -> None:
    leave(tmp_path, "up", port=free_port(), gone="")

    assert not calls.exists()
