"""``python3 -m preflight [check|trust|sends] --stack STACK``: the questions, without the program.

``sends`` asks no machine: it says what goes to them from here, for `make bundle`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from components.hosts import Role
from components.joining import packages
from components.mesos_source import MesosSourceError, obtain_mesos
from preflight import check, drift, message, stack_file, trust
from preflight.ask import Answer
from preflight.hosts import login
from preflight.judge import concerns
from preflight.stock import PUBLIC
from stacks.metal_settings import MetalHostsSettings
from stacks.problems import SettingsError
from stacks.settings import StackSettings, parse_settings

PROJECT = "kubernetes-mesos"


class UsageError(Exception):
    """The command line or the stack does not fit; the text says what would."""


def main() -> int:
    arguments = _parser().parse_args()
    try:
        if arguments.command == "sends":
            return _sends(arguments.stack)
        path, hosts, images = _settings(arguments.stack)
        if arguments.command == "trust":
            return _trust(arguments.stack, path, hosts, ask=not arguments.yes)
        return _check(arguments.stack, hosts, images)
    except (SettingsError, MesosSourceError, UsageError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m preflight", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("check", "trust", "sends"), default="check")
    parser.add_argument("--stack", default="metal", help="the stack; default: metal")
    parser.add_argument("--yes", action="store_true", help="trust: write without asking")
    return parser


def _settings(stack: str) -> tuple[Path, MetalHostsSettings, Sequence[str]]:
    path, settings = _stack(stack)
    if not isinstance(settings.hosts, MetalHostsSettings):
        raise UsageError(f"stack {stack} makes its hosts itself (on: {settings.hosts.on})")
    return path, settings.hosts, settings.images.on_nodes


def _stack(stack: str) -> tuple[Path, StackSettings]:
    path = Path("stacks") / f"Pulumi.{stack}.yaml"
    if not path.exists():
        known = ", ".join(sorted(one.stem.partition(".")[2] for one in Path("stacks").glob("P*")))
        raise UsageError(f"--stack {stack}: there is no {path}; known stacks: {known}")
    data = stack_file.load(path.read_text())
    return path, parse_settings(stack, data["config"][f"{PROJECT}:cluster"])


def _sends(stack: str) -> int:
    """Print what a stack's machines get from here; an archive of Mesos is fetched for it."""
    _, settings = _stack(stack)
    if settings.mesos.source.packages:
        raise UsageError(
            f"stack {stack}: its machines fetch Mesos from a repository (mesos.source.packages), "
            "which no bundle has; use an archive, or the lab's own build"
        )
    sends = {
        "packages": packages(frozenset(Role)),
        "mesos": obtain_mesos(settings.mesos.source).version,
        "images": [image for image in settings.images.on_nodes if image.startswith(PUBLIC)],
    }
    print(json.dumps(sends))
    return 0


def _check(stack: str, hosts: MetalHostsSettings, images: Sequence[str]) -> int:
    answers, problems = check(hosts, f"{PROJECT}/{stack}", images)
    for answer in answers:
        print(_line(answer))
    for answer in answers:
        recipes = answer.target.recipes
        for difference in drift.found(answer.facts, recipes) if answer.facts else ():
            print(f"{answer.target.name}: {difference}")
    for concern in concerns(answers):
        print(concern)
    if problems:
        print(message(problems, len(answers)), file=sys.stderr)
    return 1 if problems else 0


def _line(answer: Answer) -> str:
    facts = answer.facts
    if facts is None:
        return f"{answer.target.name:14} no answer"
    size = f"{facts.cpus} cpus, {facts.memory_mb} MB, {facts.disk_mb} MB free"
    owner = facts.cluster or "nobody's"
    return (
        f"{answer.target.name:14} {facts.os_id} {facts.os_version}, cgroup {facts.cgroup}, "
        f"{size}, {owner}"
    )


def _trust(stack: str, path: Path, hosts: MetalHostsSettings, *, ask: bool) -> int:
    text = path.read_text()
    raw = stack_file.load(text)["config"][f"{PROJECT}:cluster"]["hosts"]
    wanted = trust.places(raw, [login(hosts, machine) for machine in hosts.machines])
    seen = asyncio.run(trust.read_keys(wanted))
    for one in seen:
        key = f"{one.key.get_algorithm()} {one.key.get_fingerprint()}" if one.key else ""
        print(f"{one.place.name:14} {one.place.login.address:15} {one.verdict:8} {key}".rstrip())
    if any(one.verdict == "CHANGED" for one in seen):
        print(
            "A key in the file is not the one its host shows now; nothing was written. Find out "
            "why first. If the host was installed anew, remove its host_key and run this again.",
            file=sys.stderr,
        )
        return 1
    if ask and sys.stdin.isatty() and input(f"Write them into {path}? [y/N] ").lower() != "y":
        return 1
    trust.write(path, trust.with_keys(text, seen, trust.new_cluster_id(stack)))
    failed = [one.place.name for one in seen if one.key is None]
    if failed:
        print(f"Without a key: {', '.join(failed)}; run this again for them.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
