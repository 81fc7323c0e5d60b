"""Stack `metal` on machines that nothing of ours has ever been on: one control host, two agents.

The tests run in the order they stand in: each one finds the machines as the one before left them.
KUBERNETES_MESOS_SEED repeats the random moments of an earlier run.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from components.programs import cache
from tests.integration.checkout import Checkout
from tests.integration.metal import CHANGES, Metal, assert_answered, assert_unchanged, updated
from tests.integration.plain_machines import plain_machines
from tests.integration.traces import difference

pytestmark = [pytest.mark.lab, pytest.mark.integration, pytest.mark.slow]

NAMES = ("rack1", "rack2", "rack3")
OWN = re.compile(r" (/etc/kubernetes-mesos/manifest|/var/lib/kubernetes-mesos)/")
"""Where recipes remember their last run, and services keep their data."""

KILLS = 10
DEAD_SECONDS = 60
"""The longest that anything waits for a dead machine."""


@pytest.fixture(scope="module")
def metal(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metal]:
    checkout.run("make setup")
    if not (cache() / "packages/bookworm/Packages").exists():
        checkout.run("make bundle")
    with plain_machines(tmp_path_factory.mktemp("machines"), NAMES) as machines:
        made = Metal(checkout=replace(checkout, stack="metal"), machines=machines)
        made.settings.write_text(machines.stack_file(made.settings.read_text()))
        made.say_of("rack3", "roles: [agent]", "roles: [agent], labels: {tier: db}")
        yield made


@pytest.fixture(scope="module")
def bare(metal: Metal) -> dict[str, set[str]]:
    """What each machine had before anybody did anything."""
    return metal.traces(*NAMES)


def assert_clean(metal: Metal, bare: dict[str, set[str]], *names: str) -> None:
    """Nothing is there but what was there before, and packages."""
    for name, now in metal.traces(*names).items():
        found = difference(bare[name], now)
        assert not found, "\n".join([f"{name}:", *found])


def test_trust_writes_the_keys_that_the_machines_have(metal, bare):
    metal.make("trust")
    written = metal.settings.read_text()

    for name in NAMES:
        assert re.search(rf"name: {name},.*{re.escape(metal.machines.host_key(name))}", written)
    metal.make("trust")
    assert metal.settings.read_text() == written


def test_a_preview_asks_every_machine_and_changes_none(metal, bare):
    preview = metal.make("preview")

    assert re.search(r"\d+ to create", preview.output)
    assert metal.traces(*NAMES) == bare


def test_bad_machines_are_named_together_and_nothing_is_changed(metal, bare):
    mark = "mkdir /etc/kubernetes-mesos; echo metal-other >/etc/kubernetes-mesos/cluster"
    metal.machines.run("rack1", mark)
    own, other = (metal.machines.host_key(name) for name in ("rack2", "rack1"))
    metal.say_of("rack2", own, other)
    rule = Path("/etc/sudoers.d/ops")
    metal.machines.run("rack3", f"echo 'ops ALL=(ALL) ALL' >{rule}")
    before = metal.traces(*NAMES)

    refused = metal.make("up", check=False)

    assert refused.code != 0
    assert "3 problems on 3 of 3 hosts; nothing was changed on any host" in refused.output
    for words in (
        r"rack1 +owner +belongs to cluster metal-other",
        r"rack2 +host key +shows ssh-ed25519 SHA256:",
        r"rack3 +sudo +sudo asks ops for a password",
    ):
        assert re.search(words, refused.output)
    assert metal.traces(*NAMES) == before
    metal.machines.run("rack1", "rm -r /etc/kubernetes-mesos")
    metal.say_of("rack2", other, own)
    metal.machines.run("rack3", f"echo 'ops ALL=(ALL) NOPASSWD:ALL' >{rule}")


def test_a_half_made_stack_goes_and_leaves_nothing(metal, bare):
    metal.kill_up(20)  # packages are there, services are starting

    down = metal.make("down")

    assert down.seconds < 2 * DEAD_SECONDS
    assert_clean(metal, bare, *NAMES)


def test_up_ends_with_the_answer_and_a_second_one_is_told_who_is_at_it(metal):
    metal.machines.install_anew(*NAMES)
    started = time.monotonic()
    first = metal.checkout.start("make up STACK=metal")
    time.sleep(12)
    second = metal.make("up", check=False)
    output, _ = first.communicate()
    print(f"{output}\nup took {time.monotonic() - started:.1f} s")

    assert second.code != 0
    assert re.search(
        r"Stack metal is being updated by process \d+ of \S+ on \S+, since", second.output
    )
    assert first.returncode == 0
    assert_answered(output)


def test_a_second_up_changes_nothing(metal):
    assert_unchanged(metal.make("up"))


def test_the_kubeconfig_works_and_nodes_have_their_labels(metal):
    nodes = metal.items(f"nodes --kubeconfig {metal.kubeconfig()}")
    labels = {node["metadata"]["name"]: node["metadata"]["labels"] for node in nodes}

    assert set(labels) <= {"rack2", "rack3"}
    assert labels
    selected = "run db --image=docker.io/library/busybox:1.35 --restart=Never "
    metal.kubectl(
        selected + """--overrides='{"spec": {"nodeSelector": {"tier": "db"}}}' -- sleep 600"""
    )
    metal.kubectl("wait --for=condition=Ready pod/db --timeout=60s")
    (node,) = metal.items("nodes -l tier=db")
    assert node["metadata"]["name"] == "rack3"
    assert node["metadata"]["labels"]["k8s.mesosphere.io/attribute-disk"] == "ssd"


DRIFT = {
    ("rack2", "machine"): {
        "dpkg --remove --force-depends socat >/dev/null 2>&1": "package socat is missing",
    },
    ("rack2", "node-runtime"): {
        "echo '# by hand' >>/etc/containerd/config.toml":
            "/etc/containerd/config.toml has another content",
        "sysctl -qw net.ipv4.ip_forward=0": "sysctl net.ipv4.ip_forward is '0', not '1'",
        "cd /opt/kubernetes-mesos/bin && ln -sfn /bin/true flanneld":
            "/opt/kubernetes-mesos/bin/flanneld leads to '/bin/true'",
    },
    ("rack1", "kube-controller-manager"): {
        "systemctl disable --quiet --now kube-controller-manager":
            "kube-controller-manager.service is disabled, not enabled",
    },
    ("rack1", "km-scheduler"): {
        "systemctl stop km-scheduler": "km-scheduler.service is inactive, not active",
    },
    ("rack3", "mesos-agent"): {
        "chown nobody /etc/systemd/system/mesos-agent.service":
            "/etc/systemd/system/mesos-agent.service belongs to nobody, not root",
    },
    ("rack1", "etcd"): {
        "chmod 0644 /etc/kubernetes-mesos/etcd/etcd.key":
            "/etc/kubernetes-mesos/etcd/etcd.key has mode 644, not 600",
    },
}  # fmt: skip
"""Host and recipe; what somebody does there by hand, and how a preview says it."""


def test_every_kind_of_drift_is_named_and_nothing_else_is_touched(metal):
    before = metal.traces(*NAMES)
    for (host, _), by_hand in DRIFT.items():
        for command in by_hand:
            metal.machines.run(host, command)

    preview = metal.make("preview")
    repaired = metal.make("up")
    clean = metal.make("preview")

    for (host, recipe), by_hand in DRIFT.items():
        for words in by_hand.values():
            assert re.search(
                rf"{host}: {recipe}: {re.escape(words)}.*; `up` repairs it", preview.output
            )
    assert updated(repaired.output) == {
        host if recipe == "machine" else f"{recipe}-{host}" for host, recipe in DRIFT
    }
    assert_unchanged(clean)
    for name, now in metal.traces(*NAMES).items():
        touched = difference(before[name], now)
        assert [one for one in touched if not OWN.search(one)] == [], name


def test_a_dead_agent_leaves_within_a_minute_and_nobody_logs_in(metal):
    metal.machines.kill("rack3")
    metal.say_of("rack3", "roles: [agent]", "roles: [agent], gone: true")

    left = metal.make("up")

    assert left.seconds < DEAD_SECONDS
    assert "rack3 is gone: nobody logs in" in left.output
    deleted = set(re.findall(r"^ -\s+\S+ (\S+) deleted", left.output, re.MULTILINE))
    assert "mesos-agent-rack3" in deleted
    assert all("rack3" in name for name in deleted), deleted
    names = metal.kubectl("get nodes -o name").split()
    assert "node/rack3" not in names
    assert not CHANGES.search(metal.make("preview").output)


def test_a_stack_with_a_dead_machine_goes_and_leaves_the_others_clean(metal, bare):
    metal.machines.kill("rack2")

    down = metal.make("down")

    assert down.seconds < 2 * DEAD_SECONDS
    assert_clean(metal, bare, "rack1")


def test_up_killed_at_ten_moments_converges(metal, bare):
    metal.machines.install_anew(*NAMES)
    metal.settings.write_text(metal.settings.read_text().replace(", gone: true", ""))
    seed = int(os.environ.get("KUBERNETES_MESOS_SEED") or random.SystemRandom().randrange(10**6))
    print(f"KUBERNETES_MESOS_SEED={seed}")
    moments = random.Random(seed)
    for _ in range(KILLS):
        metal.kill_up(moments.uniform(0.5, 10))

    assert_answered(metal.make("up").output)
    assert not CHANGES.search(metal.make("preview").output)


def test_down_leaves_bare_machines(metal, bare):
    metal.make("down")

    assert_clean(metal, bare, *NAMES)
