"""The recipe `returned`: which services it waits for, and what it takes for an answer."""

from __future__ import annotations

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
REGISTERED = '{"slave\\/registered":1.0}'
ETCD = "http:__127.0.0.1:2381_health"
AGENT = "http:__10.0.0.9:5051_metrics_snapshot"


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
    promise(host, "containerd.service", "etcd.service", "mesos-agent.service")
    for unit in ("containerd.service", "etcd.service", "mesos-agent.service"):
        (host / "running" / unit).touch()
    (host / "answers" / ETCD).write_text("{}")
    (host / "answers" / AGENT).write_text(REGISTERED)

    assert ask(host).returncode == 0


@pytest.mark.parametrize(
    ("unit", "answer", "text"),
    [
        pytest.param("containerd.service", None, "", id="does not run"),
        pytest.param("etcd.service", None, "", id="runs without a majority"),
        pytest.param(
            "mesos-agent.service", AGENT, '{"slave\\/registered":0.0}', id="not registered yet"
        ),
    ],
)
def test_it_waits_for_what_does_not_take_part_yet(
    host: Path, unit: str, answer: str | None, text: str
) -> None:
    promise(host, unit)
    if answer:
        (host / "answers" / answer).write_text(text)
    if unit != "containerd.service":
        (host / "running" / unit).touch()

    done = ask(host)

    assert done.returncode == 1
    assert f"{unit.removesuffix('.service')} is not ready after 1 s" in done.stderr
