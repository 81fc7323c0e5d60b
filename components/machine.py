"""A machine joins and leaves the cluster, over SSH from here: JSON in, JSON out.

``python -m components.machine up``    packages, the cluster's mark, programs and images
``python -m components.machine down``  everything of ours taken away, or, when the machine is dead,
                                       nothing: it is not waited for longer than a minute

Imports nothing of Pulumi: it starts in a third of a second, once for each host.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncssh

from components.programs import cache
from components.ssh import ConnectError, Login, connect

STORE = "/var/cache/kubernetes-mesos"
PACKAGES = "packages/"
IMAGE_INDEX = "images/index.json"
"""Which archive an image of a name is in; sent last, when all archives are there."""

DIAL_PAUSE = 1.0
JOIN_SECONDS = 900.0
LEAVE_SECONDS = 120.0
"""A machine that dies meanwhile is not waited for so long: its connection is asked for life."""


class MachineError(Exception):
    """What went wrong, where; shown as one message."""


def login_of(spec: Mapping[str, Any]) -> Login:
    """Read the way to a machine; its bastion has the same shape."""
    bastion = spec.get("bastion")
    return Login(
        address=spec["address"],
        port=spec["port"],
        user=spec["user"],
        key=Path(spec["key"]).expanduser(),
        host_key=spec["host_key"],
        bastion=login_of(bastion) if bastion else None,
    )


async def open_machine(login: Login, patience: float = 0) -> asyncssh.SSHClientConnection:
    """Log in; a machine that does not answer yet is tried again for ``patience`` seconds."""
    end = time.monotonic() + patience
    while True:
        try:
            tunnel = await connect(login.bastion) if login.bastion else None
            return await connect(login, tunnel)
        except ConnectError as error:
            if error.failure != "connect" or time.monotonic() >= end:
                said = f"{login.where}: {error.failure} {error.detail}".strip()
                raise MachineError(said) from error
        await asyncio.sleep(DIAL_PAUSE)


async def up(spec: Mapping[str, Any]) -> None:
    """Prepare the machine; safe to run again at any time.

    Programs travel while packages are installed: one needs the network, the other the processor.
    """
    connection = await open_machine(login_of(spec), spec.get("dial_seconds", 0))
    try:
        lacking = await missing(connection, store_items(spec, await release(connection)))
        packages = [item for item in lacking if item.startswith(PACKAGES)]
        await send_all(connection, spec, packages)
        await asyncio.gather(
            send_all(connection, spec, [item for item in lacking if item not in packages]),
            run_script(connection, spec, "up", JOIN_SECONDS),
        )
    finally:
        connection.close()


async def down(spec: Mapping[str, Any]) -> None:
    """Clean the machine up if it lives; a dead one goes without."""
    try:
        connection = await open_machine(login_of(spec))
    except MachineError as error:
        say(f"{spec['name']} does not answer, so nothing was removed from it: {error}")
        return
    try:
        await run_script(connection, spec, "down", LEAVE_SECONDS)
    except (MachineError, asyncssh.Error, OSError) as error:
        say(f"{spec['name']} was not cleaned up: {error}")
    finally:
        connection.close()


async def run_script(
    connection: asyncssh.SSHClientConnection, spec: Mapping[str, Any], action: str, seconds: float
) -> None:
    words = [action, spec["repair"]] if action == "up" and spec["repair"] else [action]
    command = f"timeout --kill-after=10 {seconds:.0f} bash -s -- {shlex.join(words)}"
    result = await connection.run(privileged(spec, command), input=spec["script"], check=False)
    say(str(result.stdout).rstrip())
    if result.exit_status is None:
        raise MachineError(f"{spec['name']}: {action} was cut off: the machine fell silent")
    if result.exit_status != 0:
        said = str(result.stderr).strip()
        raise MachineError(f"{spec['name']}: {action} ended with {result.exit_status}: {said}")


async def release(connection: asyncssh.SSHClientConnection) -> str:
    """The machine's distribution by its code name, as in ``bookworm``."""
    asked = await connection.run(". /etc/os-release; echo $VERSION_CODENAME")
    return str(asked.stdout).strip()


def store_items(spec: Mapping[str, Any], release: str) -> list[str]:
    """List what the machine's store needs and this machine has, in the order of sending."""
    items = [str(item).format(release=release) for item in spec["store"]]
    items += images() if spec["images"] else []
    return [item for item in items if (cache() / item).exists()]


async def missing(connection: asyncssh.SSHClientConnection, items: Sequence[str]) -> list[str]:
    """List what the machine does not have; the index of images is always sent, and last."""
    if not items:
        return []
    test = f"cd {STORE} 2>/dev/null && ls -d {shlex.join(items)} 2>/dev/null || true"
    known = str((await connection.run(test, check=False)).stdout).split()
    return [item for item in items if item not in known or item == IMAGE_INDEX]


async def send_all(
    connection: asyncssh.SSHClientConnection, spec: Mapping[str, Any], items: Sequence[str]
) -> None:
    """Send items, each complete or not at all."""
    for item in items:
        await send(connection, spec, item)
        say(f"sent {item}")


def images() -> list[str]:
    """List the archives of container images that this machine has packed, then their index."""
    index = cache() / IMAGE_INDEX
    archives = json.loads(index.read_text()).values() if index.exists() else ()
    return [*(f"images/{archive}" for archive in sorted(archives)), IMAGE_INDEX]


async def send(
    connection: asyncssh.SSHClientConnection, spec: Mapping[str, Any], item: str
) -> None:
    """Pack an item here, unpack it beside its place there, then move it.

    Only when it is on the disk: after a power cut, what is in its place counts as sent.
    """
    part = f"{STORE}/.{item.replace('/', '-')}.part"
    place = f"{STORE}/{item}"
    unpack = (
        f"rm -rf {part} && mkdir -p {part} {Path(place).parent} && tar -x -C {part} && "
        f"sync --file-system {part} && rm -rf {place} && mv {part}/{item} {place} && rm -rf {part}"
    )
    # A pipe of the system's: asyncio's own readers take small pieces, and four times as long.
    out, into = os.pipe()
    try:
        pack = await asyncio.create_subprocess_exec(
            "tar", "-c", "-C", str(cache()), item, stdout=into
        )
    finally:
        os.close(into)
    result = await connection.run(
        privileged(spec, f"sh -c {shlex.quote(unpack)}"), stdin=out, encoding=None, check=False
    )
    if await pack.wait() or result.exit_status != 0:
        raise MachineError(f"{spec['name']}: {item} could not be sent: {result.stderr!r}")


def privileged(spec: Mapping[str, Any], command: str) -> str:
    return command if spec["user"] == "root" else f"sudo -n {command}"


def say(text: str) -> None:
    if text:
        print(text, file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    actions = {"up": up, "down": down}
    if len(arguments) != 1 or arguments[0] not in actions:
        raise SystemExit(f"usage: python -m components.machine {'|'.join(actions)} < spec.json")
    spec = json.load(sys.stdin)
    try:
        asyncio.run(actions[arguments[0]](spec))
    except (MachineError, asyncssh.Error, OSError) as error:
        say(str(error))
        return 1
    print(json.dumps({"name": spec["name"], "address": spec["address"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
