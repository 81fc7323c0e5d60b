"""Judging answers: each bad input is one problem, with host, found, allowed and remedy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from components.ssh import Login
from preflight.ask import Answer
from preflight.facts import AnswerError, Facts, Listener, parse
from preflight.judge import concerns, judge, newcomers
from preflight.problems import Problem, table
from preflight.targets import Target
from tests.preflight import script

LOGIN = Login(
    address="10.0.0.11", user="ops", key=Path("/home/me/.ssh/id"), host_key="ssh-ed25519 AAAA"
)
TARGET = Target(name="rack1", login=LOGIN, ports={2181: "zookeeper.service"})
GOOD = Facts(
    sudo="ok",
    user="ops",
    hostname="rack1",
    machine_id="a" * 32,
    arch="x86_64",
    kernel="6.1.0",
    cpus=4,
    memory_mb=8000,
    disk_mb=50000,
    cgroup="v2",
    systemd=True,
    os_id="debian",
    os_version="12",
    os_name="Debian GNU/Linux 12 (bookworm)",
    time=0.0,
)


def problems(answer: Answer) -> list[Problem]:
    return judge([answer], "kubernetes-mesos/metal")


def facts(**changed: object) -> Answer:
    return Answer(target=TARGET, facts=dataclasses.replace(GOOD, **changed))


def test_a_good_host_has_no_problem() -> None:
    assert problems(facts()) == []


@pytest.mark.parametrize(
    ("system", "version"),
    [("debian", "12"), ("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04")],
)
def test_supported_systems_are_accepted(system: str, version: str) -> None:
    assert problems(facts(os_id=system, os_version=version)) == []


@pytest.mark.parametrize(
    ("answer", "what", "found", "allowed", "remedy"),
    [
        pytest.param(
            facts(os_id="fedora", os_version="41", os_name="Fedora Linux 41"),
            *("system", "Fedora Linux 41", "Debian 12, Debian 13", "install one"),
            id="unknown system",
        ),
        pytest.param(
            facts(os_id="debian", os_version="11", os_name="Debian GNU/Linux 11"),
            *("system", "Debian GNU/Linux 11", "Ubuntu 24.04", "install one"),
            id="old system",
        ),
        pytest.param(
            facts(arch="aarch64"),
            *("architecture", "aarch64", "x86_64", "another machine"),
            id="architecture",
        ),
        pytest.param(
            facts(sudo="missing"),
            *("sudo", "there is no sudo", "without a password", "apt-get install sudo"),
            id="no sudo",
        ),
        pytest.param(
            facts(sudo="password"),
            *("sudo", "asks ops for a password", "without a password", "NOPASSWD"),
            id="sudo with a password",
        ),
        pytest.param(
            facts(sudo="refused"),
            *("sudo", "ops may not use sudo", "root, or sudo", "NOPASSWD"),
            id="sudo refused",
        ),
        pytest.param(
            facts(memory_mb=512),
            *("memory", "512 MB", "1800 MB or more", "larger machine"),
            id="memory",
        ),
        pytest.param(
            facts(disk_mb=900),
            *("disk", "900 MB free", "8000 MB free", "larger machine"),
            id="disk",
        ),
        pytest.param(
            facts(systemd=False), *("init", "does not run", "systemd", "boot"), id="no systemd"
        ),
        pytest.param(
            facts(listeners=(Listener(port=2181, program="java", unit="zk.service"),)),
            *(
                "port",
                "2181 is used by java (zk.service)",
                "free for zookeeper",
                "disable --now zk",
            ),
            id="port in use by a service",
        ),
        pytest.param(
            facts(listeners=(Listener(port=2181, program="-", unit="-"),)),
            *("port", "2181 is used by somebody", "free for zookeeper", "ss -ltnp"),
            id="port in use by somebody",
        ),
        pytest.param(
            facts(cluster="kubernetes-mesos/other"),
            *("owner", "belongs to cluster kubernetes-mesos/other", "nobody, or", "take it out"),
            id="another cluster of ours",
        ),
        pytest.param(
            facts(installed={"mesos": "/etc/mesos"}),
            *("owner", "another Mesos (/etc/mesos)", "nobody", "purge mesos"),
            id="another Mesos",
        ),
        pytest.param(
            facts(installed={"kubeadm": "/etc/kubernetes/admin.conf"}),
            *("owner", "kubeadm (/etc/kubernetes/admin.conf)", "nobody", "kubeadm reset"),
            id="kubeadm",
        ),
        pytest.param(
            facts(unreachable={"10.0.0.12:2181": "No route to host"}),
            *("network", "10.0.0.12:2181: No route to host", "TCP from rack1", "firewalls"),
            id="no way to another host",
        ),
        pytest.param(
            Answer(target=TARGET, facts=GOOD, skew=-7.25),
            *("clock", "7.2 s behind", "2 s or less", "timedatectl"),
            id="clock",
        ),
        pytest.param(
            Answer(target=TARGET, failure="key-missing"),
            *("host key", "no `host_key:`", "known beforehand", "make trust"),
            id="host key missing",
        ),
        pytest.param(
            Answer(target=TARGET, failure="host-key", detail="ssh-ed25519 SHA256:xyz"),
            *("host key", "shows ssh-ed25519 SHA256:xyz", "in the stack file", "find out why"),
            id="host key changed",
        ),
        pytest.param(
            Answer(target=TARGET, failure="login", detail="Permission denied"),
            *("login", "ops@10.0.0.11:22: Permission denied", "this user", "authorized_keys"),
            id="wrong user",
        ),
        pytest.param(
            Answer(target=TARGET, failure="key-file", detail="/k has mode 644"),
            *("key file", "/k has mode 644", "mode 600", "chmod 600"),
            id="key file readable by all",
        ),
        pytest.param(
            Answer(target=TARGET, failure="key-text", detail="Invalid public key"),
            *("host key", "is no key: Invalid", "`make trust` writes", "remove its `host_key:`"),
            id="host key cut short",
        ),
        pytest.param(
            Answer(target=TARGET, failure="algorithms", detail="No matching encryption algorithm"),
            *("algorithms", "No matching encryption", "aes128-gcm", "Ciphers"),
            id="no cipher in common",
        ),
        pytest.param(
            Answer(target=TARGET, failure="forwarding", detail="administratively prohibited"),
            *("forwarding", "does not let us through", "forwards TCP", "AllowTcpForwarding yes"),
            id="bastion without forwarding",
        ),
        pytest.param(
            Answer(target=TARGET, failure="network", detail="Network is unreachable"),
            *("network", "Network is unreachable", "a way", "this machine's network"),
            id="no way from here",
        ),
        pytest.param(
            Answer(target=TARGET, failure="hung-up", detail="Connection lost"),
            *("hung up", "ends the talk: Connection lost", "talks to us", "MaxStartups"),
            id="server that hangs up",
        ),
        pytest.param(
            Answer(target=TARGET, failure="connect", detail="No route to host"),
            *("connect", "No route to host", "answers", "`gone: true`"),
            id="host unreachable",
        ),
        pytest.param(
            Answer(target=TARGET, failure="answer", detail="none in 30 s"),
            *("answer", "none in 30 s", "read-only questions", "ssh -p 22"),
            id="no answer",
        ),
    ],
)
def test_bad_input_is_one_problem(
    answer: Answer, what: str, found: str, allowed: str, remedy: str
) -> None:
    (problem,) = problems(answer)

    assert (problem.host, problem.what) == ("rack1", what)
    assert found in problem.found
    assert allowed in problem.allowed
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("lacks", "words"),
    [
        ({"disk_mb": 7000}, None),
        ({"disk_mb": 100}, "rack1: disk: 100 MB free under /var/lib, less than the 1000"),
        ({"memory_mb": 900}, "rack1: memory: 900 MB, less than the 1800"),
        ({"cpus": 0}, "rack1: processors: 0, less than the 1"),
    ],
)
def test_a_member_that_has_become_too_small_is_a_warning_and_stops_nothing(
    lacks: dict[str, int], words: str | None
) -> None:
    member = facts(cluster="kubernetes-mesos/metal", **lacks)

    assert problems(member) == []
    said = concerns([member])
    assert [one.startswith(words) for one in said] == [True] if words else said == []


def test_a_newcomer_is_no_mere_concern() -> None:
    assert concerns([facts(disk_mb=1), Answer(target=TARGET, failure="connect")]) == []


def test_who_gets_everything_beside_members_is_said() -> None:
    cluster = "kubernetes-mesos/metal"
    member, new = facts(cluster=cluster), facts()
    lost = dataclasses.replace(new, target=dataclasses.replace(TARGET, name="rack2", control=True))
    said = "nothing of the cluster is on it; `up` puts everything there"

    assert newcomers([new, lost], cluster) == [], "a first `up` is for all of them"
    assert newcomers([member, Answer(target=TARGET, failure="connect")], cluster) == []
    assert newcomers([member, new, lost], cluster) == [
        f"rack1: {said}",
        f"rack2: {said}, and its data comes from the other control hosts",
    ]


BASTION = Login(address="203.0.113.9", user="jump", key=Path("/home/me/.ssh/jump"))


@pytest.mark.parametrize(
    ("failure", "detail", "what", "found", "remedy"),
    [
        ("key-missing", "", "bastion host key", "no `host_key:`", "make trust STACK"),
        ("key-text", "Invalid", "bastion host key", "no key: Invalid", "`bastion:`'s `host_key:`"),
        (
            "host-key",
            "x SHA256:y",
            "bastion host key",
            "shows x",
            "remove `bastion:`'s `host_key:`",
        ),
        ("login", "denied", "bastion login", "jump@203.0.113.9:22: denied", "ssh/jump's public"),
        ("connect", "refused", "bastion connect", "203.0.113.9:22: refused", "`bastion:`'s `addr"),
        ("key-file", "/k: none", "bastion key file", "/k: none", "chmod 600 /home/me/.ssh/jump"),
    ],
)
def test_a_bastions_failure_is_one_problem_of_the_bastion(
    failure: str, detail: str, what: str, found: str, remedy: str
) -> None:
    answers = [
        Answer(
            target=dataclasses.replace(TARGET, name=name),
            failure=failure,
            detail=detail,
            bastion=BASTION,
        )
        for name in ("rack1", "rack2")
    ]

    (problem,) = judge(answers, "x")

    assert (problem.host, problem.what) == ("203.0.113.9", what)
    assert found in problem.found
    assert remedy in problem.remedy
    assert "gone: true" not in problem.remedy


def test_our_own_service_on_its_port_is_no_problem() -> None:
    listener = Listener(port=2181, program="java", unit="zookeeper.service")

    assert problems(facts(cluster="kubernetes-mesos/metal", listeners=(listener,))) == []


def test_somebody_elses_zookeeper_of_the_same_name_is_a_problem() -> None:
    listener = Listener(port=2181, program="java", unit="zookeeper.service")

    assert [problem.what for problem in problems(facts(listeners=(listener,)))] == ["port"]


def test_hosts_that_were_cloned_with_their_machine_id_are_found() -> None:
    (problem,) = judge([Answer(target=TARGET, facts=GOOD), second(hostname="rack2")], "x")

    assert (problem.host, problem.what) == ("rack2", "machine id")
    assert "as rack1 has" in problem.found


def second(**changed: object) -> Answer:
    target = dataclasses.replace(TARGET, name="rack2")
    return Answer(target=target, facts=dataclasses.replace(GOOD, **changed))


def test_two_hosts_that_give_the_same_name_are_found() -> None:
    answers = [facts(hostname="debian"), second(hostname="debian", machine_id="b" * 32)]

    (problem,) = judge(answers, "x")

    assert (problem.host, problem.what) == ("rack2", "name")
    assert problem.found == "debian, as rack1 has"
    assert "hostnamectl set-hostname" in problem.remedy


def test_addresses_that_were_exchanged_in_the_file_are_found() -> None:
    answers = [facts(hostname="rack2"), second(hostname="rack1", machine_id="b" * 32)]

    found = judge(answers, "x")

    assert [(problem.host, problem.what) for problem in found] == [
        ("rack1", "name"),
        ("rack2", "name"),
    ]
    assert "10.0.0.11 calls itself rack2" in found[0].found


def test_names_that_are_only_not_given_yet_are_no_problem() -> None:
    assert judge([facts(hostname="a"), second(hostname="b", machine_id="b" * 32)], "x") == []


def test_all_problems_of_all_hosts_are_in_one_table() -> None:
    other = dataclasses.replace(TARGET, name="rack2")
    bad = dataclasses.replace(GOOD, memory_mb=1, arch="riscv64")
    answers = [Answer(target=TARGET, facts=bad), Answer(target=other, failure="key-missing")]

    text = table(judge(answers, "x"))

    assert text.splitlines()[0].split() == ["HOST", "WHAT", "FOUND", "ALLOWED", "REMEDY"]
    for words in ("riscv64", "1 MB", "rack2", "make trust"):
        assert words in text


def told(control: tuple[str, ...], cluster: str | None = "metal-1") -> list[Answer]:
    """One control host, and an agent that was told of those."""
    first = dataclasses.replace(TARGET, control=True)
    agent = dataclasses.replace(
        TARGET, name="rack2", login=dataclasses.replace(LOGIN, address="10.0.0.12")
    )
    known = dataclasses.replace(GOOD, cluster=cluster, control=control)
    other = dataclasses.replace(known, hostname="rack2", machine_id="b" * 32)
    return [Answer(target=first, facts=known), Answer(target=agent, facts=other)]


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (("10.0.0.11",), None),
        ((), None),
        (("10.0.0.11", "10.0.0.9", "10.0.0.8"), "rack1 (10.0.0.11), 10.0.0.9, 10.0.0.8"),
        (("10.0.0.12",), "rack2 (10.0.0.12)"),
    ],
)
def test_other_control_hosts_than_the_cluster_has_are_refused(
    control: tuple[str, ...], words: str | None
) -> None:
    found = judge(told(control), "metal-1")

    assert [problem.found for problem in found] == ([f"the cluster's are {words}"] if words else [])
    for problem in found:
        assert problem.allowed.endswith("it has rack1 (10.0.0.11)")
        assert "put them back" in problem.remedy


def test_control_hosts_in_another_order_are_other_ones() -> None:
    first, second = told(("10.0.0.12", "10.0.0.11"))
    second = dataclasses.replace(second, target=dataclasses.replace(second.target, control=True))

    assert [problem.what for problem in judge([first, second], "metal-1")] == ["control hosts"]
    assert judge([second, first], "metal-1") == []


def test_what_a_host_of_no_cluster_was_told_once_does_not_count() -> None:
    assert judge(told(("10.0.0.9",), cluster=None), "metal-1") == []


def test_the_script_reads_what_units_say_of_control_hosts(tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    (units / "etcd.service").write_text(
        "ExecStart=/etcd --initial-cluster=b=https://10.0.0.12:2380,a=https://10.0.0.11:2380 \\\n"
        "  --listen-peer-urls=https://10.0.0.11:2380 --advertise=https://10.0.0.11:2379\n"
    )
    (units / "mesos-agent.service").write_text(
        "ExecStart=/mesos-agent --master=zk://10.0.0.12:2181,10.0.0.11:2181/mesos --ip=10.0.0.11\n"
    )
    facts = script.told({"/etc/systemd/system": units})

    assert facts.control == ("10.0.0.12", "10.0.0.11")


def test_an_answer_that_was_cut_off_is_refused() -> None:
    with pytest.raises(AnswerError, match="2 lines"):
        parse("sudo\troot\nuser\troot\t0\n")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("sudo\troot\nend\n", "KeyError"),
        ("os\nsudo\troot\nuser\n", "IndexError"),
        ("os\nsudo\troot\nuser\troot\ntime\tnoon\n", "noon"),
    ],
)
def test_an_answer_to_something_else_is_refused(told: str, why: str) -> None:
    with pytest.raises(AnswerError, match=why):
        parse(f"{told}end\n")


def test_a_system_without_what_ours_have_still_says_what_it_is(tmp_path: Path) -> None:
    """So that it is refused by its name."""
    (tmp_path / "date").write_text("#!/bin/sh\necho 1700000000.N\n")
    (tmp_path / "uname").write_text("#!/bin/sh\necho OtherBSD\n")
    for program in tmp_path.iterdir():
        program.chmod(0o755)
    facts = script.told({"/etc/os-release": tmp_path / "none"}, path=str(tmp_path))

    assert facts.time == 1700000000.0
    assert facts.os_name == "OtherBSD"
