"""The preview without changes of a whole stack `metal`: the real program, asking many hosts.

``python3 -m bench.preview [COUNT] [--rounds N]``, as root. Prints, for each round, the seconds of
``pulumi preview``, those of a processor that it took, and those that the hosts took.

The hosts are sshd processes on loopback addresses, each with files, a name and a machine id of its
own (a mount namespace); three are control hosts, the others agents. They answer the real questions:
facts, the ways to each other, drift of some fifty files, programs and services each. Only
``systemctl`` is another one, since no systemd runs on them.

How the stack comes to be up is not measured, and is not real: in place of the providers,
``whole_stack/done.py`` says that all is done and leaves on the hosts what preflight looks at.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.recipe_vs_others import Cost, medians, show
from components.hosts import Role
from components.joining import packages
from lab.plugins.install import (
    PROVIDERS,
    Place,
    default_cache,
    executable_of,
    install,
    installed_code,
)
from tests.control_plane import program
from tests.plugins.project import Result
from tests.preflight.light_hosts import LightHosts, light_hosts
from tools.engine import PARALLEL

ROOT = Path(__file__).resolve().parent.parent
WORK = Path(__file__).with_name("whole_stack")
CONTROL_HOSTS = 3
STACK = "bench"


class Stack:
    """A checkout with a stack of its own, and Pulumi with two kinds of providers."""

    def __init__(self, directory: Path, hosts: LightHosts) -> None:
        engine = program("pulumi")
        if engine is None:
            raise SystemExit("pulumi is not there: make setup")
        self.directory, self.engine, self.hosts = directory / "checkout", engine, hosts
        self.real, self.done = directory / "home", directory / "home-done"
        python = Path(getattr(sys, "_base_executable", sys.executable))
        for home in (self.real, self.done):
            place = Place(pulumi_home=home, pulumi=engine, python=python, cache=default_cache())
            install(place, offline=True)
        code = installed_code(place)
        for name in PROVIDERS:
            words = f"{code}/venv/bin/python -I {WORK}/done.py {name}"
            (place.plugin(name) / executable_of(name)).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        self.spec: dict[str, Any] = {
            "code": str(code),
            "hosts": processes(hosts),
            "packages": some_packages(),
        }
        self.check_out(directory)

    def check_out(self, directory: Path) -> None:
        """Make a checkout whose only file of its own is the stack's."""
        (self.directory / "stacks").mkdir(parents=True)
        (directory / "state").mkdir()
        for path in ROOT.iterdir():
            if path.name not in {"stacks", ".git"}:
                (self.directory / path.name).symlink_to(path)
        for path in (ROOT / "stacks").glob("*.py"):
            (self.directory / "stacks" / path.name).symlink_to(path)
        config = {
            "kubernetes-mesos:cluster": {"hosts": settings(self.hosts)},
            "pulumi:disable-default-providers": ["kubernetes"],
        }
        # JSON is YAML.
        file = self.directory / "stacks" / f"Pulumi.{STACK}.yaml"
        file.write_text(json.dumps({"config": config}))
        self.run(self.done, "stack", "init", STACK)

    def run(self, home: Path, *arguments: str) -> Result:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PULUMI", "KUBE", "SSH"))}
        environment = {
            **kept,
            "PULUMI_HOME": str(home),
            "PULUMI_BACKEND_URL": f"file://{self.directory.parent / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_PARALLEL": PARALLEL,
            # Of the one `up` that is not measured; a preview writes nothing.
            "PULUMI_SKIP_CHECKPOINTS": "true",
            "WHOLE_STACK": json.dumps(self.spec),
        }
        done = subprocess.run(
            [self.engine, *arguments, "--non-interactive", "--color=never"],
            cwd=self.directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"pulumi {arguments[0]} failed:\n{done.stdout[-4000:]}")
        return Result(done.returncode, done.stdout)

    def up(self) -> int:
        """Bring it up; how many resources there are then, as Pulumi counts them."""
        made = self.run(self.done, "up", "--yes", "--skip-preview", "-s", STACK).changes()
        assert set(made) == {"created"}, made
        return made["created"]

    def spoil(self, count: int) -> None:
        """Change a file by hand; a fast preview that did not look is not fast."""
        address = self.hosts.addresses[-1]
        root = Path("/proc") / str(self.spec["hosts"][address]) / "root"
        (root / "etc/kubernetes-mesos/node-runtime/0").write_text("another text\n")
        found = self.run(self.real, "preview", "-s", STACK).changes()
        assert found == {"unchanged": count - 1, "update": 1}, found

    def preview(self, count: int) -> Cost:
        """Measure a preview, which must find all resources and nothing to change."""
        before, theirs, started = os.times(), self.hosts.busy(), time.monotonic()
        result = self.run(self.real, "preview", "-s", STACK)
        wall, after = time.monotonic() - started, os.times()
        assert result.changes() == {"unchanged": count}, result.output[-4000:]
        assert "warning" not in result.output, result.output[-4000:]
        tool = sum(after[:4]) - sum(before[:4])
        return Cost(wall, tool, self.hosts.busy() - theirs)


def name_of(index: int) -> str:
    return f"rack{index + 1}"


def settings(hosts: LightHosts) -> dict[str, object]:
    """The setting ``cluster.hosts``."""
    return {
        "on": "metal",
        "port": hosts.port,
        "key": str(hosts.key),
        "machines": [
            {
                "name": name_of(index),
                "address": address,
                "roles": ["control" if index < CONTROL_HOSTS else "agent"],
                "host_key": hosts.host_key,
            }
            for index, address in enumerate(hosts.addresses)
        ],
    }


def processes(hosts: LightHosts) -> dict[str, int]:
    return dict(zip(hosts.addresses, hosts.servers, strict=True))


def some_packages() -> list[str]:
    """As many packages as an agent needs, of those that this machine has."""
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = [line.split()[1] for line in listed.splitlines() if line.startswith("installed ")]
    return here[: len(packages(frozenset({Role.AGENT})))]


def expected(count: int) -> int:
    """How many resources a stack of so many hosts has, at the least."""
    agents = count - CONTROL_HOSTS
    each_host, each_control, each_agent = 3, 6, 3
    return each_host * count + each_control * CONTROL_HOSTS + each_agent * agents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", type=int, nargs="?", default=100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)

        def own_files(index: int) -> list[str | Path]:
            place = directory / f"host-{index}"
            return ["unshare", "--mount", "--uts", WORK / "own_files.sh", place, name_of(index)]

        path = f"PATH={WORK}:{os.environ['PATH']}"
        with light_hosts(directory / "sshd", given.count, own_files, path) as hosts:
            stack = Stack(directory, hosts)
            resources = stack.up()
            assert resources > expected(given.count), resources
            print(f"{given.count} hosts, {resources} resources, nothing to change")
            print(f"{'':10} {'seconds':>7} {'tool':>6} {'hosts':>6}")
            costs = []
            for round_ in range(given.rounds):
                costs.append(stack.preview(resources))
                show(f"round {round_ + 1}", costs[-1])
            show("median", medians(costs))
            stack.spoil(resources)


if __name__ == "__main__":
    main()
