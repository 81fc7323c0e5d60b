"""Machines that the program makes, asked one by one: what is said of them, and of silent ones."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.ssh import Login
from preflight import asker
from preflight.ask import Answer
from preflight.asker import Asker, silence
from preflight.targets import Target
from tests.preflight.light_hosts import SSHD, LightHosts, free_port, light_hosts, new_key
from tests.preflight.test_judge import GOOD

ask = importlib.import_module("preflight.ask")  # the package has a function of this name

BASTION = Login(address="203.0.113.9", user="admin")
LOGIN = Login(address="10.80.0.9", user="admin", bastion=BASTION)


def answer(**what: Any) -> Answer:
    return Answer(target=Target(name="general-1", login=LOGIN), **what)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(answer(facts=GOOD), "", id="root"),
        pytest.param(answer(facts=dataclasses.replace(GOOD, sudo="ok")), "", id="sudo"),
        *(
            pytest.param(
                answer(facts=dataclasses.replace(GOOD, sudo=sudo, user="admin")),
                "admin may not use sudo there without a password",
                id=sudo,
            )
            for sudo in ("missing", "password", "refused")
        ),
        pytest.param(
            answer(failure="connect", detail="no answer in 15 s"),
            "admin@10.80.0.9:22: no answer in 15 s",
            id="down",
        ),
        pytest.param(
            answer(failure="connect", detail="Connection refused", bastion=BASTION),
            "bastion admin@203.0.113.9:22: Connection refused",
            id="bastion down",
        ),
        pytest.param(
            answer(failure="host-key", detail="ssh-ed25519 SHA256:x"),
            "admin@10.80.0.9:22 shows ssh-ed25519 SHA256:x, not the key it was given",
            id="another host key",
        ),
        pytest.param(
            answer(failure="login", detail="Permission denied"),
            "admin@10.80.0.9:22 lets nobody in with this user and key: Permission denied",
            id="login",
        ),
        pytest.param(
            answer(failure="key-file", detail="/x has mode 644: others can read it"),
            "/x has mode 644: others can read it",
            id="the operator's own key",
        ),
        pytest.param(answer(failure="answer"), "admin@10.80.0.9:22: no answer", id="no words"),
    ],
)
def test_why_a_machine_says_nothing_is_told_in_words(given: Answer, said: str) -> None:
    assert silence(given) == said


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(pulumi, "warn", said.append)
    return said


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What our recipes left, in a directory of the test's own; an agent is one recipe."""
    directory = tmp_path / "etc"
    (directory / "manifest").mkdir(parents=True)
    script = tmp_path / "facts.sh"
    script.write_text(ask.SCRIPT.read_text().replace("/etc/kubernetes-mesos", str(directory)))
    monkeypatch.setattr(ask, "SCRIPT", script)
    monkeypatch.setattr(asker, "recipes", lambda roles: ("demo",) if "agent" in roles else ())
    return directory


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightHosts]:
    if not SSHD.exists():
        pytest.skip("needs openssh-server")
    with light_hosts(tmp_path_factory.mktemp("sshd"), 3) as started:
        yield started


def way(hosts: LightHosts, index: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "address": hosts.addresses[index],
        "port": hosts.port,
        "user": "root",
        "key": str(hosts.key),
        "host_key": hosts.host_key,
        "bastion": None,
        **more,
    }


def words(*ways: Mapping[str, Any], roles: Sequence[str] = ("agent",)) -> list[Any]:
    """Ask all at once, as Pulumi does when their addresses become known."""

    async def together() -> list[Any]:
        one = Asker()
        asking = (one.ask(f"general-{n}", roles, each) for n, each in enumerate(ways, 1))
        return await asyncio.gather(*asking)

    return asyncio.run(together())


def test_a_machine_as_it_was_left_is_told_nothing(
    hosts: LightHosts, etc: Path, warnings: list[str]
) -> None:
    (etc / "cluster").write_text("project/aws\n")
    (etc / "manifest/demo").write_text(f"mount proc - /proc\nlink - a {etc}/link\n")
    (etc / "link").symlink_to("a")

    assert words(way(hosts)) == [{}]
    assert warnings == []


def test_a_difference_is_a_warning_and_the_words_of_a_repair(
    hosts: LightHosts, etc: Path, warnings: list[str]
) -> None:
    (etc / "cluster").write_text("project/aws\n")
    (etc / "manifest/demo").write_text(f"link - a {etc}/link\n")

    assert words(way(hosts)) == [{"demo": f"repair 1: {etc}/link is missing"}]
    assert warnings == [f"general-1: demo: {etc}/link is missing; `up` repairs it"]


def test_a_masked_service_is_not_promised_to_be_repaired(
    hosts: LightHosts, etc: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (etc / "cluster").write_text("project/aws\n")
    masked = "demo: etcd.service is masked, not enabled"
    monkeypatch.setattr(asker.drift, "found", lambda _facts, _recipes: [masked])

    words(way(hosts))

    assert warnings == [f"general-1: {masked}; `up` fails until it is unmasked"]


def test_a_new_machine_joins_in_so_many_words_and_nobody_is_warned(
    hosts: LightHosts, etc: Path, warnings: list[str]
) -> None:
    (said,) = words(way(hosts))

    assert said["demo"].startswith("joins, 20")
    assert warnings == []


def test_a_machine_of_another_role_is_not_expected_to_have_it(hosts: LightHosts, etc: Path) -> None:
    assert words(way(hosts), roles=["control"]) == [{}]


def test_a_silent_machine_is_named_and_hides_nothing_of_the_others(
    hosts: LightHosts, etc: Path, warnings: list[str], tmp_path: Path
) -> None:
    (etc / "manifest/demo").write_text(f"link - a {etc}/link\n")
    port = free_port()

    said = words(way(hosts, port=port), way(hosts, 1), way(hosts, key=str(new_key(tmp_path / "x"))))

    assert said == [None, {"demo": f"repair 1: {etc}/link is missing"}, None]
    silent = "could not be asked what of it has changed, so it stays as it is"
    address = f"root@{hosts.addresses[0]}"
    assert sorted(warnings) == [
        f"general-1 {silent}: {address}:{port}: Connection refused",
        f"general-2: demo: {etc}/link is missing; `up` repairs it",
        f"general-3 {silent}: {address}:{hosts.port} lets nobody in with this user and key: "
        "Permission denied for user root on host " + hosts.addresses[0],
    ]


def test_machines_behind_a_bastion_share_one_connection_to_it_which_is_closed(
    hosts: LightHosts, etc: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, Any]] = []
    connect = ask.connect

    async def counted(login: Login, tunnel: Any = None) -> Any:
        connection = await connect(login, tunnel)
        opened.append((login.address, connection))
        return connection

    monkeypatch.setattr(ask, "connect", counted)
    bastion = way(hosts, 2)

    said = words(way(hosts, 0, bastion=bastion), way(hosts, 1, bastion=bastion))

    assert [sorted(one) for one in said] == [["demo"], ["demo"]]
    assert sorted(address for address, _ in opened) == sorted(hosts.addresses)
    assert all(connection.is_closed() for _, connection in opened)


def test_not_more_machines_are_asked_at_once_than_a_small_computer_bears(
    hosts: LightHosts, etc: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most = 0, 0
    question = ask._question

    async def counted(target: Target, connection: Any) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await question(target, connection)
        finally:
            running -= 1

    monkeypatch.setattr(ask, "_question", counted)
    monkeypatch.setattr(asker, "AT_ONCE", 2)

    said = words(*[way(hosts, n % 3) for n in range(6)])

    assert len(said) == 6
    assert most == 2
