"""The lab of a stack, seen from outside: `python3 -m lab` knows which there are and what lives."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from tools import engine, places, state
from tools.errors import ToolsError


def owner(name: str) -> str:
    """Whose lab a lab is: this checkout's, for that stack."""
    return f"{places.ROOT}:{name}"


def lab_id(name: str) -> str:
    """The id that the program gives a stack's lab."""
    return hashlib.sha256(f"{places.ROOT}{name}".encode()).hexdigest()[:8]


def of(name: str) -> dict[str, Any] | None:
    """A stack's lab as `lab list` describes it; None when it has none.

    Its id tells it as well, when the record of its owner is damaged.
    """
    done = subprocess.run(
        [sys.executable, "-m", "lab", "list"],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolsError(f"python3 -m lab list:\n{done.stderr}")
    ours = [
        lab
        for lab in json.loads(done.stdout)
        if lab["owner"] == owner(name) or (lab["damages"] and lab["lab"] == lab_id(name))
    ]
    return ours[0] if ours else None


def is_dead(name: str) -> bool:
    """Whether the stack's state speaks of a lab that is no more, or of hosts that do not run.

    What would be asked of them goes with the lab.
    """
    lab = of(name)
    if lab is None:
        return bool(refuse_others(name))
    return not lab["lives"] or bool(lab["damages"] or dead_hosts(lab))


def dead_hosts(lab: Mapping[str, Any]) -> list[str]:
    """The hosts of a lab that ran once and do not now; those to come are the program's business."""
    return [str(host["name"]) for host in lab["hosts"] if host["pid"] and not host["lives"]]


def revive(name: str) -> bool:
    """Before an update: start a lab of which nothing runs, or those of its hosts that do not.

    Returns:
        Whether hosts were started again, with all that is on them.

    Raises:
        ToolsError: they do not start. Their data stays: only the operator may give it up.
    """
    lab = of(name)
    if lab is None:
        if refuse_others(name):
            state.forget(name)
        return False
    option = "" if name == "local" else f" STACK={name}"
    if lab["damages"]:
        raise ToolsError(
            "\n".join(lab["damages"])
            + f"\nThe lab of stack {name} cannot go on. To give it up with all its data: "
            f"make down{option}"
        )
    dead = dead_hosts(lab)
    if lab["lives"] and not dead:
        return False
    what = f"{', '.join(dead)} of" if lab["lives"] else "Nothing of"
    state.say(f"{what} the lab of stack {name}: not running any more (machine restarted?)")
    if run("up", "--lab", lab["lab"]) or run("up", "--lab", lab["lab"]):
        return True
    raise ToolsError(
        f"The lab of stack {name} could not be started (see above). Its hosts keep their data.\n"
        f"Once the cause is gone: make up{option}. To give the lab up with all its data: "
        f"make down{option}"
    )


def refuse_others(name: str) -> list[Mapping[str, Any]]:
    """Refuse a state that speaks of another checkout's lab, or of one on another machine.

    Returns:
        What the state says of this checkout's own. Without any, it has no hosts either: their
        network is the first that is made, and the last that goes.

    Raises:
        ToolsError: whose it is, and how to have a stack of one's own.
    """
    claims = claims_in(state.resources(name))
    for claim in claims:
        if not is_ours(claim, name):
            _refuse(name, claim)
    return claims


def _refuse(name: str, claim: Mapping[str, Any]) -> NoReturn:
    raise ToolsError(
        f"Stack {name}: its state in {engine.own_backend() or engine.backend_url()} has the lab "
        f"of {claim.get('owner')} (machine {claim.get('machine')}), and not that of\n"
        f"{owner(name)} (machine {places.machine_id()}). Nothing was changed.\n"
        f"For a lab here, give it a stack of its own: cp stacks/Pulumi.{name}.yaml "
        "stacks/Pulumi.NAME.yaml; make up STACK=NAME\n"
        f'If you know that what the state has is gone: eval "$(make -s env STACK={name})"; '
        f"pulumi stack rm --force --preserve-config --stack {name}"
    )


def claims_in(resources: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What a state's labs were asked for with: id, owner, machine."""
    inputs = [resource.get("inputs") or {} for resource in resources]
    return [
        json.loads(given["stdin"])
        for given in inputs
        if str(given.get("create")).endswith(" -m lab network up")
        and isinstance(given.get("stdin"), str)
    ]


def is_ours(claim: Mapping[str, Any], name: str) -> bool:
    """Whether a lab was asked for by this checkout, on this machine.

    A state among the operator's own files on this machine was made here, whatever the machine was
    called then.
    """
    here = engine.own_backend() is None or claim.get("machine") in {None, places.machine_id()}
    return claim.get("owner") == owner(name) and here


def enter(name: str, host: str, command: str) -> NoReturn:
    """Become a command on a host of the stack's lab, or a shell there.

    Args:
        name: The stack's.
        host: The host's.
        command: What a shell there is to run; empty: an interactive one.

    Raises:
        ToolsError: there is no lab here, or no host was named.
    """
    lab = of(name)
    if lab is None:
        raise ToolsError(
            f"Stack {name} has no lab on this machine. A lab: make up. Machines elsewhere: ssh."
        )
    if not host:
        there = " ".join(one["name"] for one in lab["hosts"])
        raise ToolsError(f"HOST: which one? There are: {there}\nSay: make enter HOST=control-1")
    os.chdir(places.ROOT)
    words = [sys.executable, "-m", "lab", "enter", "--lab", lab["lab"], host]
    if command:
        words += ["bash", "-c", command]
    os.execv(sys.executable, words)  # noqa: S606 - it takes our place at the terminal


def remove(name: str) -> None:
    """Take away what is left of the stack's lab."""
    lab = of(name)
    if lab and not run("down", "--lab", lab["lab"]):
        raise ToolsError(f"The lab of stack {name} could not be removed (see above).")


def run(*arguments: str, quiet: bool = False) -> bool:
    """Run `python3 -m lab`; whether it succeeded. What it says goes to stderr unless `quiet`."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        cwd=places.ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if quiet else None,
        check=False,
    )
    return done.returncode == 0
