"""Mesos from packages, on lab hosts: from an apt repository of the test's own.

The package has the lab's own build in the places where ClusterD's package has its programs. What
ClusterD's own do is not tested.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from components.joining import repository_values
from components.mesos_source import LAUNCHERS, PROGRAMS
from components.mesos_source import Repository as Source
from components.recipe import render, script
from tests.components.apt_repository import SUITE, Repository, repository
from tests.components.conftest import Made
from tests.components.test_recipes_on_hosts import (
    SIZE,
    RealMachines,
    commands_of,
    on,
    run,
    run_all,
    shell,
)
from tools.programs import named

STACK = f"packages-{os.getpid()}"
RECIPES = ("zookeeper-control-1", "mesos-master-control-1", "mesos-agent-agent-1")
HOSTS = ("control-1", "agent-1")
VERSION, NEXT = "1.11.0-0.7.1", "1.11.0-0.8.0"
LIBEXEC = "/usr/libexec/mesos"

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="lab hosts need root"),
    pytest.mark.skipif(
        not all(shutil.which(name) for name in ("gpg", "dpkg-deb", "dpkg-scanpackages")),
        reason="needs gpg, dpkg-deb and dpkg-scanpackages",
    ),
]


def fill(made: Repository) -> None:
    """Put Mesos into it as ClusterD's package has it, another version, and what both need."""
    build = named("mesos")
    launchers = {f"{LIBEXEC}/{name}": build.directory / name for name in build.files}
    programs = {f"/usr/bin/{name}": f"{LIBEXEC}/mesos" for name in ("mesos-master", "mesos-agent")}
    made.add("aventer-mesos", VERSION, {**launchers, **programs})
    small = build.directory / "mesos-fetcher"
    places = [f"{LIBEXEC}/{name}" for name in LAUNCHERS]
    places += [f"/usr/bin/{name}" for name in PROGRAMS]
    made.add("aventer-mesos", NEXT, dict.fromkeys(places, small))
    made.add("mesos-needs", "1", {"/usr/share/mesos-needs": small})


@pytest.fixture(scope="module")
def recipes() -> Iterator[list[Made]]:
    """ZooKeeper, a master and an agent; hosts that know no other repository."""
    cluster = {
        "hosts": {"on": "lab", "control": {**SIZE, "count": 1}, "agents": {**SIZE, "count": 1}}
    }
    machines = RealMachines()
    try:
        made = {one.name: one for one in commands_of(machines, STACK, cluster)}
        chosen = [packaged(made[name]) for name in RECIPES]
        for host in HOSTS:
            on(host, chosen, "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*")
        yield chosen
    finally:
        for command, stdin in reversed(machines.undo):
            shell(command, stdin)


def packaged(made: Made) -> Made:
    """The same recipe, told that the programs came as packages."""
    old, new = f"MESOS_VERSION={named('mesos').version}\n", f"MESOS_VERSION=packages-{VERSION}\n"
    return replace(made, inputs={**made.inputs, "stdin": made.inputs["stdin"].replace(old, new)})


def machine(
    host: str, recipes: list[Made], source: Source, action: str = "up"
) -> tuple[int, str, str]:
    """Run the recipe that lets a machine join, on a host that has all other packages."""
    values = {
        "RECIPE": "machine",
        "MACHINE_CLUSTER": "kubernetes-mesos/test",
        "MACHINE_NAME": host,
        "MACHINE_PACKAGES": "",
        **repository_values(source),
    }
    made = next(one for one in recipes if one.name.endswith(host))
    return asyncio.run(run(made, f"bash -s -- {action}", render(script("machine"), values)))


@pytest.fixture(scope="module")
def source(recipes: list[Made], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    """The repository, and what a stack file says of it."""
    address = on("agent-1", recipes, "ip -4 route show default | cut -d ' ' -f 3").strip()
    with repository(tmp_path_factory.mktemp("apt")) as (made, port):
        fill(made)
        key = made.key("packages@example.org")
        made.sign("packages@example.org")
        yield Source(
            line=f"http://{address}:{port} {{codename}} main",
            key=key.strip(),
            packages=(f"aventer-mesos={VERSION}", "mesos-needs"),
            version=f"packages-{VERSION}",
            programs="/usr/bin",
            launchers=LIBEXEC,
        )


def test_a_repository_signed_with_another_key_is_not_believed(
    recipes: list[Made], source: Source, tmp_path: Path
) -> None:
    with repository(tmp_path) as (other, _):
        wrong = replace(source, key=other.key("somebody@example.org").strip())

    status, _, said = machine("agent-1", recipes, wrong)

    assert status != 0
    assert "aventer-mesos" in said or "NO_PUBKEY" in said
    assert on("agent-1", recipes, "ls /usr/bin/mesos-agent 2>/dev/null") == ""


def test_a_master_and_an_agent_run_from_packages(recipes: list[Made], source: Source) -> None:
    for host in HOSTS:
        status, said, errors = machine(host, recipes, source)
        assert status == 0, errors
        assert f"installed aventer-mesos={VERSION} mesos-needs" in said
    first = asyncio.run(run_all(recipes))
    assert {name: said[0] for name, said in first.items()} == dict.fromkeys(RECIPES, 0), first

    for host, unit in (("control-1", "mesos-master"), ("agent-1", "mesos-agent")):
        exe = f"readlink /proc/$(systemctl show -P MainPID {unit})/exe"
        assert on(host, recipes, exe).strip() == f"{LIBEXEC}/mesos"
    unit = on("agent-1", recipes, "cat /etc/systemd/system/mesos-agent.service")
    assert f"--launcher_dir={LIBEXEC} " in unit
    line = on("agent-1", recipes, "cat /etc/apt/sources.list.d/kubernetes-mesos.list")
    assert f" {SUITE} main" in line
    assert "signed-by=" in line


def test_again_nothing_changes(recipes: list[Made], source: Source) -> None:
    assert [machine(host, recipes, source)[:2] for host in HOSTS] == [(0, "")] * 2
    second = asyncio.run(run_all(recipes))
    assert {name: said[:2] for name, said in second.items()} == dict.fromkeys(RECIPES, (0, ""))


def test_a_machine_gets_the_version_that_is_said_be_it_higher_or_lower(
    recipes: list[Made], source: Source
) -> None:
    def other(version: str) -> Source:
        packages = (f"aventer-mesos={version}", "mesos-needs")
        return replace(source, packages=packages, version=f"packages-{version}")

    for version in (NEXT, VERSION):
        status, said, errors = machine("control-1", recipes, other(version))
        assert status == 0, errors
        assert f"installed aventer-mesos={version}\n" in said
        linked = f"/opt/kubernetes-mesos/mesos/packages-{version}/mesos-master"
        assert on("control-1", recipes, f"readlink {linked}").strip() == "/usr/bin/mesos-master"
    asked = "dpkg-query -W -f '${Version}' aventer-mesos"
    assert on("control-1", recipes, asked) == VERSION


def test_a_machine_that_leaves_forgets_the_repository_and_keeps_the_package(
    recipes: list[Made], source: Source
) -> None:
    status, _, errors = machine("agent-1", recipes, source, "down")

    assert status == 0, errors
    left = "ls /etc/apt/sources.list.d /etc/apt/keyrings; pgrep -f mesos-agent"
    assert on("agent-1", recipes, left).split() == [
        "/etc/apt/keyrings:",
        "/etc/apt/sources.list.d:",
    ]
    assert "installed" in on("agent-1", recipes, "dpkg -s aventer-mesos")
