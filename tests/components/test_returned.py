"""The recipe `returned`: which services it waits for, and what it takes for an answer."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from components.recipe import render, script

SYSTEMCTL = """#!/bin/bash
# A service runs when a file says so.
[[ $1 == is-active && -e $HOST/running/${@: -1} ]]
"""
CURL = """#!/bin/bash
name=${@: -1}
echo "$name" >>"$HOST/asked"
cat "$HOST/answers/$(tr / _ <<<"$name")" 2>/dev/null
"""
STATE = "http:__10.0.0.9:5051_state"
FIGURES = "http:__10.0.0.9:5050_metrics_snapshot"
SLAVES = "http:__10.0.0.2:5050_slaves"
ETCD = "http:__127.0.0.1:2381_health"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A machine of files: what runs, what answers, and what recipes have promised."""
    for name in ("running", "answers", "bin", "etc/manifest"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in (("systemctl", SYSTEMCTL), ("curl", CURL), ("journalctl", "#!/bin/sh\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def promise(host: Path, *units: str) -> None:
    lines = [f"unit enabled active {unit}\n" for unit in units]
    (host / "etc/manifest/some").write_text("file 644 abc /etc/some\n" + "".join(lines))


def slaves(*agents: tuple[str, bool]) -> str:
    known = [{"id": name, "active": active, "deactivated": False} for name, active in agents]
    return json.dumps({"slaves": known})


def ask(host: Path) -> subprocess.CompletedProcess[str]:
    text = render(script("returned"), {"RECIPE": "returned", "RETURNED_ADDRESS": "10.0.0.9"})
    text = text.replace("ETC=/etc/kubernetes-mesos", f"ETC={host / 'etc'}")
    text = text.replace("LIMIT=300", "LIMIT=1")
    return subprocess.run(
        ["bash", "-s", "--", "up"],
        input=text,
        env={**os.environ, "HOST": str(host), "PATH": f"{host / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_with_nothing_of_ours_is_done_at_once(host: Path) -> None:
    done = ask(host)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_is_done_when_all_that_was_promised_runs_and_answers(host: Path) -> None:
    units = [f"{name}.service" for name in ("containerd", "etcd", "mesos-agent", "mesos-master")]
    promise(host, *units)
    for unit in units:
        (host / "running" / unit).touch()
    (host / "answers" / FIGURES).write_text('{"registrar\\/log\\/recovered":1.0}')
    (host / "answers" / ETCD).write_text("{}")
    # The first master is down.
    (host / "etc/masters").write_text("10.0.0.1:5050\n10.0.0.2:5050\n")
    (host / "answers" / STATE).write_text('{"id": "S1"}')
    (host / "answers" / SLAVES).write_text(slaves(("S0", True), ("S1", True)))

    assert ask(host).returncode == 0


@pytest.mark.parametrize(
    ("unit", "answers"),
    [
        pytest.param("containerd.service", {}, id="does not run"),
        pytest.param("etcd.service", {}, id="runs without a majority"),
        pytest.param(
            "mesos-agent.service",
            {STATE: '{"id": ""}', SLAVES: slaves(("S0", True))},
            id="never registered",
        ),
        pytest.param(
            "mesos-agent.service",
            {STATE: '{"id": "S1"}', SLAVES: slaves(("S0", True), ("S1", False))},
            id="not registered again yet",
        ),
        pytest.param("mesos-agent.service", {STATE: '{"id": "S1"}'}, id="no master answers"),
        pytest.param(
            "mesos-master.service",
            {FIGURES: '{"registrar\\/log\\/recovered":0.0}'},
            id="has not the whole registry yet",
        ),
    ],
)
def test_it_waits_for_what_does_not_take_part_yet(
    host: Path, unit: str, answers: dict[str, str]
) -> None:
    promise(host, unit)
    (host / "etc/masters").write_text("10.0.0.2:5050\n")
    for name, text in answers.items():
        (host / "answers" / name).write_text(text)
    if unit != "containerd.service":
        (host / "running" / unit).touch()

    done = ask(host)

    assert done.returncode == 1
    assert f"{unit.removesuffix('.service')} is not ready after 1 s" in done.stderr
