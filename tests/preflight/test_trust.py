"""Trust: keys are read once, shown, and written without disturbing the rest of the file."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from components.ssh import Login
from preflight import stack_file
from preflight.trust import HOSTS, Place, Seen, places, read_keys, with_keys
from tests.preflight.light_hosts import SSHD, LightHosts, light_hosts, new_key

KEY = asyncssh.generate_private_key("ssh-ed25519")

FILE = """\
# Our three spare servers.
config:
  kubernetes-mesos:cluster:
    hosts:
      on: metal # not the lab
      user: ops
      bastion:
        address: 203.0.113.9 # the only one
      machines:
        # control
        - {name: rack1, address: 10.0.0.11, roles: [control]}
        - name: rack2
          address: 10.0.0.12 # behind the door
          roles: [agent]
        - {
            name: rack3,
            address: 10.0.0.13,
            roles: [agent],
          }
    dns:
      replicas: 2
"""


def seen(index: int, **login: object) -> Seen:
    path = (*HOSTS, "machines", index)
    place = Place(name=f"rack{index}", path=path, login=Login(address="a", user="u", **login))
    return Seen(place=place, key=KEY)


def test_keys_go_where_they_belong_and_comments_stay() -> None:
    bastion = Seen(
        place=Place(name="b", path=(*HOSTS, "bastion"), login=Login(address="a", user="u")), key=KEY
    )
    text = with_keys(FILE, [bastion, seen(0), seen(1), seen(2)], "metal-1")

    hosts = stack_file.load(text)["config"]["kubernetes-mesos:cluster"]["hosts"]
    assert [machine["host_key"] for machine in hosts["machines"]] == [bastion.text] * 3
    assert hosts["bastion"]["host_key"] == bastion.text
    assert hosts["cluster_id"] == "metal-1"
    for kept in FILE.splitlines():
        assert kept.strip().removesuffix("}").rstrip() in text


def test_what_is_known_is_not_written_again() -> None:
    once = with_keys(FILE, [seen(0), seen(1)], "metal-1")

    known = [seen(0, host_key=seen(0).text), seen(1, host_key=seen(1).text)]

    assert with_keys(once, known, "metal-2") == once


def test_a_key_that_differs_from_the_pinned_one_is_called_changed() -> None:
    assert seen(0, host_key="ssh-ed25519 AAAAother").verdict == "CHANGED"


def test_machines_that_are_gone_are_not_asked_and_a_bastion_only_once() -> None:
    bastion = Login(address="203.0.113.9", user="ops")
    login = Login(address="10.0.0.11", user="ops", bastion=bastion)
    raw = stack_file.load(FILE)["config"]["kubernetes-mesos:cluster"]["hosts"]
    raw["machines"][1]["gone"] = True

    found = places(raw, [login, login, login])

    assert [place.name for place in found] == ["bastion", "rack1", "rack3"]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightHosts]:
    if not SSHD.exists():
        pytest.skip("needs openssh-server")
    with light_hosts(tmp_path_factory.mktemp("sshd"), 2) as started:
        yield started


def ask(*logins: Login) -> list[Seen]:
    wanted = [
        Place(name=str(index), path=(*HOSTS, "machines", index), login=login)
        for index, login in enumerate(logins)
    ]
    return asyncio.run(read_keys(wanted))


def test_keys_are_read_without_logging_in(hosts: LightHosts, tmp_path: Path) -> None:
    stranger = dataclasses.replace(
        hosts.login(), host_key=None, key=new_key(tmp_path / "stranger"), user="nobody"
    )

    (one,) = ask(stranger)

    assert one.text == hosts.host_key
    assert one.verdict == "new"


def test_a_known_key_is_known(hosts: LightHosts) -> None:
    assert ask(hosts.login())[0].verdict == "known"


def test_a_machine_behind_a_bastion_shows_its_key_through_it(hosts: LightHosts) -> None:
    behind = dataclasses.replace(hosts.login(1), host_key=None, bastion=hosts.login(0))

    assert ask(behind)[0].text == hosts.host_key


def test_a_machine_that_does_not_answer_says_so(hosts: LightHosts) -> None:
    (one,) = ask(dataclasses.replace(hosts.login(), host_key=None, port=1))

    assert one.verdict == "Connection refused"


def test_a_server_that_hangs_up_is_named_with_its_reason() -> None:
    async def asked() -> list[Seen]:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            login = Login(address="127.0.0.1", user="ops", port=server.sockets[0].getsockname()[1])
            return await read_keys([Place(name="a", path=(*HOSTS, "machines", 0), login=login)])

    (one,) = asyncio.run(asked())

    assert one.key is None
    assert "onnection" in one.verdict
