"""Whole machines, emulated: booted, rebooted, switched off in the middle, and removed."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from lab import host, state
from lab.errors import LabError
from lab.processes import Process
from lab.spec import read_host
from tests.lab.conftest import Lab
from tests.lab.test_refusals import HOST, labs

__all__ = ["labs"]  # a fixture

SIZE = {"cpus": 2, "memory_mb": 1024, "disk_gb": 4}


def test_a_machine_that_runs_is_not_changed(labs) -> None:
    spec = read_host(json.dumps({**HOST, "base": "bookworm-machine"}))
    running = state.Host(
        spec=spec.public(), address="10.90.1.21", identity="x", process=Process.of(1)
    )
    state.write_host("abc", running, spec.host_key)
    before = state.read_host("abc", "agent-1")
    assert before

    host._check(spec, before)

    larger = read_host(json.dumps({**HOST, "base": "bookworm-machine", "memory_mb": 8192}))
    with pytest.raises(LabError, match="host agent-1: memory_mb: a whole machine that runs"):
        host._check(larger, before)
    state.write_host("abc", running, "another key")
    with pytest.raises(LabError, match="host agent-1: host_key: a whole machine"):
        host._check(spec, before)


def test_a_host_that_is_not_there_has_no_power_to_cut(labs) -> None:
    with pytest.raises(LabError, match="host agent-1: lab abc has none of this name"):
        host.cut("abc", "agent-1")
    assert not labs.exists()


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_a_machine_has_a_kernel_of_its_own_and_survives_reboot_and_power_cut(
    lab: Lab, release: str
) -> None:
    lab.network_up()
    address = lab.host_up("whole", 21, base=f"{release}-machine", user="ops", **SIZE)

    def ssh(command: str) -> str:
        return lab.ssh("whole", address, command, user="ops")

    def boot() -> str:
        return ssh("cat /proc/sys/kernel/random/boot_id")

    assert ssh("id -un; sudo -n id -un; hostname") == "ops\nroot\nwhole"
    assert ssh("systemctl is-system-running --wait") == "running"
    assert release in ssh("cat /etc/os-release")
    assert ssh("stat --file-system --format %T /sys/fs/cgroup") == "cgroup2fs"
    assert ssh("uname -r") != os.uname().release
    assert ssh("nproc") == "2"
    assert 900 < int(ssh("free -m | awk '/^Mem/ {print $2}'")) < 1024
    assert 3500 < int(ssh("df --output=size -B1M / | tail -1")) < 4096

    first, supervisor = boot(), lab.supervisor("whole")
    ssh("echo kept >file; sync; (sleep 1; sudo systemctl reboot) >/dev/null 2>&1 &")
    deadline = time.monotonic() + 180
    second = first
    while second == first:
        assert time.monotonic() < deadline
        time.sleep(2)
        try:
            second = boot()
        except AssertionError:  # it is on its way
            continue
    assert lab.supervisor("whole") == supervisor

    ssh("echo lost >unwritten")
    lab.run("host", "cut", spec={"lab": lab.name, "name": "whole"})
    listed = lab.listed()
    assert listed
    assert not listed["lives"]
    lab.run("up", "--lab", lab.name)
    assert boot() not in (first, second)
    assert ssh("cat file") == "kept"
    assert ssh("cat unwritten 2>/dev/null || true") == ""

    os.kill(lab.supervisor("whole"), signal.SIGKILL)
    time.sleep(0.5)
    listed = lab.listed()
    assert listed
    assert not listed["lives"]
