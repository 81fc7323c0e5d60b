"""Real hosts on this machine: booted, measured, killed, restarted and removed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.conftest import Lab
from tests.leftovers import leftovers
from tools import labs

pytestmark = pytest.mark.lab


def test_a_host_answers_ssh_with_the_key_it_was_given_and_is_an_ordinary_machine(lab: Lab) -> None:
    lab.network_up()
    started = time.monotonic()
    address = lab.host_up("agent-1", 21)
    assert time.monotonic() - started < 20
    assert address == lab.network["network"].replace(".0/24", ".21")

    def ssh(command: str) -> str:
        return lab.ssh("agent-1", address, command)

    assert ssh("hostname") == "agent-1"
    assert ssh("systemctl is-system-running --wait") == "running"
    assert ssh("findmnt -no PROPAGATION /") == "shared"
    assert ssh("sysctl -n -w net.ipv4.ip_forward=1") == "1"
    assert ssh("getent hosts agent-1 | awk '{print $1}'") == address
    assert re.fullmatch("[0-9a-f]{32}", ssh("cat /etc/machine-id"))
    # Nothing that was installed runs before somebody wants it.
    running = ssh("systemctl list-units --type=service --state=running --no-legend --plain")
    services = {line.split()[0] for line in running.splitlines()}
    assert not services & {"containerd.service", "zookeeper.service", "haproxy.service"}
    assert ssh("test -r /var/cache/kubernetes-mesos/programs && echo there") == "there"
    ssh("! touch /var/cache/kubernetes-mesos/programs/x 2>/dev/null")


def test_sizes_are_enforced_and_change_in_place(lab: Lab) -> None:
    lab.network_up()
    address = lab.host_up("agent-1", 21, cpus=0.5, memory_mb=256, disk_gb=1)
    eat = "python3 -c 'b = bytearray({} << 20); print(len(b) >> 20)'"
    assert lab.ssh("agent-1", address, f"{eat.format(400)} 2>/dev/null || echo killed") == "killed"
    spin = (
        "python3 -c 'import os, time; s = os.times(); e = s.elapsed + 2\n"
        "while time.monotonic() < s.elapsed + 2 and os.times().elapsed < e: pass\n"
        "t = os.times(); print((t.user + t.system - s.user - s.system) / (t.elapsed - s.elapsed))'"
    )
    assert float(lab.ssh("agent-1", address, spin)) < 0.7
    size = int(lab.ssh("agent-1", address, "df --output=size -B1M / | tail -1"))
    assert 900 < size < 1024

    process = lab.supervisor("agent-1")
    lab.host_up("agent-1", 21, cpus=1, memory_mb=768, disk_gb=1)
    assert lab.ssh("agent-1", address, eat.format(400)) == "400"
    assert lab.supervisor("agent-1") == process


def test_a_disk_grows_with_what_is_on_it_and_never_shrinks(lab: Lab) -> None:
    lab.network_up()
    address = lab.host_up("agent-1", 21, disk_gb=1)
    lab.ssh("agent-1", address, "echo kept > /root/file")
    lab.host_up("agent-1", 21, disk_gb=2)
    size = int(lab.ssh("agent-1", address, "df --output=size -B1M / | tail -1"))
    assert 1900 < size < 2048
    assert lab.ssh("agent-1", address, "cat /root/file") == "kept"

    refused = lab.run("host", "up", spec=lab.spec("agent-1", 21, disk_gb=1), check=False)
    assert refused.returncode == 1
    assert "disk_gb: 1 asked" in refused.stderr


def test_up_again_changes_nothing(lab: Lab) -> None:
    lab.network_up()
    lab.host_up("agent-1", 21)
    before = lab.supervisor("agent-1")
    assert lab.network_up() == lab.network
    lab.host_up("agent-1", 21)
    assert lab.supervisor("agent-1") == before


def test_a_killed_host_is_recognised_and_restarts_with_its_data(lab: Lab) -> None:
    lab.network_up()
    address = lab.host_up("agent-1", 21)
    places = ("/root", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/kubernetes-mesos")
    for place in places:
        lab.ssh("agent-1", address, f"echo kept > {place}/file; sync")
    lab.ssh("agent-1", address, "echo 10.0.0.9 other >> /etc/hosts")
    machine = lab.ssh("agent-1", address, "cat /etc/machine-id")
    os.kill(lab.supervisor("agent-1"), signal.SIGKILL)
    time.sleep(0.5)
    listed = lab.listed()
    assert listed
    assert not listed["lives"]

    started = json.loads(lab.run("up", "--lab", lab.name).stdout)
    assert started == [{"name": "agent-1", "address": address}]
    for place in places:
        assert lab.ssh("agent-1", address, f"cat {place}/file") == "kept"
    assert lab.ssh("agent-1", address, "getent hosts other | awk '{print $1}'") == "10.0.0.9"
    assert lab.ssh("agent-1", address, "cat /etc/machine-id") == machine


def test_a_host_with_a_new_key_or_address_restarts_with_it(lab: Lab) -> None:
    lab.network_up()
    address = lab.host_up("agent-1", 21)
    lab.ssh("agent-1", address, "touch /root/kept")
    moved = lab.host_up("agent-1", 22, host_key=lab.key("another"))
    assert moved.endswith(".22")
    assert lab.ssh("another", moved, "ls /root; hostname") == "kept\nagent-1"


def test_a_command_runs_on_a_host_as_at_its_console(lab: Lab) -> None:
    lab.network_up()
    lab.host_up("agent-1", 21)

    def enter(*words: str, host: str = "agent-1", code: int = 0) -> str:
        done = lab.run("enter", "--lab", lab.name, host, *words, check=False)
        assert done.returncode == code, done.stderr
        return (done.stdout if code == 0 else done.stderr).strip()

    assert enter("hostname") == "agent-1"
    assert enter("sh", "-c", "cat /proc/1/comm; pwd; echo $HOME") == "systemd\n/root\n/root"
    assert enter("systemctl", "is-active", "ssh") == "active"
    enter("false", code=1)
    assert "has none of this name; there are: agent-1" in enter("true", host="agent-2", code=1)
    lab.run("host", "cut", spec={"lab": lab.name, "name": "agent-1"})
    assert "host agent-1: does not run" in enter("true", code=1)


def test_hosts_of_a_lab_reach_each_other(lab: Lab) -> None:
    lab.network_up()
    one, two = lab.host_up("agent-1", 21), lab.host_up("agent-2", 22)
    assert lab.ssh("agent-1", one, f"ping -c1 -W2 {two} >/dev/null && echo yes") == "yes"


def test_labs_of_the_same_names_live_side_by_side(new_lab: Callable[[], Lab]) -> None:
    one, two = new_lab(), new_lab()
    assert one.network_up()["network"] != two.network_up()["network"]
    first, second = one.host_up("agent-1", 21), two.host_up("agent-1", 21)
    one.run("down", "--lab", one.name)
    assert leftovers(one.name) == []
    assert two.ssh("agent-1", second, "hostname") == "agent-1"
    assert first != second


def test_a_host_goes_alone(lab: Lab) -> None:
    lab.network_up()
    lab.host_up("agent-1", 21)
    stays = lab.host_up("agent-2", 22)
    lab.host_down("agent-1")
    lab.host_down("agent-1")
    assert not [line for line in leftovers(lab.name) if "agent-1" in line]
    assert lab.ssh("agent-2", stays, "hostname") == "agent-2"


def test_dead_labs_are_removed_and_living_ones_are_not(new_lab: Callable[[], Lab]) -> None:
    dead, living, stranger = new_lab(), new_lab(), new_lab()
    for lab, owner in ((dead, "/test/ours:a"), (living, "/test/ours:b"), (stranger, "/test/x:a")):
        lab.network_up(owner=owner)
        lab.host_up("agent-1", 21)
    for lab in (dead, stranger):
        os.kill(lab.supervisor("agent-1"), signal.SIGKILL)
    time.sleep(0.5)
    living.run("down", "--all-dead", "--owner", "/test/ours:")
    assert leftovers(dead.name) == []
    assert living.listed()
    assert stranger.listed()


def test_a_host_that_died_alone_is_started_again_with_its_data(lab: Lab) -> None:
    lab.network_up(owner=labs.owner(lab.name))
    died, stayed = lab.host_up("agent-1", 21), lab.host_up("agent-2", 22)
    survivor = lab.supervisor("agent-2")
    lab.ssh("agent-1", died, "echo 42 > /root/kept && sync")
    os.kill(lab.supervisor("agent-1"), signal.SIGKILL)
    time.sleep(0.5)

    assert labs.is_dead(lab.name)
    assert labs.revive(lab.name)
    assert lab.ssh("agent-1", died, "cat /root/kept") == "42"
    assert lab.supervisor("agent-2") == survivor
    assert lab.ssh("agent-2", stayed, "hostname") == "agent-2"
    assert not labs.revive(lab.name)
    assert not labs.is_dead(lab.name)


def test_an_up_that_was_killed_half_way_is_cleaned_up_and_can_be_repeated(lab: Lab) -> None:
    lab.network_up()
    for delay in (0.15, 0.3, 0.5):
        spec = json.dumps(lab.spec("agent-1", 21))
        child = subprocess.Popen(
            ["python3", "-m", "lab", "host", "up"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert child.stdin
        child.stdin.write(spec)
        child.stdin.close()
        time.sleep(delay)
        child.kill()
        child.wait()
    address = lab.host_up("agent-1", 21)
    assert lab.ssh("agent-1", address, "hostname") == "agent-1"


def test_what_is_left_of_a_rebooted_machine_is_recognised(lab: Lab) -> None:
    lab.network_up()
    lab.host_up("agent-1", 21)
    subprocess.run(["ip", "link", "delete", lab.network["bridge"]], check=True)
    os.kill(lab.supervisor("agent-1"), signal.SIGKILL)
    time.sleep(0.5)
    record = Path("/var/lib/kubernetes-mesos/labs") / lab.name / "network.json"
    record.write_text(record.read_text().replace(json.loads(record.read_text())["boot"], "other"))
    address = json.loads(lab.run("up", "--lab", lab.name).stdout)[0]["address"]
    assert lab.ssh("agent-1", address, "hostname") == "agent-1"


def test_a_host_ends_with_all_that_ran_in_control_groups_of_its_own(lab: Lab) -> None:
    lab.network_up()
    address = lab.host_up("agent-1", 21)
    freeze = (
        "mkdir -p /sys/fs/cgroup/freezer/mesos/x /sys/fs/cgroup/memory/mesos/x\n"
        "setsid sleep 1000 >/dev/null 2>&1 </dev/null & p=$!\n"
        "echo $p > /sys/fs/cgroup/memory/mesos/x/cgroup.procs\n"
        "echo $p > /sys/fs/cgroup/freezer/mesos/x/cgroup.procs\n"
        "echo FROZEN > /sys/fs/cgroup/freezer/mesos/x/freezer.state"
    )
    lab.ssh("agent-1", address, freeze)
    lab.host_down("agent-1")
    assert not [line for line in leftovers(lab.name) if "agent-1" in line]


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_plain_machines_have_a_sudo_user_and_nothing_of_ours(lab: Lab, release: str) -> None:
    lab.network_up()
    address = lab.host_up("plain", 30, base=f"{release}-plain", user="ops", memory_mb=256)

    def ssh(command: str) -> str:
        return lab.ssh("plain", address, command, user="ops")

    assert ssh("id -un; sudo -n id -un") == "ops\nroot"
    assert ssh("systemctl is-system-running --wait") == "running"
    assert release in ssh("cat /etc/os-release")
    assert ssh("ls /var/cache/kubernetes-mesos 2>/dev/null || true") == ""
    assert ssh("command -v containerd java mesos-agent || echo none") == "none"
