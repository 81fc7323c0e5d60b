"""What the lab refuses, and in which words; nothing is touched before."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab import capacity, inventory, network, nspawn, paths, state
from lab.errors import LabError
from lab.processes import Process
from lab.spec import LabSpec, NetworkSpec, read_host, read_lab, read_network

ROOT = Path(__file__).parents[2]
ME = Process.of(os.getpid())


HOST: dict[str, Any] = {
    "lab": "abc",
    "name": "agent-1",
    "index": 21,
    "cpus": 2,
    "memory_mb": 4096,
    "disk_gb": 20,
    "authorized_key": "ssh-ed25519 AAAA operator",
    "host_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----",
    "base": "bookworm",
    "roles": ["agent"],
}


def test_numbers_may_be_floats_as_pulumi_sends_them() -> None:
    spec = read_host(json.dumps({**HOST, "memory_mb": 4096.0, "index": 21.0, "cpus": 2.0}))
    assert (spec.memory_mb, spec.index, spec.cpus) == (4096, 21, 2.0)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("name", "Agent_1", "name: 'Agent_1' must be a DNS label"),
        ("name", "a" * 64, "DNS label"),
        ("name", None, "name: is missing"),
        ("lab", "ten-and-three", "lab: 'ten-and-three' must be 1 to 12"),
        ("lab", "../x", "must be 1 to 12"),
        ("index", 1, "index: 1 must be a whole number from 2 to 254"),
        ("index", 255, "index: 255"),
        ("index", True, "index: True"),
        ("cpus", 0, "cpus: 0 must be a number from 0.1"),
        ("cpus", "2", "cpus: '2'"),
        ("memory_mb", 64, "memory_mb: 64 must be a whole number from 128"),
        ("disk_gb", 0.5, "disk_gb: 0.5 must be a whole number"),
        ("authorized_key", "secret", "authorized_key: 'secret' must be an SSH public key"),
        ("host_key", "secret", "host_key: must be a private key"),
        ("user", "Root!", "user: 'Root!'"),
        ("size", 3, "size: unknown key; known are lab, name"),
    ],
)
def test_a_host_with_a_wrong_value_is_refused_by_key(key: str, value: Any, words: str) -> None:
    with pytest.raises(LabError, match=f"^{key}: ") as refused:
        read_host(json.dumps({**HOST, key: value}))
    assert words in str(refused.value)
    if key == "host_key":
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize("value", ["10.90.7.0/23", "10.90.7.1/24", "8.8.8.0/24", "x", 7])
def test_a_network_that_is_no_private_24_is_refused(value: Any) -> None:
    with pytest.raises(LabError, match=r"network: .* must be a private IPv4 network"):
        read_network(json.dumps({"lab": "abc", "network": value}))


def test_what_is_no_json_object_is_refused() -> None:
    for text in ("", "[]", "{"):
        with pytest.raises(LabError, match="standard input must be a JSON object"):
            read_network(text)


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records of labs in a directory of the test; nothing of them is made."""
    monkeypatch.setattr(paths, "LABS", tmp_path / "labs")
    monkeypatch.setattr(network, "_make_bridge", lambda _: None)
    return tmp_path / "labs"


def test_a_network_of_another_lab_is_refused_with_its_owner(labs: Path) -> None:
    wanted = IPv4Network("10.90.201.0/24")
    network.up(NetworkSpec(lab="one", network=wanted, owner="/home/a/clone:local"))
    with pytest.raises(LabError, match=r"overlaps 10\.90\.201\.0/24 of lab one \(/home/a/clone"):
        network.up(NetworkSpec(lab="two", network=wanted))


def test_a_network_of_this_machine_is_refused(labs: Path) -> None:
    with pytest.raises(LabError, match=r"overlaps 127\.0\.0\.0/8 of interface lo"):
        network.up(NetworkSpec(lab="one", network=IPv4Network("127.0.0.0/24")))


def test_a_lab_keeps_the_network_that_was_picked_for_it(labs: Path) -> None:
    picked = network.up(NetworkSpec(lab="one"))
    assert network.up(NetworkSpec(lab="one")) == picked
    with pytest.raises(LabError, match="cannot change to"):
        network.up(NetworkSpec(lab="one", network=IPv4Network("10.90.255.0/24")))
    assert network.up(NetworkSpec(lab="two"))["network"] != picked["network"]


def whole_lab(**changes: Any) -> LabSpec:
    """A control host and two agents, small enough for any machine, with changes to the agents."""
    agent = {"cpus": 1, "memory_mb": 128, "disk_gb": 1} | changes
    hosts = [{**agent, "name": f"agent-{number}"} for number in (1, 2)]
    hosts.append({"name": "control-1", "cpus": 1, "memory_mb": 128, "disk_gb": 1})
    return read_lab(json.dumps({"lab": "one", "network": None, "hosts": hosts}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"cpus": 900}, r"host agent-1: cpus: 900 asked, this machine has \d+; ask for less"),
        ({"memory_mb": 9_000_000}, "lab one: memory_mb: 18000128 MB asked, this machine has"),
        ({"disk_gb": 400_000}, r"lab one: disk_gb: .* may still fill 800001\.0 GB"),
    ],
)
def test_a_lab_larger_than_the_machine_is_refused_as_a_whole(
    labs: Path, changes: dict[str, Any], words: str | None
) -> None:
    refusals = list(capacity.lab_refusals(whole_lab(**changes)))

    assert len(refusals) == (1 if words else 0)
    for refusal in refusals:
        assert re.match(words or "", refusal)
    assert not labs.exists()


def test_what_a_lab_has_already_is_not_asked_for_again(
    labs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in whole_lab().hosts:
        given = {**HOST, **vars(size), "lab": "one"}
        made = state.Host(
            spec=read_host(json.dumps(given)).public(), address="x", identity="y", process=ME
        )
        state.write_host("one", made, HOST["host_key"])
    monkeypatch.setattr(capacity, "_total_memory_mb", lambda: 500)

    assert list(capacity.lab_refusals(whole_lab())) == []  # 384 MB, not twice as much
    assert list(capacity.lab_refusals(whole_lab(memory_mb=186))) == []
    (refusal,) = capacity.lab_refusals(whole_lab(memory_mb=187))
    assert "502 MB asked, this machine has 500 MB in all" in refusal
    monkeypatch.setattr(capacity.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert list(capacity.lab_refusals(whole_lab())) == []  # others filled the disk: it is there
    assert "0.0 GB free" in next(capacity.lab_refusals(whole_lab(disk_gb=2)))


def test_asking_about_a_lab_tells_everything_at_once_and_makes_nothing(tmp_path: Path) -> None:
    asked = json.dumps(
        {
            "lab": "noroom",
            "network": "127.0.0.0/24",
            "hosts": [{"name": "a", "cpus": 900, "memory_mb": 9_000_000, "disk_gb": 900_000}],
        }
    )
    command = [sys.executable, "-m", "lab", "check"]
    done = subprocess.run(
        command, input=asked, capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert (done.returncode, done.stdout) == (1, "")
    words = ("cpus: 900", "memory_mb: 9000000", "disk_gb: ", "127.0.0.0/24 overlaps 127.0.0.0/8")
    assert [word for word in words if word not in done.stderr] == []
    assert not state.lab_path("noroom").exists()


def test_hosts_larger_than_the_machine_are_refused_before_anything_is_made(labs: Path) -> None:
    for key, value in (("cpus", 1000), ("memory_mb", 9_000_000), ("disk_gb", 900_000)):
        with pytest.raises(LabError, match=f"host agent-1: {key}: "):
            capacity.check_host(read_host(json.dumps({**HOST, key: value})))


def test_memory_of_hosts_that_run_is_not_promised_twice(
    labs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "_total_memory_mb", lambda: 10_000)
    other = read_host(json.dumps({**HOST, "lab": "one", "memory_mb": 7000, "disk_gb": 1}))
    running = state.Host(
        spec=other.public(), address="10.90.1.21", identity="x", process=Process.of(1)
    )
    state.write_host("one", running, other.host_key)
    with pytest.raises(LabError, match=r"running hosts hold 7000 MB \(one/agent-1 7000 MB\)"):
        capacity.check_host(read_host(json.dumps({**HOST, "disk_gb": 1})))
    state.write_host("one", running.with_process(None), other.host_key)
    capacity.check_host(read_host(json.dumps({**HOST, "disk_gb": 1})))


def test_memory_of_hosts_that_are_being_made_is_not_promised_twice(
    labs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "_total_memory_mb", lambda: 10_000)
    network.up(NetworkSpec(lab="one"))
    other = read_host(json.dumps({**HOST, "lab": "one", "memory_mb": 7000, "disk_gb": 1}))
    recorded = state.Host(spec=other.public(), address="10.90.1.21", identity="x")
    state.write_host("one", recorded, other.host_key)
    mine = read_host(json.dumps({**HOST, "disk_gb": 1}))

    with pytest.raises(LabError, match=r"hosts hold 7000 MB \(one/agent-1 7000 MB\)"):
        capacity.check_host(mine)
    # Who recorded it went with an earlier boot of this machine: nobody will start it.
    claimed = state.read_network("one")
    assert claimed
    state.write_network(replace(claimed, boot="earlier"))
    capacity.check_host(mine)


NETWORK = {
    "lab": "one",
    "network": "10.90.1.0/24",
    "bridge": "km-one",
    "owner": "me:x",
    "boot": "b",
}


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"lab": "one"}', '{"network": "x"}'])
@pytest.mark.parametrize("record", ["network.json", "hosts/agent-1/host.json"])
def test_a_damaged_record_stops_its_own_lab_and_no_other(
    labs: Path, monkeypatch: pytest.MonkeyPatch, record: str, text: str
) -> None:
    monkeypatch.setattr(inventory.cgroups, "labs", set)
    (labs / "one/hosts/agent-1").mkdir(parents=True)
    (labs / "one/network.json").write_text(json.dumps(NETWORK))
    (labs / "one" / record).write_text(text)

    network.up(NetworkSpec(lab="two", owner="you:x"))
    capacity.check_host(read_host(json.dumps({**HOST, "lab": "two", "memory_mb": 128})))
    listed = {lab["lab"]: lab for lab in inventory.listing()}
    assert listed["two"]["owner"] == "you:x"
    assert listed["two"]["damages"] == []
    (said,) = listed["one"]["damages"]
    assert said.startswith(f"{labs / 'one' / record} is damaged, or another version wrote it")
    assert said.endswith("remove the lab with its data: python3 -m lab down --lab one")
    with pytest.raises(LabError, match="is damaged"):
        inventory.start("one")
    inventory.remove("one")
    assert [lab["lab"] for lab in inventory.listing()] == ["two"]


def test_a_host_key_is_kept_where_root_alone_reads_it(labs: Path) -> None:
    spec = read_host(json.dumps(HOST))
    state.write_host(
        "abc", state.Host(spec=spec.public(), address="x", identity="y"), spec.host_key
    )
    record = labs / "abc/hosts/agent-1"
    assert "PRIVATE" not in (record / "host.json").read_text()
    assert (record / "host_key").stat().st_mode & 0o777 == 0o600
    assert state.read_host_key("abc", "agent-1") == spec.host_key


def test_a_process_is_told_from_a_later_one_with_its_id() -> None:
    now = Process.of(1)
    assert now.lives()
    assert not Process(pid=1, start=now.start + 1, boot=now.boot).lives()
    assert not Process(pid=1, start=now.start, boot="another").lives()
    with pytest.raises(ProcessLookupError):
        Process.of(2**22 + 1)


def test_what_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nspawn.os, "geteuid", lambda: 0)
    monkeypatch.setattr(nspawn.shutil, "which", lambda _: None)
    with pytest.raises(LabError, match=r"apt-get install e2fsprogs .* systemd-container"):
        nspawn.check()
    monkeypatch.setattr(nspawn.os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="root"):
        nspawn.check()
