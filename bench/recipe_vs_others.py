"""One recipe on many hosts, by us, by Ansible and by pyinfra: the first time, and again.

``python3 -m bench.recipe_vs_others [COUNT] [--venv DIRECTORY]`` prints a table: seconds, and behind
them the processor's seconds that the tool itself took. The hosts are sshd processes on loopback
addresses, so all work of tools and hosts is done by this machine; what it is busy with besides
changes the first figure more than the second.

Ansible and pyinfra come into the virtual environment, or into one that is thrown away afterwards.

Ours is what a user waits for: asking all hosts (facts, and drift of what the recipe put there),
then ``pulumi up``. Ansible runs one process a host, with pipelining and without facts.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lab.plugins.install import Place, default_cache, install
from preflight.targets import Target
from tests.control_plane import program
from tests.plugins.project import Project
from tests.preflight.light_hosts import LightHosts, light_hosts

asking = importlib.import_module("preflight.ask")  # its package has a function of this name
ROOT = Path(__file__).resolve().parent.parent
WORK = Path(__file__).with_name("same_work")
TOOLS = ("ours", "pyinfra", "ansible")
OTHERS = ("ansible-core", "pyinfra")


class Bench:
    """Light hosts, and a directory for each tool to work in."""

    def __init__(self, directory: Path, hosts: LightHosts, venv: Path) -> None:
        self.directory, self.hosts, self.venv = directory, hosts, venv
        self.known_hosts = directory / "known_hosts"
        lines = [f"[{one}]:{hosts.port} {hosts.host_key}\n" for one in hosts.addresses]
        self.known_hosts.write_text("".join(lines))
        # The server's address is what tells one host's session from another's.
        facts = asking.SCRIPT.read_text()
        here = "set -u\nhere=${SSH_CONNECTION% *} here=${here##* }\n"
        own = facts.replace("set -u\n", here, 1)
        asking.SCRIPT = directory / "facts.sh"
        asking.SCRIPT.write_text(own.replace("/etc/kubernetes-mesos", f"{directory}/ours/$here"))

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
        spec = {
            "checkout": str(ROOT),
            "recipes": str(recipes),
            "port": self.hosts.port,
            "key": str(self.hosts.key),
            "host_key": self.hosts.host_key,
            "hosts": {
                f"host-{index}": {"address": one, "root": self.root("ours", one)}
                for index, one in enumerate(self.hosts.addresses)
            },
        }
        (self.directory / "spec.json").write_text(json.dumps(spec))
        project = pulumi_project(self.directory)
        project.environment["SAME_WORK"] = str(self.directory / "spec.json")
        project.write((WORK / "program.py").read_text())

        def work() -> None:
            answers = asking.ask(
                [
                    Target(name=one, login=self.hosts.login(index))
                    for index, one in enumerate(self.hosts.addresses)
                ]
            )
            wrong = [answer for answer in answers if not answer.facts or answer.facts.drift]
            assert not wrong, wrong[0]
            project.up()

        return work

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


def pulumi_project(directory: Path) -> Project:
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


def measured(work: Callable[[], None]) -> str:
    """Seconds from beginning to end, and those of a processor, here and in what was started."""
    started, before = time.monotonic(), os.times()
    work()
    after = os.times()
    # The light hosts are children as well, but are waited for, and so counted, only at the end.
    busy = sum(after[:4]) - sum(before[:4])
    return f"{time.monotonic() - started:7.1f} {busy:5.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=50)
    parser.add_argument("--venv", type=Path, help="has ansible-core and pyinfra")
    parser.add_argument("--tools", nargs="+", default=TOOLS, choices=TOOLS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        venv = given.venv or directory / "venv"
        if not given.venv:
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin/pip", "install", "--quiet", *OTHERS], check=True)
        with light_hosts(directory / "sshd", given.count) as hosts:
            bench = Bench(directory, hosts, venv)
            print(f"{given.count} hosts; load {os.getloadavg()[0]:.1f} before; seconds")
            print(f"{'':8} {'first':>7} {'cpu':>5} {'again':>7} {'cpu':>5}")
            for tool in given.tools:
                work = getattr(bench, tool)()
                first, again = measured(work), measured(work)
                check(directory / tool, given.count)
                print(f"{tool:8} {first} {again}", flush=True)


if __name__ == "__main__":
    main()
