"""Asking real SSH servers: what they say, and every way in which they do not."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.ssh import Login
from preflight.ask import SCRIPT, ask
from preflight.facts import parse
from preflight.targets import Target
from tests.preflight.light_hosts import SSHD, LightHosts, free_port, light_hosts, new_key

pytestmark = pytest.mark.skipif(not SSHD.exists(), reason="needs openssh-server")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightHosts]:
    with light_hosts(tmp_path_factory.mktemp("sshd"), 3) as started:
        yield started


def target(login: Login, **more: object) -> Target:
    return Target(name="one", login=login, **more)


def failure(login: Login) -> tuple[str | None, str]:
    answer = ask([target(login)])[0]
    return answer.failure, answer.detail


def test_a_host_tells_its_facts_in_one_round(hosts: LightHosts) -> None:
    answer = ask([target(hosts.login())])[0]

    assert answer.facts is not None
    assert answer.facts.sudo == "root"
    assert answer.facts.arch == "x86_64"
    assert answer.facts.memory_mb > 500
    assert answer.facts.cpus >= 1


def test_a_clock_that_is_right_has_no_skew(hosts: LightHosts) -> None:
    assert ask([target(hosts.login())])[0].skew == 0.0


def test_answers_keep_the_order_of_the_targets(hosts: LightHosts) -> None:
    targets = [dataclasses.replace(target(hosts.login(n)), name=f"host-{n}") for n in (2, 0, 1)]

    assert [answer.target.name for answer in ask(targets)] == ["host-2", "host-0", "host-1"]


def test_a_listening_peer_and_a_refusing_peer_are_both_reachable(hosts: LightHosts) -> None:
    peers = frozenset({f"{hosts.addresses[1]}:{hosts.port}", f"127.0.0.1:{free_port()}"})

    answer = ask([target(hosts.login(), peers=peers)])[0]

    assert answer.facts is not None
    assert answer.facts.unreachable == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a network of its own")
def test_a_way_that_is_not_open_is_told_with_its_reason() -> None:
    """Among many that are: a control host is asked for those to each agent."""
    closed = {
        "10.0.0.2:2181": "no answer in 4 s",
        "10.0.0.20:2181": "no answer in 4 s",
        "192.0.2.1:5050": "Network is unreachable",
    }
    peers = [*(f"127.0.0.{number}:2181" for number in range(1, 200)), *closed]
    network = [
        *("link set lo up", "link add there type veth peer name away", "link set away up"),
        *("link set there up", "address add 10.0.0.1/24 dev there"),
        # What is sent there is lost.
        *(f"neigh add 10.0.0.{last} lladdr 02:00:00:00:00:02 dev there" for last in (2, 20)),
    ]
    made = "".join(f"ip {words} && " for words in network)
    values = f"SUDO=root PORTS='' PEERS='{' '.join(peers)}'"

    said = subprocess.run(
        ["unshare", "--net", "sh", "-c", f"{made}{values} sh {SCRIPT}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert parse(said).unreachable == closed


def test_who_listens_is_told_of_the_ports_that_are_asked_for(hosts: LightHosts) -> None:
    asked = {hosts.port: "one.service", free_port(): "other.service"}

    taken = ask([target(hosts.login(), ports=asked)])[0].facts
    free = ask([target(hosts.login(), ports={free_port(): "other.service"})])[0].facts

    assert taken is not None
    assert free is not None
    assert {(one.port, one.program) for one in taken.listeners} == {(hosts.port, "sshd")}
    assert free.listeners == ()


def test_a_host_without_a_pinned_key_is_not_even_dialled() -> None:
    login = Login(address="192.0.2.1", user="ops")

    assert failure(login) == ("key-missing", "")


def test_a_changed_host_key_stops_before_login(hosts: LightHosts, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other").with_suffix(".pub").read_text()

    kind, detail = failure(dataclasses.replace(hosts.login(), host_key=other))

    assert kind == "host-key"
    assert detail.startswith("ssh-ed25519 SHA256:")


def test_a_host_key_of_another_kind_is_a_changed_one(hosts: LightHosts, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other", "ecdsa").with_suffix(".pub").read_text()

    assert failure(dataclasses.replace(hosts.login(), host_key=other))[0] == "host-key"


def test_a_wrong_user_or_key_is_a_failed_login(hosts: LightHosts, tmp_path: Path) -> None:
    login = dataclasses.replace(hosts.login(), key=new_key(tmp_path / "unknown"))

    assert failure(login)[0] == "login"


def test_a_key_file_that_is_missing_is_named(hosts: LightHosts, tmp_path: Path) -> None:
    kind, detail = failure(dataclasses.replace(hosts.login(), key=tmp_path / "nothing"))

    assert kind == "key-file"
    assert str(tmp_path / "nothing") in detail


def test_a_key_file_that_others_can_read_is_refused(hosts: LightHosts, tmp_path: Path) -> None:
    open_key = new_key(tmp_path / "open")
    open_key.chmod(0o644)

    kind, detail = failure(dataclasses.replace(hosts.login(), key=open_key))

    assert kind == "key-file"
    assert "mode 644" in detail


def test_a_port_where_nobody_listens_is_named(hosts: LightHosts) -> None:
    kind, detail = failure(dataclasses.replace(hosts.login(), port=free_port()))

    assert kind == "connect"
    assert detail == "Connection refused"


def test_a_host_behind_a_bastion_answers_through_it(hosts: LightHosts) -> None:
    login = dataclasses.replace(hosts.login(1), bastion=hosts.login(0))

    assert ask([target(login)])[0].facts is not None


@pytest.mark.parametrize("kind", ["connect", "key-missing", "host-key", "login", "key-text"])
def test_a_bastion_that_fails_is_named_with_its_own_failure(
    hosts: LightHosts, tmp_path: Path, kind: str
) -> None:
    stranger = new_key(tmp_path / "stranger")
    changed = {
        "connect": {"port": free_port()},
        "key-missing": {"host_key": None},
        "host-key": {"host_key": stranger.with_suffix(".pub").read_text()},
        "login": {"key": stranger},
        "key-text": {"host_key": hosts.host_key[:-8]},
    }[kind]
    bastion = dataclasses.replace(hosts.login(0), **changed)

    answer = ask([target(dataclasses.replace(hosts.login(1), bastion=bastion))])[0]

    assert (answer.failure, answer.bastion) == (kind, bastion)


def test_a_host_that_fails_behind_a_good_bastion_is_not_the_bastions_failure(
    hosts: LightHosts,
) -> None:
    behind = dataclasses.replace(hosts.login(1), host_key=None, bastion=hosts.login(0))

    answer = ask([target(behind)])[0]

    assert (answer.failure, answer.bastion) == ("key-missing", None)


def test_questions_change_no_file_of_ours(hosts: LightHosts) -> None:
    before = Path("/etc/kubernetes-mesos").exists()

    ask([target(hosts.login())])

    assert Path("/etc/kubernetes-mesos").exists() == before
