"""One recipe on many hosts, by us, by Ansible and by pyinfra: the first time, and again.

``python3 -m bench.recipe_vs_others [COUNT] [--rounds N] [--venv DIRECTORY]`` prints, for each tool,
seconds, the processor's seconds that the tool itself took, and those of the hosts; then how many
times as long as we the others took. The hosts are sshd processes on loopback addresses, so all work
of tools and hosts is done by this machine, and what else it is busy with changes all figures. So
the tools take turns: in each round each does its work on hosts that have nothing of it, and again;
printed are the medians of all rounds.

Ansible and pyinfra come into the virtual environment, or into one that is thrown away afterwards.

Ours is what a user waits for: ``pulumi up`` on a program that asks all hosts first (facts, and
drift of what the recipe put there), as the real one does. Ansible runs one process a host, with
pipelining and without facts. All log in to as many hosts at once as their own settings allow.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

from lab.plugins.install import Place, default_cache, install
from preflight.ask import SCRIPT
from tests.control_plane import program
from tests.plugins.project import Project
from tests.preflight.light_hosts import LightHosts, light_hosts
from tools.engine import PARALLEL

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(__file__).with_name("same_work")
TOOLS = ("ours", "pyinfra", "ansible")
OTHERS = ("ansible-core", "pyinfra")


class Bench:
    """Light hosts, and a directory for what the tools do in one round."""

    def __init__(self, directory: Path, hosts: LightHosts, venv: Path, empty: Project) -> None:
        self.directory, self.hosts, self.venv, self.empty = directory, hosts, venv, empty
        directory.mkdir()
        self.known_hosts = directory / "known_hosts"
        lines = [f"[{one}]:{hosts.port} {hosts.host_key}\n" for one in hosts.addresses]
        self.known_hosts.write_text("".join(lines))

    def root(self, tool: str, address: str) -> str:
        return f"{self.directory}/{tool}/{address}"

    def run(self, command: list[str | Path], environment: dict[str, str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def ours(self) -> Callable[[], None]:
        recipes = self.directory / "recipes"
        recipes.mkdir()
        shutil.copy(ROOT / "components/recipes/common.sh", recipes)
        shutil.copy(WORK / "same.sh", recipes)
        (self.directory / "facts.sh").write_text(self.facts())
        spec = {
            "checkout": str(ROOT),
            "recipes": str(recipes),
            "facts": str(self.directory / "facts.sh"),
            "port": self.hosts.port,
            "key": str(self.hosts.key),
            "host_key": self.hosts.host_key,
            "hosts": {
                f"host-{index}": {"address": one, "root": self.root("ours", one)}
                for index, one in enumerate(self.hosts.addresses)
            },
        }
        (self.directory / "spec.json").write_text(json.dumps(spec))
        project = Project(
            self.directory / "project", self.empty.home, self.empty.pulumi, self.empty
        )
        project.environment["SAME_WORK"] = str(self.directory / "spec.json")
        project.environment["PULUMI_PARALLEL"] = PARALLEL
        project.write((WORK / "program.py").read_text())
        return lambda: done(project, len(self.hosts.addresses))

    def facts(self) -> str:
        """The real questions, with a directory of each host's own in place of /etc's.

        The server's address is what tells one host's session from another's.
        """
        here = "set -u\nhere=${SSH_CONNECTION% *} here=${here##* }\n"
        own = SCRIPT.read_text().replace("set -u\n", here, 1)
        return own.replace("/etc/kubernetes-mesos", f"{self.directory}/ours/$here")

    def ansible(self) -> Callable[[], None]:
        inventory = {
            "all": {
                "hosts": {one: {"root": self.root("ansible", one)} for one in self.hosts.addresses},
                "vars": {
                    "ansible_port": self.hosts.port,
                    "ansible_user": "root",
                    "ansible_ssh_private_key_file": str(self.hosts.key),
                    "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.known_hosts}",
                    "ansible_python_interpreter": "/usr/bin/python3",
                },
            }
        }
        path = self.directory / "inventory.json"
        path.write_text(json.dumps(inventory))
        forks = str(len(self.hosts.addresses))
        command = [self.venv / "bin/ansible-playbook", "-i", path, "-f", forks]
        environment = {"ANSIBLE_PIPELINING": "1", "ANSIBLE_HOME": str(self.directory / "home")}
        return lambda: self.run([*command, WORK / "playbook.yaml"], environment)

    def pyinfra(self) -> Callable[[], None]:
        common = {
            "ssh_port": self.hosts.port,
            "ssh_user": "root",
            "ssh_key": str(self.hosts.key),
            "ssh_known_hosts_file": str(self.known_hosts),
            "ssh_strict_host_key_checking": "yes",
        }
        hosts = [
            (one, {**common, "root": self.root("pyinfra", one)}) for one in self.hosts.addresses
        ]
        path = self.directory / "inventory.py"
        path.write_text(f"hosts = {hosts!r}\n")
        parallel = str(len(hosts))
        command = [self.venv / "bin/pyinfra", "-y", "--parallel", parallel, path]
        return lambda: self.run([*command, WORK / "deploy.py"], {})


def done(project: Project, count: int) -> None:
    """Bring the stack up; it must find nothing to change where it has been before."""
    before = len(project.resources())
    changes = project.up().changes()
    expected = {"unchanged": count + 1} if before else {"created": count + 1}
    assert changes == expected, (changes, expected)


def empty_project(directory: Path) -> Project:
    """A project with Pulumi's plugins and an empty stack, to be copied for each round."""
    engine = program("pulumi")
    if engine is None:
        raise SystemExit("pulumi is not there: make setup")
    home = directory / "pulumi-home"
    python = Path(getattr(sys, "_base_executable", sys.executable))
    install(
        Place(pulumi_home=home, pulumi=engine, python=python, cache=default_cache()), offline=True
    )
    return Project(directory / "project", home, engine)


def check(root: Path, count: int) -> None:
    """Every host has what it should: a fast tool that did nothing is not fast."""
    for name in ("one", "two", "three"):
        found = [path.read_text() for path in root.glob(f"*/conf/{name}")]
        assert found == [f"setting of {name}\n"] * count, (root, name, len(found))
    assert len([link for link in root.glob("*/current") if link.is_symlink()]) == count


@dataclass(frozen=True)
class Cost:
    """What a run took, in seconds."""

    wall: float
    tool: float
    """Of a processor, here and in what was started."""

    hosts: float
    """Of a processor, in sshd and all that it ran."""


def measured(work: Callable[[], None], hosts: LightHosts) -> Cost:
    started, before, theirs = time.monotonic(), os.times(), hosts.busy()
    work()
    after, wall = os.times(), time.monotonic() - started
    # The light hosts are children as well, but are waited for, and so counted, only at the end.
    return Cost(wall, sum(after[:4]) - sum(before[:4]), hosts.busy() - theirs)


def medians(costs: list[Cost]) -> Cost:
    return Cost(*map(statistics.median, zip(*map(astuple, costs), strict=True)))


def show(tool: str, *costs: Cost) -> None:
    figures = (f"{cost.wall:7.1f} {cost.tool:6.1f} {cost.hosts:6.1f}" for cost in costs)
    print(f"{tool:10}", *figures, f"  load {os.getloadavg()[0]:.1f}", flush=True)


Costs = dict[str, list[tuple[Cost, Cost]]]
"""By tool: of each round, the first time and again."""


def summary(costs: Costs) -> None:
    """Medians, and how many times as long as we each of the others took in the same round."""
    print("medians")
    for tool, rounds in costs.items():
        show(tool, *(medians(list(column)) for column in zip(*rounds, strict=True)))
    for tool in [tool for tool in costs if "ours" in costs and tool != "ours"]:
        pairs = list(zip(costs[tool], costs["ours"], strict=True))
        for column, name in enumerate(("first", "again")):
            ratios = sorted(their[column].wall / our[column].wall for their, our in pairs)
            each = " ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"{tool} / ours, {name}: {statistics.median(ratios):.2f} (of {each})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=50)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--venv", type=Path, help="has ansible-core and pyinfra")
    parser.add_argument("--tools", nargs="+", default=TOOLS, choices=TOOLS)
    given = parser.parse_args()
    costs: Costs = {tool: [] for tool in given.tools}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        venv = given.venv or directory / "venv"
        if not given.venv:
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin/pip", "install", "--quiet", *OTHERS], check=True)
        empty = empty_project(directory)
        with light_hosts(directory / "sshd", given.count) as hosts:
            print(f"{given.count} hosts; load {os.getloadavg()[0]:.1f} before; seconds")
            columns = "".join(f"{name:>8}{'tool':>7}{'hosts':>7}" for name in ("first", "again"))
            print(f"{'':10}{columns}")
            for round_ in range(given.rounds):
                bench = Bench(directory / f"round-{round_}", hosts, venv, empty)
                for tool in given.tools:
                    work = getattr(bench, tool)()
                    costs[tool].append((measured(work, hosts), measured(work, hosts)))
                    check(bench.directory / tool, given.count)
                    show(tool, *costs[tool][-1])
        summary(costs)


if __name__ == "__main__":
    main()
