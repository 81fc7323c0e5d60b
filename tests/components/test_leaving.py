"""A machine that leaves keeps nothing of ours, and everything that is somebody else's."""

from __future__ import annotations

import base64
import shlex

import pytest

from components.recipe import RECIPES, render, script
from tests.lab.conftest import Lab, lab, new_lab

__all__ = ["lab", "new_lab"]  # fixtures

pytestmark = pytest.mark.lab


def pipe(lab: Lab, name: str, address: str, text: str, words: str) -> str:
    """Run a command on a host with a text on its stdin."""
    sent = base64.b64encode(text.encode()).decode()
    return lab.ssh(name, address, f"base64 -d <<<{sent} | {words}")


PREPARE = r"""
set -eu
home=/opt/kubernetes-mesos data=/var/lib/kubernetes-mesos tasks=/run/containerd/io.containerd.x.task
sleeper() { setsid --fork "$@" >/dev/null 2>&1 </dev/null; }
named() { sleeper bash -c 'exec -a "$1" sleep 1111' - "$1"; }
in_cgroup() {
  mkdir -p "/sys/fs/cgroup/memory/mesos/$1"
  sleeper sh -c "echo \$\$ >/sys/fs/cgroup/memory/mesos/$1/cgroup.procs; exec sleep $2"
}
pod() { # bridge, namespace, link
  ip link add "$1" type bridge
  ip netns add "$2"
  ip link add "$3" type veth peer name eth0 netns "$2"
  ip link set "$3" master "$1"
}
mkdir -p $home/kubernetes/1 $home/bin $data/mesos/agent/slaves/S/frameworks/F/executors/E/runs/ours
cp /usr/bin/sleep $home/kubernetes/1/kubelet
cp /usr/bin/sleep /usr/local/bin/kubelet
ln -s ../kubernetes/1/kubelet $home/bin/kubelet
ln -s "$(ls -t /var/cache/kubernetes-mesos/programs/km/*/km | head -n 1)" $home/bin/km
sleeper $home/bin/kubelet 2221
sleeper /usr/local/bin/kubelet 1112
in_cgroup ours 2222
in_cgroup theirs 1113
shim=/usr/bin/containerd-shim-runc-v2
address='-id x -address /run/containerd/containerd.sock'
named "$shim -namespace k8s.io $address"
named "$shim -namespace moby $address"
pod cni0 cni-0a vethours
pod br0 theirs vethother
for owner in k8s.io moby; do
  mkdir -p $tasks/$owner/x/rootfs
  mount -t tmpfs $owner $tasks/$owner/x/rootfs
done
iptables -N KUBE-FIREWALL
iptables -A INPUT -j KUBE-FIREWALL
iptables -A INPUT -p tcp --dport 9 -m comment --comment 'not KUBE-FIREWALL' -j ACCEPT
mkdir -p /etc/kubernetes-mesos/manifest /var/lib/cni/networks/{kubernetes-mesos,other}
echo rack1 >/etc/kubernetes-mesos/cluster
sleep 0.3
"""
STATE = r"""
ps -eo args | grep -E '[0-9]{4}$' | grep -o '[0-9]*$' | sort
ps -eo args | grep -o '[-]namespace [a-z0-9.]*' | sort
(cd /sys/fs/cgroup/memory/mesos; ls -d */)
ls /run/netns /var/lib/cni/networks
ip -brief link | grep -oE '^(cni0|br0|veth[a-z]*)' | sort
grep -o 'io.containerd.x.task/[^/]*' /proc/mounts | sort -u
iptables-save | grep KUBE
ls -d /etc/kubernetes-mesos /opt/kubernetes-mesos /var/lib/kubernetes-mesos/* 2>/dev/null
true
"""


def test_a_leaving_machine_keeps_what_is_not_ours(lab: Lab) -> None:
    lab.network_up()
    address = lab.host_up("rack1", 21)
    values = {"RECIPE": "machine", "MACHINE_CLUSTER": "c", "MACHINE_NAME": "rack1"}
    down = base64.b64encode(render(script("machine"), values).encode()).decode()

    def bash(text: str) -> str:
        return lab.ssh("rack1", address, f"bash -c {shlex.quote(text)}")

    bash(PREPARE)
    before = bash(STATE).split()
    assert {"2221", "2222", "k8s.io", "vethours", "cni0", "cni-0a"} <= set(before)

    bash(f"base64 -d <<<{down} | MACHINE_PACKAGES= bash -s -- down")

    assert bash(STATE).splitlines() == [
        *("1111", "1112", "1113", "-namespace moby", "theirs/"),
        *("/run/netns:", "theirs", ""),
        *("/var/lib/cni/networks:", "other"),
        *("br0", "vethother"),
        "io.containerd.x.task/moby",
        '-A INPUT -p tcp -m tcp --dport 9 -m comment --comment "not KUBE-FIREWALL" -j ACCEPT',
    ]


TAKE_OVER = r"""
up() {
  ensure_user km-test
  keep /etc/containerd/config.toml
  write_file /etc/containerd/config.toml 0644 root 'version = 2'
  run_unit containerd
}
main "$@"
"""
SOMEBODYS = r"""
set -eu
mkdir -p /etc/containerd
printf '# theirs\nversion = 2\n' >/etc/containerd/config.toml
systemctl --quiet enable --now containerd
"""
SEEN = r"""
systemctl is-enabled containerd
systemctl is-active containerd
head -n 1 /etc/containerd/config.toml
hostname
cat /etc/hosts
getent passwd | grep -c km-test || true
"""


def test_a_service_that_was_there_before_us_is_left_as_it_was(lab: Lab) -> None:
    lab.network_up()
    address = lab.host_up("somebody", 21)
    values = {"RECIPE": "machine", "MACHINE_CLUSTER": "c", "MACHINE_NAME": "rack1"}
    machine = render(script("machine"), {**values, "MACHINE_PACKAGES": "containerd"})
    runtime = render((RECIPES / "common.sh").read_text() + TAKE_OVER, {"RECIPE": "node-runtime"})

    def bash(text: str, action: str = "") -> str:
        return pipe(lab, "somebody", address, text, f"bash -s -- {action}")

    bash(SOMEBODYS)
    before = bash(SEEN)
    for recipe in (machine, runtime, machine, runtime):
        bash(recipe, "up")
    during = bash(SEEN)
    bash(machine, "down")

    assert before.splitlines()[:4] == ["enabled", "active", "# theirs", "somebody"]
    assert during.splitlines()[:4] == ["enabled", "active", "version = 2", "rack1"]
    assert during.splitlines()[-1] == "1"
    assert bash(SEEN) == before


CUT_SHORT = r"""
up() {
  ensure_unit km-half "$(printf '[%s]\n%s\n' Service 'ExecStart=/bin/sleep 3331' \
    Service Restart=always Install WantedBy=multi-user.target)"
  sleep 3332
}
main "$@"
"""


def test_what_a_recipe_that_was_cut_short_has_left_goes_as_well(lab: Lab) -> None:
    lab.network_up()
    address = lab.host_up("rack1", 21)
    values = {"MACHINE_CLUSTER": "c", "MACHINE_NAME": "rack1", "MACHINE_PACKAGES": ""}
    machine = render(script("machine"), {**values, "RECIPE": "machine"})
    half = render((RECIPES / "common.sh").read_text() + CUT_SHORT, {"RECIPE": "half"})

    def bash(text: str, words: str = "bash -s -- up") -> str:
        return pipe(lab, "rack1", address, text, words)

    bash(machine)
    bash(half, "timeout 5 bash -s -- up || true")
    assert bash("systemctl is-active km-half") == "active"
    bash(machine, "bash -s -- down")

    assert (
        bash("systemctl list-unit-files km-half.service --no-legend; pgrep -f 'sleep 333' || true")
        == ""
    )
