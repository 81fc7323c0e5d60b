"""Machines whose addresses are outputs: every preview sees what differs there, and up repairs it.

Real engine, real SSH servers, our own way of joining and running recipes; what AWS would say of an
instance is said by a command, and the recipes and all that they leave are the test's own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.project import Project, Result
from tests.plugins.sshd import no_sshd
from tests.preflight.light_hosts import free_port, new_key, start_server, wait_for

ROOT = Path(__file__).resolve().parents[2]
MACHINES = {"one": "127.0.3.1", "two": "127.0.3.2"}

PROGRAM = """
import importlib
from pathlib import Path

from pulumi_command import local, remote

import preflight
from components import recipe
from components.hosts import Host, Role
from components.joining import Joining, join
from components.repairs import asked
from components.returning import Returning, answering, returned
from preflight import hosts

here = Path(__file__).parent
recipe.RECIPES = here / "recipes"
hosts.CONTROL_RECIPES = ("machine", "demo")
importlib.import_module("preflight.ask").SCRIPT = here / "facts.sh"
ask = preflight.Asker().ask
versions = dict.fromkeys(("etcd", "kubernetes", "mesos", "km"), "1")
key = Path("{key}")

for name, (address, instance) in {machines}.items():
    made = local.Command(name, create=f"echo {{address}}", triggers=[instance])
    host_key = pulumi.Output.secret("{host_key}")
    way = {{"address": made.stdout, "port": {port}, "user": "root", "key": str(key),
            "host_key": host_key, "bastion": None}}
    changed = Returning(name=name, way=way, address=made.stdout, dial_seconds=5,
                        machine={{"id": made.id, "type": "{kind}"}})
    back = returned(f"{{name}}-back", changed)
    answers = answering(f"{{name}}-answers", changed)
    repairs = asked(ask, name, {{"control"}}, way, [back, answers])
    joining = Joining(name=name, roles=frozenset({{Role.CONTROL}}), way=way, cluster="test",
                      versions=versions, repairs=repairs)
    host = Host(
        name=name,
        roles=frozenset({{Role.CONTROL}}),
        address=made.stdout,
        connection=remote.ConnectionArgs(
            host=made.stdout, port={port}, host_key=host_key, private_key=key.read_text(),
            dial_error_limit=0),
        repairs=repairs,
        machine=join(f"{{name}}-join", joining, ResourceOptions(deleted_with=made)),
    )
    recipe.run_recipe(f"demo-{{name}}", "demo", host, {{"DEMO_TEXT": "{text}"}}, ResourceOptions())
"""

MACHINE = """
up() {
  write_file "$ETC/cluster" 0644 root "$MACHINE_CLUSTER"
  write_file "$ETC/name" 0644 root "$MACHINE_NAME"
}

main "$@"
"""

DEMO = """
up() {
  write_file "$ETC/demo.conf" 0640 root "$DEMO_TEXT"
  echo ran >>"$ETC/runs"
}

main "$@"
"""

RETURNED = 'up() { :; }\n\nmain "$@"\n'


class Machines:
    """SSH servers that can be switched off, and what our recipes leave on each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.key, self.host_key = new_key(directory / "key"), new_key(directory / "host_key")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.servers: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        address = MACHINES[name]
        self.servers[name] = start_server(
            self.directory, address, self.port, self.key, self.host_key
        )
        wait_for(address, self.port)

    def stop(self, name: str) -> None:
        server = self.servers.pop(name)
        server.kill()
        server.wait()

    def etc(self, name: str) -> Path:
        return self.directory / MACHINES[name]

    def program(self, text: str = "good", kind: str = "small", **instances: int) -> str:
        host_key = " ".join(self.host_key.with_suffix(".pub").read_text().split()[:2])
        machines = {name: (address, instances.get(name, 1)) for name, address in MACHINES.items()}
        return PROGRAM.format(
            key=self.key, host_key=host_key, port=self.port, machines=machines, text=text, kind=kind
        )


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    if reason := no_sshd():
        pytest.skip(reason)
    made = Machines(tmp_path)
    try:
        for name in MACHINES:
            made.start(name)
        yield made
    finally:
        for name in list(made.servers):
            made.stop(name)


@pytest.fixture
def stack(project: Project, machines: Machines) -> Project:
    """The program's packages in the project, and scripts that keep each machine's files apart."""
    there = project.directory
    for package in ("components", "preflight", "stacks"):
        (there / package).symlink_to(ROOT / package)
    (there / ".venv").symlink_to(sys.prefix)
    project.environment["KUBERNETES_MESOS_CACHE"] = str(there / "cache")  # nothing to be sent
    recipes = there / "recipes"
    recipes.mkdir()
    etc = f"{machines.directory}/$(set -- $SSH_CONNECTION; echo $3)"
    common = (ROOT / "components/recipes/common.sh").read_text()
    assert "\nETC=/etc/kubernetes-mesos\n" in common
    texts = {
        "common": common.replace("ETC=/etc/kubernetes-mesos\n", f"ETC={etc}\n"),
        "machine": MACHINE,
        "demo": DEMO,
        "returned": RETURNED,
    }
    for name, text in texts.items():
        (recipes / f"{name}.sh").write_text(text)
    facts = (ROOT / "preflight/facts.sh").read_text()
    assert facts.count("/etc/kubernetes-mesos") >= 2
    facts = facts.replace("/etc/kubernetes-mesos", "$etc").replace(
        "set -u\n", f"set -u\netc={etc}\n"
    )
    (there / "facts.sh").write_text(facts)
    return project


EVERYTHING = 11  # the stack; of each machine: itself, -back, -answers, -join and its recipe
SILENT = "one could not be asked what of it has changed, so it stays as it is"


def commands(stack: Project) -> dict[str, str]:
    made = stack.resources()
    return {name: made[name]["inputs"]["create"] for name in made if name.startswith("demo-")}


def unchanged(result: Result) -> bool:
    return result.changes() == {"unchanged": EVERYTHING}


def test_what_differs_is_a_diff_of_that_machine_and_gone_after_up(
    stack: Project, machines: Machines
) -> None:
    first = stack.preview(machines.program())
    assert first.changes() == {"create": EVERYTHING}
    assert "could not be asked" not in first.output

    made = stack.up()
    assert "warning" not in made.output
    assert all("bash -s -- up 'joins, 20" in command for command in commands(stack).values())
    assert unchanged(stack.preview())
    assert unchanged(stack.up())

    spoilt = machines.etc("one") / "demo.conf"
    spoilt.write_text("bad\n")
    seen = stack.preview()
    words = f"{spoilt} has another content"
    assert seen.changes() == {"update": 1, "unchanged": EVERYTHING - 1}
    assert f"one: demo: {words}; `up` repairs it" in seen.output
    assert f"=> \"timeout --kill-after=10 900 bash -s -- up 'repair 1: {words}'\"" in seen.output
    assert spoilt.read_text() == "bad\n"

    assert stack.up().changes() == {"updated": 1, "unchanged": EVERYTHING - 1}
    assert spoilt.read_text() == "good\n"
    assert unchanged(stack.preview())
    assert unchanged(stack.up())
    assert (machines.etc("one") / "runs").read_text() == "ran\nran\n"
    assert (machines.etc("two") / "runs").read_text() == "ran\n"


def test_what_a_machine_joined_with_and_lost_lists_are_repaired_as_well(
    stack: Project, machines: Machines
) -> None:
    stack.up(machines.program())
    (machines.etc("one") / "name").unlink()
    (machines.etc("two") / "manifest/demo").unlink()

    seen = stack.preview()

    assert seen.changes() == {"update": 2, "unchanged": EVERYTHING - 2}
    words = f"repair 1: {machines.etc('one')}/name is missing"
    assert f"=> \".venv/bin/python -m components.machine up '{words}'\"" in seen.output
    assert "two: demo: everything is missing; `up` repairs it" in seen.output
    assert stack.up().changes() == {"updated": 2, "unchanged": EVERYTHING - 2}
    assert (machines.etc("one") / "name").read_text() == "one\n"
    assert unchanged(stack.preview())


def test_a_new_machine_hides_no_difference_of_an_old_one_and_gets_everything(
    stack: Project, machines: Machines
) -> None:
    stack.up(machines.program())
    for spoilt in ("name", "demo.conf"):  # else it might join twice within a minute: no news
        (machines.etc("one") / spoilt).write_text("bad\n")
    assert stack.up().changes()["updated"] == 2
    (machines.etc("two") / "demo.conf").write_text("bad\n")

    larger = stack.preview(machines.program(kind="large"))
    assert larger.changes() == {"update": 2 * 2 + 1, "unchanged": EVERYTHING - 5}
    assert "up 'repair 1: " in larger.output, "what waits for both hides it"

    shutil.rmtree(machines.etc("one"))  # another disk, at the same address
    seen = stack.preview(machines.program(one=2))
    assert "one: " not in seen.output
    assert "up 'repair 1: " in seen.output
    assert "two: demo: " in seen.output

    stack.up()
    assert (machines.etc("one") / "demo.conf").read_text() == "good\n"
    assert (machines.etc("two") / "demo.conf").read_text() == "good\n"
    assert unchanged(stack.preview())


def test_a_machine_that_is_down_is_named_and_left_alone(stack: Project, machines: Machines) -> None:
    stack.up(machines.program())
    (machines.etc("one") / "demo.conf").write_text("bad\n")
    stack.up()  # its words are in the state, and only it could say them again
    (machines.etc("two") / "demo.conf").write_text("bad\n")
    machines.stop("one")

    seen = stack.preview()
    assert f"{SILENT}: root@{MACHINES['one']}:{machines.port}: Connection refused" in seen.output
    assert seen.changes() == {"update": 1, "unchanged": EVERYTHING - 1}
    assert "two: demo: " in seen.output

    done = stack.up()
    assert SILENT in done.output
    assert done.changes() == {"updated": 1, "unchanged": EVERYTHING - 1}
    assert (machines.etc("two") / "demo.conf").read_text() == "good\n"

    wanted = stack.up(machines.program(text="better"), "--continue-on-error", fails=True)
    assert f"host {MACHINES['one']} (port {machines.port}, user root) cannot be reached" in (
        " ".join(wanted.output.split())
    )
    assert (machines.etc("two") / "demo.conf").read_text() == "better\n"

    machines.start("one")
    assert stack.up().changes() == {"updated": 1, "unchanged": EVERYTHING - 1}
    assert (machines.etc("one") / "demo.conf").read_text() == "better\n"
    assert unchanged(stack.preview())
