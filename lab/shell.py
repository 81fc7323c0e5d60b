"""A shell or one command on a host, as at its console: needs neither its network nor its sshd."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lab import machine, state
from lab.errors import LabError

ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "USER": "root",
}
"""Nothing of this machine's own, whose paths and settings mean nothing on the host."""


def enter(lab: str, name: str, command: Sequence[str]) -> NoReturn:
    """Become a command on a host, or a shell when there is none.

    Raises:
        LabError: there is no such host, it does not run, or it cannot be entered from outside.
    """
    target = _init_of(lab, name)
    variables = {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}
    # nsenter would look for the directory on this machine; env is on the host already.
    words = ("env", "--chdir=/root", *(command or ("bash", "--login")))
    os.execvpe(  # noqa: S606 - no shell of this machine is wanted
        "nsenter", ["nsenter", f"--target={target}", "--all", "--", *words], variables
    )


def _init_of(lab: str, name: str) -> int:
    """A host's first process, as this machine numbers it: the child of its supervisor."""
    host = state.read_host(lab, name)
    if host is None:
        there = ", ".join(state.host_names(lab)) or "none"
        raise LabError(f"host {name!r}: lab {lab} has none of this name; there are: {there}")
    if host.process is None or not host.lives():
        raise LabError(f"host {name}: does not run; `lab up --lab {lab}` starts it")
    if machine.is_whole(host.spec["base"]):
        raise LabError(f"host {name}: has a kernel of its own; log in with ssh {host.address}")
    pid = host.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    if not children:
        raise LabError(f"host {name}: is still booting; try again")
    return int(children[0])
