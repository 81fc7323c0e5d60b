"""Ask many hosts at once over SSH: one connection and one command a host, read-only.

A host behind a bastion is reached through one shared connection to it.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.ssh import ConnectError, Login, asyncssh, connect
from preflight.facts import AnswerError, Facts, parse
from preflight.targets import Target

SCRIPT = Path(__file__).with_name("facts.sh")
ANSWER_SECONDS = 30.0
AT_ONCE = 32
"""Hosts asked at the same time; more makes a two-core machine slower, not faster."""

# sudo's own words tell a missing right from a wanted password.
RUN = r"""
script={script}
if [ "$(id -u)" = 0 ]; then SUDO=root exec sh -c "$script"; fi
if ! command -v sudo >/dev/null; then SUDO=missing exec sh -c "$script"; fi
if said=$(sudo -n true 2>&1); then exec sudo -n SUDO=ok sh -c "$script"; fi
case $said in *password*) SUDO=password ;; *) SUDO=refused ;; esac
export SUDO
exec sh -c "$script"
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back from one host: facts, or why there are none."""

    target: Target
    facts: Facts | None = None
    skew: float = 0.0
    """Seconds the host's clock is ahead of ours, beyond what the round trip explains."""

    failure: str | None = None
    """``answer``, or a kind of `ConnectError`."""

    detail: str = ""
    bastion: Login | None = None
    """The bastion that failed, when it was not the host itself."""


def ask(targets: Sequence[Target]) -> list[Answer]:
    """Ask all targets, in their order. Never raises for a host's sake."""
    return asyncio.run(ask_all(targets))


async def ask_all(targets: Sequence[Target]) -> list[Answer]:
    gate = asyncio.Semaphore(AT_ONCE)
    bastions = Bastions()
    try:
        return await asyncio.gather(*(ask_one(target, gate, bastions) for target in targets))
    finally:
        await bastions.close()


async def ask_one(target: Target, gate: asyncio.Semaphore, bastions: Bastions) -> Answer:
    async with gate:
        try:
            connection = await _connect_through(target.login, bastions)
        except ConnectError as error:
            bastion = error.login if error.login == target.login.bastion else None
            return Answer(
                target=target, failure=error.failure, detail=error.detail, bastion=bastion
            )
        try:
            return await _question(target, connection)
        finally:
            connection.close()


async def _question(target: Target, connection: asyncssh.SSHClientConnection) -> Answer:
    command = question(target)
    started = time.time()
    try:
        result = await connection.run(
            command, stdin=asyncssh.DEVNULL, timeout=ANSWER_SECONDS, check=False
        )
        facts = parse(str(result.stdout))
    except (TimeoutError, asyncssh.TimeoutError):
        return Answer(target=target, failure="answer", detail=f"none in {ANSWER_SECONDS:.0f} s")
    except AnswerError as error:
        said = [str(result.stderr).strip(), str(error)]
        return Answer(target=target, failure="answer", detail="; ".join(filter(None, said)))
    except (OSError, asyncssh.Error) as error:
        return Answer(target=target, failure="answer", detail=str(error))
    return Answer(target=target, facts=facts, skew=_skew(facts.time, started, time.time()))


def question(target: Target) -> str:
    """The command that asks: the script, and what of this host it asks after."""
    peers, ports = " ".join(sorted(target.peers)), " ".join(map(str, sorted(target.ports)))
    values = f"PEERS={shlex.quote(peers)}\nPORTS={shlex.quote(ports)}\n"
    return RUN.replace("{script}", shlex.quote(values + SCRIPT.read_text()))


def _skew(theirs: float, before: float, after: float) -> float:
    """Zero when the host's time lies between our two, else the distance to the nearer."""
    return min(0.0, theirs - before) + max(0.0, theirs - after)


async def _connect_through(login: Login, bastions: Bastions) -> asyncssh.SSHClientConnection:
    if login.bastion is None:
        return await connect(login)
    return await connect(login, await bastions.open(login.bastion))


class Bastions:
    """One connection for each bastion, shared by all hosts behind it."""

    def __init__(self) -> None:
        self._open: dict[Login, asyncio.Task[asyncssh.SSHClientConnection]] = {}

    async def open(self, login: Login) -> asyncssh.SSHClientConnection:
        if login not in self._open:
            self._open[login] = asyncio.create_task(connect(login))
        return await self._open[login]

    async def close(self) -> None:
        opened: Mapping[Login, asyncio.Task[asyncssh.SSHClientConnection]] = self._open
        for result in await asyncio.gather(*opened.values(), return_exceptions=True):
            if isinstance(result, asyncssh.SSHClientConnection):
                result.close()
