"""Stack `metal` with three control hosts and two agents: what it bears, and how it comes back.

Mesos comes from an archive. The tests run in the order they stand in: each one finds the machines
as the one before left them.
"""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from textwrap import indent
from typing import Any

import httpx
import pytest

from bench.pods import api_of
from components.programs import cache
from preflight.hosts import CONTROL_RECIPES
from tests.integration.checkout import Checkout
from tests.integration.cluster import wait_for
from tests.integration.load import is_ready
from tests.integration.metal import Metal, assert_answered, assert_unchanged, updated
from tests.integration.plain_machines import PlainMachines, plain_machines
from tools.settling import seconds

pytestmark = [
    pytest.mark.lab,
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
]

CONTROL = ("rack1", "rack2", "rack3")
AGENTS = ("rack4", "rack5")
MEMORY_MB = 2048
TAKEOVER_S = 120
"""The longest until everything works after a loss: a lease, a session, an election, at worst one
after another."""

REPLICAS = 4
MINIMUM = 3
WORK = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: kept}}
data: {{answer: "42"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: work}}
spec:
  replicas: {REPLICAS}
  selector: {{matchLabels: {{app: work}}}}
  template:
    metadata: {{labels: {{app: work}}}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {{matchLabels: {{app: work}}}}
      containers:
        - name: main
          image: docker.io/library/busybox:1.35
          command: [sleep, infinity]
          resources: {{requests: {{cpu: 20m, memory: 16Mi}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: work}}
spec:
  minAvailable: {MINIMUM}
  selector: {{matchLabels: {{app: work}}}}
"""


# The stack ----------------------------------------------------------------------------------------


def settings(example: str, archive: str, machines: PlainMachines) -> str:
    """Write the example's stack file for five machines, with Mesos from an archive."""
    roles = {**dict.fromkeys(CONTROL, "control"), **dict.fromkeys(AGENTS, "agent")}
    listed = "".join(
        f"        - {{name: {name}, address: {machines.address(name)}, roles: [{role}]}}\n"
        for name, role in roles.items()
    )
    changes = '      change_at_once: "1"\n'
    shares = "  roles:\n    - {name: analytics, weight: 2}\n"
    more = indent(f"{archive}{shares}kubernetes:\n  nodes: every-agent\n", "    ")
    return re.sub(
        r"( +machines:\n)(?: +- \{.*\}\n)+",
        rf"{changes}\1{listed}{more}",
        machines.stack_file(example),
    )


@pytest.fixture(scope="module")
def metal(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metal]:
    checkout.run("make setup")
    if not (cache() / "packages/bookworm/Packages").exists():
        checkout.run("make bundle")
    archive = checkout.run("make -s mesos-archive 2>/dev/null").output
    directory = tmp_path_factory.mktemp("machines")
    with plain_machines(directory, (*CONTROL, *AGENTS), memory_mb=MEMORY_MB) as machines:
        made = Metal(checkout=replace(checkout, stack="metal"), machines=machines)
        made.settings.write_text(settings(made.settings.read_text(), archive, machines))
        yield made


# What is asked ------------------------------------------------------------------------------------


def lives(metal: Metal, context: str) -> dict[str, tuple[str, str, int]]:
    """Pods that run: uid, when they were started, and how often their containers were again."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            pod["status"]["startTime"],
            sum(one["restartCount"] for one in pod["status"]["containerStatuses"]),
        )
        for pod in metal.items(f"--context {context} pods -A")
        if pod["status"]["phase"] == "Running" and is_ready(pod)
    }


def asked(metal: Metal, name: str, port_and_path: str) -> dict[str, Any]:
    with urllib.request.urlopen(
        f"http://{metal.machines.address(name)}:{port_and_path}", timeout=5
    ) as answer:
        return dict(json.load(answer))


def etcd_members(metal: Metal, name: str) -> dict[str, bool]:
    """The members that this one knows: host, and whether it is healthy."""
    pki = "/etc/kubernetes-mesos/etcd"
    ctl = (
        f"/opt/kubernetes-mesos/bin/etcdctl --cacert={pki}/ca.crt --cert={pki}/etcd.crt "
        f"--key={pki}/etcd.key --write-out=json"
    )
    members = json.loads(metal.machines.run(name, f"{ctl} member list"))["members"]
    urls = {one["clientURLs"][0]: one["name"] for one in members}
    health = metal.machines.run(name, f"{ctl} endpoint health --cluster 2>/dev/null || true")
    return {urls[one["endpoint"]]: one["health"] for one in json.loads(health)}


def zookeeper_mode(metal: Metal, name: str) -> str:
    """`leader`, `follower`, or nothing as long as it does not serve."""
    said = metal.machines.run(
        name, "timeout 3 bash -c 'exec 3<>/dev/tcp/127.0.0.1/2181; echo srvr >&3; cat <&3' || true"
    )
    mode = re.search(r"^Mode: (\w+)$", said, re.MULTILINE)
    return mode[1] if mode else ""


def shortcomings(metal: Metal, alive: tuple[str, ...] = CONTROL) -> list[str]:
    """Whatever of an ensemble does not take part as it should, in words."""
    modes = [zookeeper_mode(metal, name) for name in alive]
    figures = [asked(metal, name, "5050/metrics/snapshot") for name in alive]
    elected = [one["master/elected"] for one in figures]
    logs = [one["registrar/log/recovered"] for one in figures]
    leading = [bool(asked(metal, name, "10251/status.json").get("leading")) for name in alive]
    healthy = sorted(name for name, well in etcd_members(metal, alive[-1]).items() if well)
    others = len(alive) - 1
    takes_part = {
        f"etcd: healthy are {healthy}": healthy == sorted(alive),
        f"ZooKeeper: {modes}": sorted(modes) == ["follower"] * others + ["leader"],
        f"Mesos: elected {elected}": sorted(elected) == [0.0] * others + [1.0],
        f"Mesos: has the registry {logs}": set(logs) == {1.0},
        f"km: leads {leading}": sorted(leading) == [False] * others + [True],
    }
    return [words for words, well in takes_part.items() if not well]


def wait_until_whole(metal: Metal, alive: tuple[str, ...] = CONTROL) -> None:
    """Until every server of every ensemble takes part."""
    last: list[str] = ["nobody has answered"]

    def whole() -> bool:
        with suppress(OSError, ValueError, KeyError, AssertionError):
            last[:] = shortcomings(metal, alive)
        return not last

    try:
        wait_for("all take part", whole, TAKEOVER_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from None


def assert_works(metal: Metal, context: str, pod: str) -> None:
    """Names are answered, and a new pod starts."""

    def answered() -> str | None:
        said = metal.checkout.shell(
            f"kubectl --context {context} exec busybox -- nslookup kubernetes", check=False
        ).output
        return said if "Address: 10.10.10.1\n" in said else None

    assert_answered(wait_for("an answer of DNS", answered, TAKEOVER_S))
    metal.kubectl(
        f"--context {context} run {pod} --image=docker.io/library/busybox:1.35 --restart=Never "
        "-- sleep infinity"
    )
    metal.kubectl(f"--context {context} wait --for=condition=Ready pod/{pod} --timeout=120s")
    metal.kubectl(f"--context {context} delete pod {pod} --grace-period=1")


def wait_for_nodes(metal: Metal, made_after: float) -> None:
    """Until every agent has a node that is ready and was made after that time."""

    def all_ready() -> bool:
        nodes = metal.items("nodes")
        young = [n for n in nodes if seconds(n["metadata"]["creationTimestamp"]) > made_after]
        return sorted(n["metadata"]["name"] for n in young if is_ready(n)) == sorted(AGENTS)

    wait_for("ready nodes on all agents", all_ready, 600)


# It comes up --------------------------------------------------------------------------------------


def test_three_control_hosts_come_up_to_the_answer(metal):
    metal.make("trust")

    up = metal.make("up")

    assert_answered(up.output)
    wait_until_whole(metal)


def test_a_second_up_changes_nothing(metal):
    assert_unchanged(metal.make("up"))
    assert_unchanged(metal.make("preview"))


def test_mesos_runs_from_the_archive_that_was_sent(metal):
    (sha256,) = re.findall(r"sha256: (\w{64})", metal.settings.read_text())
    home = f"/var/cache/kubernetes-mesos/programs/mesos/archive-{sha256[:12]}"

    for names, program in ((CONTROL, "mesos-master"), (AGENTS, "mesos-agent")):
        for name in names:
            executable = metal.machines.run(
                name, f"readlink /proc/$(systemctl show --value --property=MainPID {program})/exe"
            )
            assert executable.strip().rpartition("/")[0] == home
            # No other Mesos has come beside it.
            assert metal.machines.run(name, f"ls {home}/..").split() == [home.rpartition("/")[2]]


def test_the_work_runs(metal):
    wait_for_nodes(metal, made_after=0)
    path = metal.checkout.directory / "work.yaml"
    path.write_text(WORK)
    metal.kubectl(f"apply -f {path}")
    metal.kubectl("rollout status deployment/work --timeout=180s")

    nodes = {pod["spec"]["nodeName"] for pod in metal.items("pods -l app=work")}
    assert nodes == set(AGENTS)


# A control host is installed anew -----------------------------------------------------------------


def test_a_control_host_that_is_installed_anew_takes_its_place_again(metal):
    lost, other = "rack1", "rack2"
    before = lives(metal, other)
    metal.machines.kill(lost)
    metal.kubectl(f"--context {other} create configmap meanwhile --from-literal=written=yes")

    metal.machines.forget_host_key(lost)
    metal.machines.install_anew(lost)
    key = re.search(rf"name: {lost},.*?(, host_key: \"[^\"]+\")", metal.settings.read_text())
    assert key
    metal.say_of(lost, key[1], "")
    metal.make("trust")
    preview = metal.make("preview")
    up = metal.make("up")

    assert f"{lost}: nothing of the cluster is on it; `up` puts everything there" in preview.output
    changes = set(re.findall(r"^ ~\s+\S+ (\S+) update", preview.output, re.MULTILINE))
    assert {f"{recipe}-{lost}" for recipe in CONTROL_RECIPES if recipe != "machine"} <= changes
    # An agent is drained from the first control host: from which one is kept with it.
    assert all(lost in name or name.startswith("departure-") for name in changes), changes
    assert_answered(up.output)
    wait_until_whole(metal)
    assert_unchanged(metal.make("preview"))
    assert lives(metal, lost).items() >= before.items()
    for name, value in (("kept", "42"), ("meanwhile", "yes")):
        assert value in metal.kubectl(f"--context {lost} get configmap {name} -o yaml")


def test_and_the_cluster_bears_the_loss_of_another_one(metal):
    before = lives(metal, "rack1")
    metal.machines.kill("rack2")

    wait_until_whole(metal, ("rack1", "rack3"))
    assert_works(metal, "rack1", "after-another")
    assert lives(metal, "rack1").items() >= before.items()
    metal.machines.start("rack2")
    wait_until_whole(metal)
    assert_unchanged(metal.make("preview"))


def test_one_that_comes_back_under_the_key_it_had_has_the_shares_of_roles_again(metal):
    """Of all that the stack has of it, only what the host says itself is another then."""
    lost, shares = "rack1", "cat /var/lib/kubernetes-mesos/mesos/sharing.json"
    before = metal.machines.run(lost, shares)
    metal.machines.kill(lost)
    metal.machines.install_anew(lost)

    preview = metal.make("preview")
    up = metal.make("up")

    changes = set(re.findall(r"^ ~\s+\S+ (\S+) update", preview.output, re.MULTILINE))
    assert {lost, *(f"{recipe}-{lost}" for recipe in CONTROL_RECIPES if recipe != "machine")} | {
        f"mesos-sharing-{lost}"
    } == changes
    assert_answered(up.output)
    wait_until_whole(metal)
    assert_unchanged(metal.make("preview"))
    assert metal.machines.run(lost, shares) == before


# A control host is dead for a while ---------------------------------------------------------------


@pytest.mark.parametrize("dead", ["rack2", "rack1"])
def test_work_goes_on_without_one_control_host_and_it_comes_back(metal, dead):
    alive = tuple(name for name in CONTROL if name != dead)
    before = lives(metal, alive[0])

    metal.machines.kill(dead)

    wait_until_whole(metal, alive)
    for context in alive:
        assert_works(metal, context, f"without-{dead}-by-{context}")
    assert lives(metal, alive[0]).items() >= before.items()
    metal.machines.start(dead)
    wait_until_whole(metal)
    assert_unchanged(metal.make("preview"))
    assert lives(metal, dead).items() >= before.items()


# Agents change one by one -------------------------------------------------------------------------


@dataclass
class Availability:
    """How many pods of the work were available at each look, whichever API server answered."""

    seen: list[int] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    @contextmanager
    def watched(cls, metal: Metal) -> Iterator[Availability]:
        watch = cls()
        thread = threading.Thread(target=watch._look, args=(metal,), daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            watch._stopping.set()
            thread.join(60)

    def _look(self, metal: Metal) -> None:
        servers = [f"https://{metal.machines.address(name)}:6443" for name in CONTROL]
        path = "/api/v1/namespaces/default/pods?labelSelector=app%3Dwork"
        with api_of(metal.kubeconfig()) as api:
            while not self._stopping.wait(0.5):
                for server in servers:
                    with suppress(httpx.HTTPError):
                        pods = api.get(f"{server}{path}", timeout=5).raise_for_status().json()
                        self.seen.append(sum(map(is_available, pods["items"])))
                        break


def is_available(pod: dict[str, Any]) -> bool:
    return is_ready(pod) and "deletionTimestamp" not in pod["metadata"]


def runs(metal: Metal, recipe: str) -> dict[str, float]:
    """When the recipe last ran on each agent: it writes its manifest anew."""
    path = f"/etc/kubernetes-mesos/manifest/{recipe}"
    return {name: float(metal.machines.run(name, f"stat -c %.Y {path}")) for name in AGENTS}


def positions(output: str, first: str, second: str) -> tuple[int, int]:
    """Where `up` says that one resource was updated, and where that another begins to be."""
    done = re.search(rf"^ ~\s+\S+ {first} updated", output, re.MULTILINE)
    begun = re.search(rf"^ ~\s+\S+ {second} updating", output, re.MULTILINE)
    assert done, f"{first} was not updated"
    assert begun, f"{second} was not updated"
    return done.start(), begun.start()


def issue_certificates_anew(metal: Metal, number: int) -> None:
    """Ask for what changes every host, and what nodes take up only when they are started anew."""
    text = re.sub(r" +certificates_issue: .*\n", "", metal.settings.read_text())
    more = f"    certificates_issue: {number}\n    mesos:\n"
    metal.settings.write_text(text.replace("    mesos:\n", more))


def test_agents_change_one_by_one_and_pods_stay_available(metal):
    first, second = AGENTS
    before, started = runs(metal, "node-runtime"), time.time()
    issue_certificates_anew(metal, 2)

    with Availability.watched(metal) as available:
        up = metal.make("up")
        wait_for_nodes(metal, made_after=started)
        metal.kubectl("rollout status deployment/work --timeout=180s")

    print(f"available at {len(available.seen)} looks: {sorted(set(available.seen))}")
    assert min(available.seen) >= MINIMUM
    done, begun = positions(up.output, f"node-runtime-{first}", f"node-runtime-{second}")
    assert done < begun
    after = runs(metal, "node-runtime")
    assert before[first] < after[first] < after[second]
    wait_until_whole(metal)
    assert_unchanged(metal.make("preview"))


def test_when_the_first_agent_fails_the_second_is_left_alone(metal):
    first, second = AGENTS
    before, started = runs(metal, "node-runtime"), time.time()
    issue_certificates_anew(metal, 3)
    metal.machines.run(first, "systemctl mask --quiet --now containerd")

    failed = metal.make("up", check=False)

    assert failed.code != 0
    assert f"(node-runtime-{first})" in failed.output
    assert f"{first}: containerd.service is masked: somebody wants it not to run" in failed.output
    assert not updated(failed.output) & {f"node-runtime-{second}", f"mesos-agent-{second}"}
    assert runs(metal, "node-runtime") == before
    metal.machines.run(first, "systemctl unmask --quiet containerd")
    metal.make("up")
    wait_for_nodes(metal, made_after=started)
    assert all(ran > before[name] for name, ran in runs(metal, "node-runtime").items())
    assert_unchanged(metal.make("preview"))
