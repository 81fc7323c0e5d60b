"""A machine's own program: what it says and does when the machine cannot be reached."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.recipe import render, script
from tests.preflight.light_hosts import (
    SSHD,
    LightHosts,
    free_port,
    light_hosts,
    new_key,
    start_server,
)

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.skipif(not SSHD.exists(), reason="needs openssh-server")


def run(action: str, spec: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "components.machine", action],
        input=json.dumps(spec),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def way(hosts: LightHosts) -> dict[str, Any]:
    """The way to the first of them."""
    return {
        "address": hosts.addresses[0],
        "port": hosts.port,
        "key": str(hosts.key),
        "host_key": hosts.host_key,
    }


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    """A machine that is switched off."""
    key = new_key(tmp_path / "id")
    return {
        "name": "rack1",
        "address": "127.0.0.1",
        "port": free_port(),
        "user": "root",
        "key": str(key),
        "host_key": " ".join(key.with_suffix(".pub").read_text().split()[:2]),
        "bastion": None,
        "script": "exit 0",
        "repair": None,
        "store": [],
        "images": None,
    }


def test_a_dead_machine_leaves_at_once_and_says_that_nothing_was_removed(
    spec: dict[str, Any],
) -> None:
    started = time.monotonic()

    result = run("down", spec)

    assert result.returncode == 0
    assert time.monotonic() - started < 20
    assert "rack1 does not answer, so nothing was removed from it" in result.stderr


def test_a_dead_machine_cannot_join(spec: dict[str, Any]) -> None:
    result = run("up", spec)

    assert result.returncode == 1
    assert f"root@127.0.0.1:{spec['port']}: connect Connection refused" in result.stderr


def test_a_machine_that_does_not_answer_yet_is_waited_for(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    key, host_key = new_key(tmp_path / "key"), new_key(tmp_path / "host_key")
    public = " ".join(host_key.with_suffix(".pub").read_text().split()[:2])
    joining = subprocess.Popen(
        [sys.executable, "-m", "components.machine", "up"],
        stdin=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert joining.stdin
    with joining.stdin as stdin:
        json.dump({**spec, "key": str(key), "host_key": public, "dial_seconds": 30}, stdin)
    time.sleep(2)
    assert joining.poll() is None, "it gave up on a machine that only starts"

    server = start_server(tmp_path, spec["address"], spec["port"], key, host_key)
    try:
        assert joining.wait(20) == 0
    finally:
        server.kill()
        server.wait()


def test_a_machine_that_never_answers_is_waited_for_no_longer_than_asked(
    spec: dict[str, Any],
) -> None:
    started = time.monotonic()

    result = run("up", {**spec, "dial_seconds": 2})

    assert result.returncode == 1
    assert 2 <= time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        ("echo did $1 $2", 0, "did up repair 1: it"),
        ("echo no room >&2; exit 3", 1, "rack1: up ended with 3: no room"),
    ],
)
def test_the_recipe_runs_there_and_its_words_come_back(
    spec: dict[str, Any], tmp_path: Path, script: str, status: int, said: str
) -> None:
    with light_hosts(tmp_path / "sshd", 1) as hosts:
        result = run("up", {**spec, **way(hosts), "script": script, "repair": "repair 1: it"})

    assert result.returncode == status
    assert said in result.stderr


HANGS = """\
process=$$
until [[ $(ps -o comm= "$process") == sshd* ]]; do
  process=$(ps -o ppid= "$process" | tr -d ' ')
done
echo "$process" >{file}
kill -STOP "$process"
sleep 300
"""
"""A power cut: the machine says nothing any more, not even that it hangs up."""


def test_a_machine_that_falls_silent_in_the_middle_is_given_up(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "sshd.pid"
    with light_hosts(tmp_path / "sshd", 1) as hosts:
        started = time.monotonic()
        try:
            result = run("up", {**spec, **way(hosts), "script": HANGS.format(file=file)})
        finally:
            os.kill(int(file.read_text()), signal.SIGKILL)

    assert result.returncode == 1
    assert "rack1: up was cut off: the machine fell silent" in result.stderr
    assert time.monotonic() - started < 60


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs dpkg")
def test_a_package_under_a_new_name_that_provides_the_old_one_is_not_missing() -> None:
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${Provides}\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = map(str.split, listed.splitlines())
    provided = next(words[1].rstrip(",") for words in lines if len(words) > 1)
    recipe = script("machine").replace('\nmain "$@"', "")

    missing = subprocess.run(
        ["bash", "-s"],
        input=render(recipe, {"MACHINE_PACKAGES": f"dpkg {provided} none-such"})
        + "\nmissing_packages",
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert missing == "none-such\n"
