"""A stack's settings and state: selecting it, locks of killed updates, emptying, outputs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tools import engine, places, process, salt, stack_file
from tools.errors import ToolsError


def settings_file(stack: str) -> Path:
    path = places.ROOT / "stacks" / f"Pulumi.{stack}.yaml"
    if not path.exists():
        known = sorted(p.name.split(".")[1] for p in path.parent.glob("Pulumi.*.yaml"))
        raise ToolsError(f"STACK={stack}: there is no {path}.\nThere is: {', '.join(known)}")
    return path


def hosts_are_on(stack: str) -> str:
    """The kind of hosts that a stack's settings ask for: `lab`, `metal` or `aws`.

    Raises:
        ToolsError: they do not say so, or not in a way that is understood here.
    """
    path = settings_file(stack)
    kind = stack_file.kind_of_hosts(path.read_text())
    if kind is None:
        raise ToolsError(
            f"{path}: cluster.hosts.on cannot be told from it. Allowed are "
            f"{', '.join(stack_file.KINDS)}.\nWrite it plainly, on a line of its own, as "
            "stacks/Pulumi.local.yaml does."
        )
    return kind


def bundle_of(stack: str) -> str | None:
    """The file that a stack's settings name as their bundle; None when they name none."""
    return stack_file.bundle(settings_file(stack).read_text())


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def pulumi(stack: str, *arguments: str, shown: bool = True) -> subprocess.CompletedProcess[str]:
    """Run pulumi in the checkout. Not `shown`, its output is kept, and a failure is an error."""
    path = settings_file(stack)
    with nullcontext() if engine.own_backend() else salt.kept_out(path):
        done = process.run_patiently(
            [engine.pulumi(), *arguments, "--stack", stack],
            cwd=places.ROOT,
            environment=engine.environment(stack),
            shown=shown,
        )
    if done.returncode and not shown:
        raise ToolsError(f"pulumi {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done


def ensure(stack: str) -> None:
    """The stack exists and is the selected one."""
    settings_file(stack)
    exists = engine.own_backend() is None and engine.state_file(stack).exists()
    if not exists or _selected() != stack:
        pulumi(stack, "stack", "select", "--create", shown=False)


def _selected() -> str | None:
    """What Pulumi noted for this checkout; asking the program itself takes half a second."""
    for path in (engine.home() / "workspaces").glob(f"{engine.PROJECT}-*-workspace.json"):
        note = json.loads(path.read_text())
        return str(note["stack"]).rpartition("/")[2] if note.get("stack") else None
    return None


def is_alive(lock: dict[str, Any], proc: Path = Path("/proc")) -> bool:
    """Whether the process of a state lock may still run.

    Only what ran on this machine can be known to be dead. A process that got the number of a
    dead one is told apart by its name; one that nobody has asked for its end yet still has both.
    """
    if lock.get("hostname") != socket.gethostname():
        return True
    try:
        name, _, rest = (proc / str(lock["pid"]) / "stat").read_text().rpartition(") ")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "(pulumi" in name and rest[0] not in "ZX"


def release_dead_locks(stack: str) -> None:
    """Take away the lock of a killed update, and never that of a running one."""
    locks = engine.lock_files(stack)
    for path in locks:
        try:
            lock = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # being given back, or taken, this very moment
        if is_alive(lock):
            raise ToolsError(
                f"Stack {stack} is being updated by process {lock['pid']} of {lock['username']} "
                f"on {lock['hostname']}, since {lock['timestamp'][:19]}.\n"
                "Wait for it, or end it. If you know that it is gone: "
                f'eval "$(make -s env)"; pulumi cancel --stack {stack}'
            )
    if locks:
        say(f"The last update of stack {stack} was killed; its lock is released")
        pulumi(stack, "cancel", "--yes", shown=False)


def has_resources(stack: str) -> bool:
    """Whether the state has anything in it."""
    return bool(resources(stack))


def resources(stack: str) -> list[dict[str, Any]]:
    """All that the state has, or may have since it was being made or changed.

    An operator's own backend is asked.
    """
    if engine.own_backend() is None:
        path = engine.state_file(stack)
        latest = json.loads(path.read_text())["checkpoint"].get("latest") if path.exists() else None
    else:
        latest = json.loads(pulumi(stack, "stack", "export", shown=False).stdout)["deployment"]
    latest = latest or {}
    pending = [one.get("resource") or {} for one in latest.get("pending_operations") or ()]
    return [*(latest.get("resources") or ()), *pending]


def protected(stack: str) -> list[str]:
    """The names of resources that Pulumi will refuse to delete."""
    return [str(one["urn"]).rpartition("::")[2] for one in resources(stack) if one.get("protect")]


def forget(stack: str) -> None:
    """Empty a stack's state without touching what it speaks of: that is gone already."""
    say(f"The hosts of stack {stack} are gone; its state is emptied")
    pulumi(stack, "stack", "rm", "--force", "--yes", "--preserve-config", shown=False)
    pulumi(stack, "stack", "select", "--create", shown=False)


def outputs(stack: str) -> dict[str, Any]:
    done = pulumi(stack, "stack", "output", "--json", "--show-secrets", shown=False)
    return dict(json.loads(done.stdout))
