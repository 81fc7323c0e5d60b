"""In place of the providers, for one ``up``: says that all is done, and leaves the traces of it.

A recipe's command writes onto its host what the recipe would have left there for preflight to look
at: a manifest, and files, links, programs and services as it promises them, as many as the recipe
has. The cluster's keys are made as ever, but one pair serves for all hosts. Objects are as they
were asked for.

``done.py command|kubernetes ADDRESS``, with a JSON object in WHOLE_STACK: ``code``, where the
stand-ins lie; ``hosts``, by address the process whose files are the host's; ``packages``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

SPEC = json.loads(os.environ["WHOLE_STACK"])
sys.path.insert(0, SPEC["code"])

from lab.plugins.protocol import skip_the_sdk  # noqa: E402 - the path comes first

skip_the_sdk()

from lab.plugins.command.provider import LOCAL, Command  # noqa: E402
from lab.plugins.kubernetes.objects import identifier  # noqa: E402
from lab.plugins.kubernetes.provider import Kubernetes  # noqa: E402
from lab.plugins.server import serve  # noqa: E402

LEFT = {
    "machine": (3, 0, 0, 0),
    "zookeeper": (3, 0, 1, 0),
    "mesos-master": (0, 1, 1, 0),
    "etcd": (3, 2, 1, 0),
    "kube-apiserver": (16, 2, 1, 0),
    "kube-controller-manager": (4, 2, 1, 0),
    "km-scheduler": (5, 2, 1, 0),
    "node-runtime": (11, 8, 2, 4),
    "mesos-agent": (1, 4, 1, 0),
    "node-version": (1, 0, 0, 0),
}
"""By recipe: how many files, programs, services and kernel settings it leaves."""

SYSCTL = ("kernel.ostype", Path("/proc/sys/kernel/ostype").read_text().strip())


class Host:
    """The files of a host, seen from here."""

    def __init__(self, address: str) -> None:
        self.root = Path("/proc") / str(SPEC["hosts"][address]) / "root"
        self.lines: list[str] = []

    def write(self, path: str, text: str) -> None:
        there = self.root / path.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        there.chmod(0o644)
        self.lines.append(f"file 644:root {hashlib.sha256(text.encode()).hexdigest()} {path}")

    def install(self, name: str) -> None:
        target, link = f"/opt/kubernetes-mesos/1/{name}", f"/opt/kubernetes-mesos/bin/{name}"
        for path in (target, link):
            (self.root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (self.root / target.lstrip("/")).write_text(name)
        (self.root / link.lstrip("/")).symlink_to(f"../1/{name}")
        self.lines += [f"link - ../1/{name} {link}", f"program {len(name)} - {link}"]

    def serve(self, unit: str, text: str) -> None:
        self.write(f"/etc/systemd/system/{unit}.service", text)
        self.lines.append(f"unit enabled active {unit}.service")

    def remember(self, recipe: str, words: str | None) -> None:
        directory = self.root / "etc/kubernetes-mesos/manifest"
        directory.mkdir(parents=True, exist_ok=True)
        if self.lines:
            (directory / recipe).write_text("\n".join(self.lines) + "\n")
        if words:
            (directory / f"{recipe}.repaired").write_text(f"{words}\n")


def leave(address: str, recipe: str, words: str | None, unit_text: str) -> None:
    """Leave on a host what a recipe does."""
    host = Host(address)
    files, programs, units, settings = LEFT.get(recipe, (0, 0, 0, 0))
    for number in range(files):
        host.write(f"/etc/kubernetes-mesos/{recipe}/{number}", f"{recipe} {number}\n" * 30)
    for number in range(programs):
        host.install(f"{recipe}-{number}")
    for number in range(units):
        host.serve(f"{recipe}-{number}" if number else recipe, unit_text)
    host.lines += [f"sysctl {SYSCTL[1]} - {SYSCTL[0]}"] * settings
    if recipe == "machine":
        host.lines += [f"package - - {name}" for name in SPEC["packages"]]
    host.remember(recipe, words)


def words_of(command: str) -> str | None:
    """The words of a repair, behind ``up``."""
    last = shlex.split(command)[-1]
    return None if last in {"up", "down"} else last


class DoneCommand(Command):
    pair: Any = None

    async def run(self, request: Any, state: Any, command: str) -> Any:
        if request.type != LOCAL:
            recipe = re.search(r"(?m)^RECIPE=(\S+)$", state["stdin"])
            assert recipe is not None, state["stdin"][:300]
            text = "ExecStart=/bin/true\n"
            if members := re.search(r"(?m)^(?:ETCD_MEMBERS|MESOS_ZOOKEEPER)=(.*)$", state["stdin"]):
                text += f"# {members[1]}\n"
            leave(state["connection"]["host"], recipe[1], words_of(command), text)
            return {"stdout": "", "stderr": ""}
        spec = json.loads(state["stdin"])
        if "components.machine" in command:
            leave(spec["address"], "machine", words_of(command), "")
            cluster = re.search(r"(?m)^MACHINE_CLUSTER=(\S+)$", spec["script"])
            assert cluster is not None
            mark = Host(spec["address"]).root / "etc/kubernetes-mesos/cluster"
            mark.write_text(f"{cluster[1]}\n")
            return {"stdout": "", "stderr": ""}
        if "requests" not in spec:
            return await super().run(request, state, command)
        authorities = spec["authorities"].values()
        pair = next(iter(authorities))
        stdout = json.dumps(dict.fromkeys(spec["requests"], pair))
        return {"stdout": stdout, "stderr": ""}


class DoneKubernetes(Kubernetes):
    async def create(self, request: Any) -> Any:
        return identifier(request.inputs), request.inputs


if __name__ == "__main__":
    kind = {"command": DoneCommand, "kubernetes": DoneKubernetes}[sys.argv[1]]
    asyncio.run(serve(kind, sys.argv[-1]))
