"""A stack from its first `up` to after its last `down`, also when something died in between."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools import files, labs, machine, places, settling, state
from tools.errors import ToolsError
from tools.progress import duration

ANSWERS = ("smoke_test",)
"""Outputs that show that the cluster answers."""


def check_root(stack: str) -> None:
    if state.hosts_are_on(stack) == "lab" and os.geteuid():
        machine.refuse_without_root(stack)


def up(stack: str) -> None:
    """Bring a stack up, whatever state an earlier attempt left it in, and show what it says."""
    start = time.monotonic()
    state.release_dead_locks(stack)
    state.ensure(stack)
    on_lab = state.hosts_are_on(stack) == "lab"
    if on_lab:
        labs.refuse_others(stack)
    revived = on_lab and labs.revive(stack)
    started = time.time()
    _run(stack, "up", "--yes", "--skip-preview")
    write_kubeconfig(stack)
    if reason := _reason_to_refresh(stack, revived=revived):
        state.say(f"{reason}: making what was lost again")
        settling.settle(stack, since=started)
        _run(stack, "up", "--refresh", "--yes", "--skip-preview")
    _show(stack, duration(time.monotonic() - start))


def _reason_to_refresh(stack: str, *, revived: bool) -> str | None:
    """Why the state may speak of pods that are lost: nobody replaces them, nor tells the state."""
    if revived:
        return "Hosts were started again"
    lost = settling.lost_pods(state.resources(stack), settling.read_things(stack))
    return f"{', '.join(lost)} went with its node, or was deleted" if lost else None


def preview(stack: str) -> None:
    state.ensure(stack)
    _run(stack, "preview")


def down(stack: str) -> None:
    """Take away everything that a stack is made of; the stack itself stays, empty."""
    on_lab = state.hosts_are_on(stack) == "lab"
    state.release_dead_locks(stack)
    if on_lab:
        labs.refuse_others(stack)
    if on_lab and labs.is_dead(stack):
        state.forget(stack)  # there is nobody left to ask to take things away
    elif state.has_resources(stack):
        _refuse_protected(stack)
        _run(stack, "destroy", "--yes", "--skip-preview")
    if on_lab:
        labs.remove(stack)
    places.kubeconfig(stack).unlink(missing_ok=True)
    print(f"Stack {stack} is down. The caches are kept: {places.cache()}")


def _refuse_protected(stack: str) -> None:
    """Say no before anything is gone: Pulumi does so when it comes to it, half-way."""
    if kept := state.protected(stack):
        raise ToolsError(
            f"Stack {stack} protects {', '.join(kept)}; nothing was taken away.\n"
            "They hold what cannot be made again. To give that up: write `protect: false` below "
            f"`hosts` in {state.settings_file(stack)}, then make up STACK={stack}, then this again."
        )


def _run(stack: str, command: str, *options: str) -> None:
    if state.pulumi(stack, command, *options, *_plain()).returncode:
        raise ToolsError(
            f"pulumi {command} of stack {stack} failed (see above).\n"
            "Once the cause is gone, the same command goes on from there."
        )


def _plain() -> Sequence[str]:
    """Without a terminal, lines instead of a screen that redraws itself."""
    return () if sys.stdout.isatty() else ("--non-interactive",)


def write_kubeconfig(stack: str) -> Path:
    """The stack's kubeconfig in a file that nobody else can read."""
    state.settings_file(stack)
    text = state.outputs(stack).get("kubeconfig") if state.has_resources(stack) else None
    if not text:
        raise ToolsError(f"Stack {stack} has no kubeconfig yet. Make it: make up STACK={stack}")
    path = places.kubeconfig(stack)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write(path, text if isinstance(text, str) else json.dumps(text), 0o600)
    return path


def _show(stack: str, took: str) -> None:
    """What was reached, and what to type next."""
    shown = state.outputs(stack)
    print(f"\nStack {stack} is up, in {took}.")
    for name in ANSWERS:
        if shown.get(name):
            print(f"\n{str(shown[name]).strip()}")
    option = "" if stack == "local" else f" STACK={stack}"
    print(
        f'\n  eval "$(make -s env{option})"   pulumi and kubectl in this shell\n'
        "  kubectl get nodes,pods -A\n"
        f"  make down{option}                 take it all away again"
    )
