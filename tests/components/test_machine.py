"""A machine's own program: what it says and does when the machine cannot be reached."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components import machine, ssh
from components.machine import MachineError
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


def run(action: str, spec: dict[str, Any], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "components.machine", action, *words],
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


def wrong_key(spec: dict[str, Any], hosts: LightHosts, tmp_path: Path) -> dict[str, Any]:
    return {**spec, **way(hosts), "key": spec["key"]}


def no_key_file(spec: dict[str, Any], hosts: LightHosts, tmp_path: Path) -> dict[str, Any]:
    return {**spec, **way(hosts), "key": str(tmp_path / "none")}


def changed_host_key(spec: dict[str, Any], hosts: LightHosts, tmp_path: Path) -> dict[str, Any]:
    return {**spec, **way(hosts), "host_key": spec["host_key"]}


def cut_host_key(spec: dict[str, Any], hosts: LightHosts, tmp_path: Path) -> dict[str, Any]:
    return {**spec, **way(hosts), "host_key": hosts.host_key[:-8]}


def failing_cleanup(spec: dict[str, Any], hosts: LightHosts, tmp_path: Path) -> dict[str, Any]:
    return {**spec, **way(hosts), "script": "echo no room >&2; exit 3"}


def wrong_key_of_the_bastion(
    spec: dict[str, Any], hosts: LightHosts, tmp_path: Path
) -> dict[str, Any]:
    bastion = {**spec, **way(hosts), "key": spec["key"]}
    return {**spec, **way(hosts), "bastion": bastion}


def no_such_bastion(spec: dict[str, Any], hosts: LightHosts, tmp_path: Path) -> dict[str, Any]:
    bastion = {**spec, **way(hosts), "address": "none.invalid"}
    return {**spec, **way(hosts), "bastion": bastion}


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (wrong_key, "login Permission denied"),
        (no_key_file, "key-file"),
        (changed_host_key, "host-key ssh-ed25519 SHA256:"),
        (cut_host_key, "key-text"),
        (failing_cleanup, "rack1: down ended with 3: no room"),
        (wrong_key_of_the_bastion, "login Permission denied"),
        (no_such_bastion, "none.invalid"),
    ],
)
def test_a_machine_that_lives_and_is_not_cleaned_up_is_a_failure(
    spec: dict[str, Any], tmp_path: Path, case: Callable[..., dict[str, Any]], said: str
) -> None:
    with light_hosts(tmp_path / "sshd", 1) as hosts:
        result = run("down", case(spec, hosts, tmp_path))

    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_machine_behind_a_dead_bastion_and_a_dead_one_behind_a_bastion_leave(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    with light_hosts(tmp_path / "sshd", 1) as hosts:
        bastion = {**spec, **way(hosts)}
        behind = run("down", {**spec, "host_key": hosts.host_key, "bastion": bastion})
        bastion = {**bastion, "port": free_port()}
        before = run("down", {**spec, **way(hosts), "bastion": bastion})

    assert (behind.returncode, before.returncode) == (0, 0)
    for result in (behind, before):
        assert "rack1 does not answer, so nothing was removed from it" in result.stderr


STACK = """\
config:
  kubernetes-mesos:cluster:
    hosts:
      on: metal
      machines:
        - {{name: rack1, address: 127.0.0.1, roles: [agent], gone: {gone}}}
        - {{name: rack2, address: 127.0.0.1, roles: [control]}}
"""


@pytest.mark.parametrize(
    ("name", "gone", "dialled"), [("rack1", "true", 0), ("rack1", "false", 1), ("rack2", "true", 1)]
)
def test_nobody_dials_a_machine_that_the_stack_file_calls_gone(
    spec: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    gone: str,
    dialled: int,
) -> None:
    monkeypatch.setattr(ssh, "DIAL_SECONDS", 0.3)
    file = tmp_path / "Pulumi.metal.yaml"
    file.write_text(STACK.format(gone=gone))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        spec = {**spec, "name": name, "port": port, "stack_file": str(file)}
        asyncio.run(machine.down(spec))

        listener.setblocking(False)
        accepted = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                listener.accept()[0].close()
                accepted += 1

    assert accepted == dialled


def test_a_machine_that_takes_the_connection_and_hangs_is_dead(
    spec: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(machine.down({**spec, "port": listener.getsockname()[1]}))

    assert time.monotonic() - started < machine.REACH_SECONDS + 1
    assert "rack1 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "hangs"),
    [("sleep 60", True), ("for _ in 1 2 3 4; do echo leaves; sleep 1; done", False)],
)
def test_a_cleanup_that_says_nothing_for_long_hangs_and_one_that_does_not_is_waited_for(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, hangs: bool
) -> None:
    monkeypatch.setattr(machine, "SILENT_SECONDS", 2.0)
    hung = pytest.raises(MachineError, match=r"said nothing for 2 s.*`gone: true` in .*metal.yaml")
    with light_hosts(tmp_path / "sshd", 1) as hosts, hung if hangs else contextlib.nullcontext():
        spec = {**spec, **way(hosts), "script": script, "stack_file": "stacks/Pulumi.metal.yaml"}
        asyncio.run(machine.down(spec))


def test_all_waiting_for_a_dead_machine_is_less_than_a_minute() -> None:
    assert machine.REACH_SECONDS + machine.SILENT_SECONDS < 55
    assert ssh.DIAL_SECONDS < machine.REACH_SECONDS


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


def test_a_machine_that_lets_us_in_is_reached_and_nothing_is_run_there(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    with light_hosts(tmp_path / "sshd", 1) as hosts:
        reached = run("reach", {**spec, **way(hosts), "script": None, "dial_seconds": 0})

    assert (reached.returncode, reached.stderr) == (0, "")


def test_one_that_does_not_is_waited_for_and_named(spec: dict[str, Any]) -> None:
    started = time.monotonic()

    result = run("reach", {**spec, "dial_seconds": 2})

    assert result.returncode == 1
    assert 2 <= time.monotonic() - started < 15
    assert f"root@127.0.0.1:{spec['port']}: connect Connection refused" in result.stderr


@pytest.mark.parametrize(
    "arguments", [(), ("sideways",), ("down", "words"), ("up", "words", "more")]
)
def test_what_cannot_be_done_is_refused(arguments: tuple[str, ...]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "components.machine", *arguments],
        input="{}",
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )

    assert result.returncode == 1
    assert "usage: python -m components.machine reach|up [WORDS]|down" in result.stderr


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
        result = run("up", {**spec, **way(hosts), "script": script}, "repair 1: it")

    assert result.returncode == status
    assert said in result.stderr


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages for this machine's release in a cache of the test's own."""
    release = next(
        line.partition("=")[2]
        for line in Path("/etc/os-release").read_text().splitlines()
        if line.startswith("VERSION_CODENAME=")
    )
    packages = tmp_path / "cache" / "packages" / release
    packages.mkdir(parents=True)
    (packages / "Packages").write_text("Package: a\n")
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(machine, "STORE", str(tmp_path / "store"))
    return packages


def test_packages_are_sent_once_and_again_when_they_are_others(
    spec: dict[str, Any], tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    with light_hosts(tmp_path / "sshd", 1) as hosts:
        spec = {**spec, **way(hosts), "store": ["packages/{release}"]}
        for text in ("Package: a\n", "Package: a\n", "Package: b\n"):
            (bundle / "Packages").write_text(text)
            asyncio.run(machine.up(spec))
            said.append(capsys.readouterr().err)

    item = f"packages/{bundle.name}"
    assert said == [f"sent {item}\n", "", f"sent {item}\n"]
    assert (tmp_path / "store" / item / "Packages").read_text() == "Package: b\n"


def test_packages_of_a_file_are_sent_under_the_name_of_their_release(
    spec: dict[str, Any], tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Package: carried\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    carried = bundle.with_name(f"{bundle.name}-{digest[:12]}")
    carried.mkdir()
    (carried / "Packages").write_text(text)
    wanted = {"store": ["packages/{release}"], "bundle": f"{bundle.name} {digest}"}
    with light_hosts(tmp_path / "sshd", 1) as hosts:
        for _ in range(2):
            asyncio.run(machine.up({**spec, **way(hosts), **wanted}))

    item = f"packages/{bundle.name}"
    assert capsys.readouterr().err == f"sent {item}\n"
    assert (tmp_path / "store" / item / "Packages").read_text() == text


def test_packages_that_were_never_fetched_are_no_silent_fallback(
    spec: dict[str, Any], tmp_path: Path, bundle: Path
) -> None:
    (bundle / "Packages").unlink()
    lacks = pytest.raises(MachineError, match=f"rack1: .*make bundle RELEASE={bundle.name}")
    with light_hosts(tmp_path / "sshd", 1) as hosts, lacks:
        asyncio.run(machine.up({**spec, **way(hosts), "store": ["packages/{release}"]}))


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


@pytest.mark.parametrize(("action", "status", "seconds"), [("up", 1, 60), ("down", 0, 30)])
def test_a_machine_that_falls_silent_in_the_middle_is_given_up(
    spec: dict[str, Any], tmp_path: Path, action: str, status: int, seconds: int
) -> None:
    file = tmp_path / "sshd.pid"
    with light_hosts(tmp_path / "sshd", 1) as hosts:
        started = time.monotonic()
        try:
            result = run(action, {**spec, **way(hosts), "script": HANGS.format(file=file)})
        finally:
            os.kill(int(file.read_text()), signal.SIGKILL)

    assert result.returncode == status
    assert f"rack1: {action} was cut off: the machine fell silent" in result.stderr
    assert time.monotonic() - started < seconds


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


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs dpkg")
def test_packages_are_remembered_under_the_names_that_they_have_here(tmp_path: Path) -> None:
    listed = "installed, libcurl4t64, libcurl4 (= 8), other\ninstalled, kmod, \nremoved, socat, \n"
    recipe = script("machine").partition("exec 9>")[0]
    values = {"RECIPE": "machine", "MACHINE_PACKAGES": "kmod libcurl4 socat"}
    stand_in = f"dpkg-query() {{ printf '{listed}'; }}\nSTARTED={tmp_path}\nrecord_packages\n"

    subprocess.run(["bash", "-s"], input=render(recipe, values) + stand_in, text=True, check=True)

    assert (tmp_path / "machine").read_text() == "package - - libcurl4t64\npackage - - kmod\n"


LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"
APT = """\
apt-get() {{
  echo x >>{file}
  if (($(wc -l <{file}) <= {fails})); then echo "{said}"; return 100; fi
}}
sleep() {{ :; }}
update_lists
"""


@pytest.mark.parametrize(
    ("fails", "said", "limit", "status", "tries", "words"),
    [
        (0, LOCKED, 120, 0, 1, ""),
        (2, LOCKED, 120, 0, 3, f"waits up to 120 s for another apt: {LOCKED}\n"),
        (9, LOCKED, 0, 1, 1, f"apt-get update: {LOCKED}\n"),
        (9, "E: no such mirror", 120, 1, 1, "apt-get update: E: no such mirror\n"),
    ],
)
def test_the_lock_on_lists_is_waited_for_and_no_other_failure(
    tmp_path: Path, fails: int, said: str, limit: int, status: int, tries: int, words: str
) -> None:
    file = tmp_path / "tries"
    recipe = script("machine").partition("exec 9>")[0]
    text = recipe.replace("LISTS_SECONDS=120", f"LISTS_SECONDS={limit}")

    done = subprocess.run(
        ["bash", "-s"],
        input=text + APT.format(file=file, fails=fails, said=said),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.returncode == status
    assert len(file.read_text().split()) == tries
    assert done.stdout.endswith(words)
    assert bool(done.stdout) == bool(words)
