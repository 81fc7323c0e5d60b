"""A machine joins and leaves the cluster, over SSH from here: JSON in, JSON out.

``python -m components.machine reach``  waited for until it lets us in
``python -m components.machine up``     packages, the cluster's mark, programs and images; words
                                        behind it are those of a repair
``python -m components.machine down``   everything of ours taken away, or, when the machine is dead,
                                        nothing: it is not waited for longer than a minute. One that
                                        the stack file calls gone is not even dialled.

Imports nothing of Pulumi: it starts in a third of a second, once for each host.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from components import bundle
from components.programs import cache
from components.ssh import ConnectError, Login, asyncssh, connect

STORE = "/var/cache/kubernetes-mesos"
PACKAGES = "packages/"
PACKAGE_LIST = bundle.LIST

IMAGE_INDEX = "images/index.json"
"""Which archive an image of a name is in; sent last, when all archives are there."""

DIAL_PAUSE = 1.0
JOIN_SECONDS = 900.0
LEAVE_SECONDS = 300.0
"""The longest that a machine that says what it does may take to be cleaned up."""

REACH_SECONDS = 20.0
"""The longest that a leaving machine is dialled, its bastion included."""

SILENT_SECONDS = 30.0
"""A leaving machine that says nothing for so long hangs. With the dialling, less than a minute."""

LEAVING_ALIVE_SECONDS = 5.0
"""So often a leaving machine's server is asked; one that is dead is known before it is silent."""

NOT_YET = {"connect", "hung-up", "network"}
"""Failures that a machine that is only starting has as well."""


class MachineError(Exception):
    """What went wrong, where; shown as one message."""


class DiedError(MachineError):
    """The machine fell silent in the middle."""


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
            if error.failure not in NOT_YET or time.monotonic() >= end:
                raise
        await asyncio.sleep(DIAL_PAUSE)


async def reach(spec: Mapping[str, Any]) -> None:
    """Log in, and no more."""
    connection = await open_machine(login_of(spec), spec["dial_seconds"])
    connection.close()


async def up(spec: Mapping[str, Any], *words: str) -> None:
    """Prepare the machine; safe to run again at any time.

    Programs travel while packages are installed: one needs the network, the other the processor.
    """
    connection = await open_machine(login_of(spec), spec.get("dial_seconds", 0))
    try:
        lacking = await missing(connection, spec, store_items(spec, await release(connection)))
        packages = [item for item in lacking if item.startswith(PACKAGES)]
        await send_all(connection, spec, packages)
        await asyncio.gather(
            send_all(connection, spec, [item for item in lacking if item not in packages]),
            run_script(connection, spec, ("up", *words), JOIN_SECONDS),
        )
    finally:
        connection.close()


async def down(spec: Mapping[str, Any]) -> None:
    """Clean the machine up if it lives; a dead one goes without.

    Only what a dead machine looks like passes for one: a wrong key must not lose what is on it.

    Raises:
        MachineError: it lives, and was not cleaned up.
    """
    name = spec["name"]
    if is_gone(spec):
        say(f"{name} is gone: nobody logs in, nothing was removed from it")
        return
    try:
        async with asyncio.timeout(REACH_SECONDS):
            connection = await open_machine(login_of(spec))
    except (TimeoutError, ConnectError) as error:
        if isinstance(error, ConnectError) and not error.unreachable:
            raise MachineError(f"{name} was not cleaned up: {error}; {if_dead(spec)}") from error
        said = str(error) or f"no answer in {REACH_SECONDS:.0f} s"
        say(f"{name} does not answer, so nothing was removed from it: {said}")
        return
    connection.set_keepalive(LEAVING_ALIVE_SECONDS)
    try:
        await run_script(connection, spec, ("down",), LEAVE_SECONDS, SILENT_SECONDS)
    except DiedError as error:
        say(f"{name} was not cleaned up: {error}")
    except TimeoutError as error:
        raise MachineError(
            f"{name} was not cleaned up: it answers, but said nothing for {SILENT_SECONDS:.0f} s; "
            f"see what hangs there, and run this again; {if_dead(spec)}"
        ) from error
    finally:
        connection.abort()


def if_dead(spec: Mapping[str, Any]) -> str:
    return f"if the machine is dead: `gone: true` in {spec.get('stack_file', 'the stack file')}"


def is_gone(spec: Mapping[str, Any]) -> bool:
    """Whether the stack file says so, as it is now: the state knows what was said before."""
    try:
        data = yaml.safe_load(Path(spec["stack_file"]).read_text())
        machines = data["config"]["kubernetes-mesos:cluster"]["hosts"]["machines"]
        return any(one["name"] == spec["name"] and one.get("gone") is True for one in machines)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False


async def run_script(
    connection: asyncssh.SSHClientConnection,
    spec: Mapping[str, Any],
    words: Sequence[str],
    seconds: float,
    limit: float | None = None,
) -> None:
    """Run the machine's recipe, and say what it says.

    Raises:
        MachineError: it failed; `DiedError`: the machine did.
        TimeoutError: it said nothing for ``limit`` seconds.
    """
    command = f"timeout --kill-after=10 {seconds:.0f} bash -s -- {shlex.join(words)}"
    errors: list[str] = []
    try:
        status = await converse(
            connection, privileged(spec, command), spec["script"], (say, errors.append), limit
        )
    except (asyncssh.ConnectionLost, ConnectionError):
        status = None
    if status is None:
        raise DiedError(f"{spec['name']}: {words[0]} was cut off: the machine fell silent")
    if status != 0:
        said = "\n".join(errors).strip()
        raise MachineError(f"{spec['name']}: {words[0]} ended with {status}: {said}")


async def converse(
    connection: asyncssh.SSHClientConnection,
    command: str,
    text: str,
    listeners: tuple[Callable[[str], None], Callable[[str], None]],
    silent_seconds: float | None,
) -> int | None:
    """Run a command with a text on stdin; each line that it says goes to a listener, at once.

    Raises:
        TimeoutError: it said nothing for ``silent_seconds``.
    """
    process = await connection.create_process(command)
    async with asyncio.timeout(silent_seconds) as limit:

        async def listen(lines: asyncssh.SSHReader[str], heard: Callable[[str], None]) -> None:
            async for line in lines:
                if silent_seconds:
                    limit.reschedule(asyncio.get_running_loop().time() + silent_seconds)
                heard(line.rstrip())

        process.stdin.write(text)
        process.stdin.write_eof()
        said, complained = listeners
        await asyncio.gather(listen(process.stdout, said), listen(process.stderr, complained))
        await process.wait_closed()
    return process.exit_status


async def release(connection: asyncssh.SSHClientConnection) -> str:
    """The machine's distribution by its code name, as in ``bookworm``."""
    asked = await connection.run(". /etc/os-release; echo $VERSION_CODENAME")
    return str(asked.stdout).strip()


def store_items(spec: Mapping[str, Any], release: str) -> list[str]:
    """List what the machine's store needs and this machine has, in the order of sending.

    Raises:
        MachineError: packages are to come from here, and those of its release were never fetched.
    """
    items = [str(item).format(release=release) for item in spec["store"]]
    for item in items:
        if item.startswith(PACKAGES) and not (here(spec, item) / PACKAGE_LIST).exists():
            raise MachineError(
                f"{spec['name']}: no bundle for {release}: make bundle RELEASE={release}"
            )
    items += images() if spec["images"] else []
    return [item for item in items if here(spec, item).exists()]


def here(spec: Mapping[str, Any], item: str) -> Path:
    """Find an item of a store on this machine, where packages of several bundles may lie."""
    if not item.startswith(PACKAGES):
        return cache() / item
    release = item.removeprefix(PACKAGES)
    words = spec.get("bundle", "").split()
    return bundle.place(release, dict(zip(words[::2], words[1::2], strict=True)).get(release))


async def missing(
    connection: asyncssh.SSHClientConnection, spec: Mapping[str, Any], items: Sequence[str]
) -> list[str]:
    """List what the machine does not have; the index of images is always sent, and last."""
    if not items:
        return []
    packages = [f"{item}/{PACKAGE_LIST}" for item in items if item.startswith(PACKAGES)]
    test = (
        f"cd {STORE} 2>/dev/null && ls -d {shlex.join(items)} 2>/dev/null; "
        f"sha256sum {shlex.join(packages)} /dev/null 2>/dev/null || true"
    )
    known = str((await connection.run(test, check=False)).stdout).split()
    return [item for item in items if item == IMAGE_INDEX or not same(spec, item, known)]


def same(spec: Mapping[str, Any], item: str, known: Sequence[str]) -> bool:
    """Whether the machine has an item: by its name, or packages by the digest of their index."""
    if not item.startswith(PACKAGES):
        return item in known
    packages = here(spec, item) / PACKAGE_LIST
    return hashlib.sha256(packages.read_bytes()).hexdigest() in known


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
    source, place = here(spec, item), f"{STORE}/{item}"
    part = f"{STORE}/.{item.replace('/', '-')}.part"
    unpack = (
        f"rm -rf {part} && mkdir -p {part} {Path(place).parent} && tar -x -C {part} && "
        f"sync --file-system {part} && rm -rf {place} && "
        f"mv {part}/{source.name} {place} && rm -rf {part}"
    )
    # A pipe of the system's: asyncio's own readers take small pieces, and four times as long.
    out, into = os.pipe()
    try:
        pack = await asyncio.create_subprocess_exec(
            *("tar", "-c", "-C", str(source.parent), source.name), stdout=into
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
    actions: dict[str, Callable[..., Coroutine[Any, Any, None]]]
    actions = {"reach": reach, "up": up, "down": down}
    action, *words = arguments or [""]
    if action not in actions or len(words) > (action == "up"):
        raise SystemExit("usage: python -m components.machine reach|up [WORDS]|down < spec.json")
    spec = json.load(sys.stdin)
    try:
        asyncio.run(actions[action](spec, *words))
    except (MachineError, ConnectError, asyncssh.Error, OSError) as error:
        say(str(error))
        return 1
    print(json.dumps({"name": spec["name"], "address": spec["address"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
