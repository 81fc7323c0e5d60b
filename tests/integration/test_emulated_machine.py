"""Stack `metal` with a whole machine as its agent: own kernel, cgroup v2, reboot and power cuts.

The control host is a plain lab host, the agent an emulated machine of either Debian. The tests
run in the order they stand in: each one finds the stack as the one before left it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.integration.checkout import Checkout, Run, fresh_checkout
from tests.km.minion.lab_node import LEFTOVERS
from tests.lab.conftest import Lab
from tests.leftovers import leftovers

pytestmark = [
    pytest.mark.lab,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
]

T = TypeVar("T")

USER = "ops"
CONTROL = {"cpus": 2, "memory_mb": 2048, "disk_gb": 10, "base": "bookworm-plain", "user": USER}
AGENT = {"cpus": 2, "memory_mb": 2048, "disk_gb": 14, "user": USER}
BUSYBOX = "docker.io/library/busybox:1.35"
UP_SECONDS = 1800

STACK_FILE = """\
config:
  kubernetes-mesos:cluster:
    hosts:
      on: metal
      user: {user}
      key: {key}
      bundle: true
      machines:
        - {{name: control-1, address: {control}, roles: [control]}}
        - {{name: whole-1, address: {agent}, roles: [agent]}}
  pulumi:disable-default-providers: [kubernetes]
"""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The stack, and what somebody in front of its agent can do."""

    checkout: Checkout
    lab: Lab
    release: str
    address: str
    """Of the whole machine."""

    def make(self, target: str, **options: Any) -> Run:
        return self.checkout.run(f"make {target} STACK=metal", timeout=UP_SECONDS, **options)

    def kubectl(self, words: str, *, check: bool = True) -> str:
        return self.checkout.shell(f"kubectl {words}", check=check).output

    def items(self, words: str) -> list[dict[str, Any]]:
        return list(json.loads(self.kubectl(f"get {words} -o json"))["items"])

    def pods(self) -> dict[str, str]:
        """Running pods that are ready: name to uid."""
        return {
            pod["metadata"]["name"]: pod["metadata"]["uid"]
            for pod in self.items("pods -A")
            if pod["status"]["phase"] == "Running"
            and "deletionTimestamp" not in pod["metadata"]
            and all(one["ready"] for one in pod["status"].get("containerStatuses", [{"ready": 0}]))
        }

    def node_is_ready(self) -> bool:
        words = "get nodes -o jsonpath='{.items[*].status.conditions[?(@.type==\"Ready\")].status}'"
        return self.kubectl(words, check=False).strip() == "True"

    def on_machine(self, script: str) -> str:
        """What a script prints that runs as root on the whole machine."""
        return self.lab.ssh(
            "whole-1", self.address, f"sudo bash -c {shlex.quote(script)}", user=USER
        )

    def boot(self) -> str:
        return self.on_machine("cat /proc/sys/kernel/random/boot_id")

    def cut(self) -> None:
        self.lab.run("host", "cut", spec={"lab": self.lab.name, "name": "whole-1"})

    def power_on(self) -> None:
        self.lab.run("up", "--lab", self.lab.name)

    def reboot(self) -> None:
        self.on_machine("(sleep 1; systemctl reboot) >/dev/null 2>&1 &")

    def has_booted_since(self, boot: str) -> Callable[[], bool]:
        return lambda: self.boot() != boot

    def interrupt_while_it_runs(self, program: str, interrupt: Callable[[], None]) -> str:
        """Bring the stack up, do this to the machine while it runs a program; what `up` said."""
        log = self.checkout.directory / f"{interrupt.__name__}-{program}.log"
        process = self.checkout.start(f"make up STACK=metal >{log} 2>&1")
        try:
            wait_for(
                f"{program} runs",
                lambda: process.poll() is not None or self._runs(program),
                seconds=UP_SECONDS,
            )
            assert process.poll() is None, log.read_text()
            time.sleep(3)
            interrupt()
            process.communicate(timeout=300)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        assert process.returncode != 0, log.read_text()
        return log.read_text()

    def _runs(self, program: str) -> bool:
        return bool(self.on_machine(f"pgrep -x {program} || true"))

    def mesos(self, call: dict[str, Any]) -> None:
        url = self.checkout.shell("pulumi stack output mesos_url -s metal").output.strip()
        self.checkout.run(
            "curl --silent --show-error --fail --location-trusted "
            "--header 'Content-Type: application/json' "
            f"--data {shlex.quote(json.dumps(call))} {url}/api/v1"
        )

    def agent_id(self) -> str:
        (node,) = self.items("nodes")
        return str(node["spec"]["providerID"]).rpartition("/")[2]


def wait_for(what: str, found: Callable[[], T], *, seconds: float = 600) -> T:
    end = time.monotonic() + seconds
    while True:
        try:
            if value := found():
                return value
            said = ""
        except (AssertionError, subprocess.SubprocessError) as error:
            said = str(error)  # neither a machine nor an API server answers at every moment
        assert time.monotonic() < end, f"after {seconds:.0f} s still not: {what}: {said}"
        time.sleep(1)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Stack]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    directory = tmp_path_factory.mktemp(request.param)
    checkout = dataclasses.replace(fresh_checkout(directory), stack="metal")
    keys = directory / "keys"
    keys.mkdir()
    lab = Lab(name=f"t{secrets.token_hex(3)}", keys=keys)
    try:
        lab.network_up()
        control = lab.host_up("control-1", 11, **CONTROL)
        agent = lab.host_up("whole-1", 21, base=f"{request.param}-machine", **AGENT)
        made = Stack(checkout=checkout, lab=lab, release=request.param, address=agent)
        write_stack_file(made, control)
        yield made
    finally:
        lab.run("down", "--lab", lab.name)
        assert leftovers(lab.name) == []


def write_stack_file(stack: Stack, control: str) -> None:
    file = stack.checkout.directory / "stacks" / "Pulumi.metal.yaml"
    key = stack.lab.keys / "operator"
    file.write_text(STACK_FILE.format(user=USER, key=key, control=control, agent=stack.address))
    stack.make("setup")
    for release in {"bookworm", stack.release}:
        if not (packages() / release / "Packages").exists():
            stack.checkout.run(f"make bundle RELEASE={release} STACK=metal", timeout=UP_SECONDS)
    stack.make("trust")


def packages() -> Path:
    cache = os.environ.get("KUBERNETES_MESOS_CACHE", "~/.cache/kubernetes-mesos")
    return Path(cache).expanduser() / "packages"


def test_an_up_that_power_cuts_and_a_reboot_interrupt_ends_with_the_answer(stack: Stack) -> None:
    said = stack.interrupt_while_it_runs("dpkg", stack.cut)
    assert "whole-1: up was cut off: the machine fell silent" in said
    stack.power_on()
    stack.interrupt_while_it_runs("ctr", stack.cut)
    stack.power_on()
    boot = stack.boot()
    stack.interrupt_while_it_runs("ctr", stack.reboot)
    wait_for("it has booted", stack.has_booted_since(boot))

    up = stack.make("up")

    assert "Server:\t\t10.10.10.10" in up.output
    assert "Address: 10.10.10.1\n" in up.output
    again = stack.make("preview")
    assert not re.search(r"\d+ to (create|update|delete|replace)", again.output)


def test_the_pods_run_on_the_machine_in_cgroup_v2(stack: Stack) -> None:
    (pod,) = [pod for pod in stack.items("pods") if pod["metadata"]["name"] == "busybox"]

    assert pod["spec"]["nodeName"] == "whole-1"
    assert stack.on_machine("stat --file-system --format %T /sys/fs/cgroup") == "cgroup2fs"
    uid = pod["metadata"]["uid"]
    groups = stack.on_machine(
        f"cat /sys/fs/cgroup/mesos/km-whole-1/pods/kubepods/*/*{uid}/*/cgroup.procs"
    )
    assert len(groups.split()) == 2, "the pause container and sleep"
    assert f"VERSION_CODENAME={stack.release}" in stack.on_machine("cat /etc/os-release")


def test_a_pod_that_exceeds_its_limit_is_killed_alone(stack: Stack) -> None:
    before = stack.pods()
    programs = stack.on_machine("pgrep -x 'kubelet|kube-proxy|flanneld|containerd'")
    overrides = {
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "greedy",
                    "image": BUSYBOX,
                    "command": ["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"memory": "64Mi"},
                    },
                }
            ],
        }
    }
    spec = shlex.quote(json.dumps(overrides))
    stack.kubectl(f"run greedy --image={BUSYBOX} --overrides={spec}")

    def reason() -> str:
        path = "{.status.containerStatuses[0].state.terminated.reason}"
        return stack.kubectl(f"get pod greedy -o jsonpath='{path}'").strip()

    assert wait_for("greedy has ended", reason) == "OOMKilled"
    assert stack.pods() == before
    assert stack.on_machine("pgrep -x 'kubelet|kube-proxy|flanneld|containerd'") == programs
    stack.kubectl("delete pod greedy")


def test_the_pods_together_are_held_to_what_mesos_granted(stack: Stack) -> None:
    notes = json.loads(stack.on_machine("cat /var/lib/kubernetes-mesos/minion/state.json"))
    held = stack.on_machine("cat /sys/fs/cgroup/mesos/km-whole-1/pods/memory.max")

    assert int(held) == notes["pods_memory"]
    assert notes["memory_settled"]
    assert set(notes["pods"]) >= {"default/busybox"}


def test_a_minion_that_is_killed_leaves_nothing_and_another_one_starts(stack: Stack) -> None:
    before = stack.pods()
    notes = "/var/lib/kubernetes-mesos/minion/state.json"
    pid = json.loads(stack.on_machine(f"cat {notes}"))["pid"]

    stack.on_machine(f"kill -KILL {pid}")

    wait_for("another minion has a node", lambda: minion(stack) not in (None, pid))
    wait_for("the node is ready", stack.node_is_ready)
    wait_for("kube-dns is back", lambda: kube_dns(stack) and kube_dns(stack) != dns_of(before))
    kubelets = stack.on_machine("ps -eo args | grep -c '[k]ubelet --config'")
    assert kubelets == "1"
    # Who came first, the dead one's guard or the next minion, takes away; the other one sees it.
    swept = stack.on_machine("cat /var/lib/kubernetes-mesos/minion/sweep.log")
    assert re.search("cleaning up after it|cleaned up before", swept.splitlines()[-1])


def test_an_executor_that_is_stopped_leaves_no_process_and_no_cgroup(stack: Stack) -> None:
    agent = {"value": stack.agent_id()}
    grace = {"nanoseconds": 15_000_000_000}
    drain = {"agent_id": agent, "max_grace_period": grace, "mark_gone": False}
    stack.mesos({"type": "DRAIN_AGENT", "drain_agent": drain})

    wait_for("the node has left", lambda: stack.on_machine(LEFTOVERS) == "")

    stack.mesos({"type": "REACTIVATE_AGENT", "reactivate_agent": {"agent_id": agent}})
    wait_for("the node is back", stack.node_is_ready)
    wait_for("kube-dns is back", lambda: kube_dns(stack))


def test_a_rebooted_machine_comes_back_with_its_node_and_pods(stack: Stack) -> None:
    before, boot = stack.pods(), stack.boot()
    stack.reboot()

    wait_for("it has booted", stack.has_booted_since(boot))
    wait_for("the node is ready", stack.node_is_ready)
    wait_for("kube-dns is back", lambda: kube_dns(stack) and kube_dns(stack) != dns_of(before))

    preview = stack.make("preview")
    assert not re.search(r"\d+ to (create|update|delete|replace)", preview.output)


def test_a_machine_without_power_comes_back_likewise(stack: Stack) -> None:
    before = stack.pods()
    stack.cut()
    stack.power_on()

    wait_for("kube-dns is back", lambda: kube_dns(stack) and kube_dns(stack) != dns_of(before))
    wait_for("the node is ready", stack.node_is_ready)

    up = stack.make("up")
    # A pod that nothing replaces ended with its machine: `up` makes it anew, and nothing else.
    made = re.findall(r"^ \+ +\S+ (\S+) created", up.output, re.MULTILINE)
    assert made == ["smoke-test-pod"]
    assert "Address: 10.10.10.1\n" in up.output
    assert not re.search(r"\d+ (deleted|replaced)", up.output)


def test_down_leaves_nothing_on_the_machine(stack: Stack) -> None:
    stack.make("down")

    assert stack.on_machine(LEFTOVERS) == ""
    assert stack.on_machine("ls -d /etc/kubernetes-mesos /opt/kubernetes-mesos || true") == ""
    assert stack.on_machine("find /sys/fs/cgroup -name 'mesos*'") == ""


def minion(stack: Stack) -> int | None:
    """The process id in the notes of the minion that has a node; None when none has."""
    notes = stack.on_machine("cat /var/lib/kubernetes-mesos/minion/state.json")
    found = json.loads(notes)
    return int(found["pid"]) if found["node"] else None


def kube_dns(stack: Stack) -> str | None:
    return dns_of(stack.pods())


def dns_of(pods: dict[str, str]) -> str | None:
    return next((uid for name, uid in pods.items() if name.startswith("kube-dns")), None)
