"""What a new or changed machine is waited for with, by local commands.

``returned`` stands between one changed machine and the next. It does nothing when it is made. When
what it is told of the machine changes, the machine was stopped or replaced, and the command ends
when the machine answers and all that ran on it runs again. ``answering`` waits for a new machine's
SSH server as well. Whatever depends on them waits for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_command import local

from components.program import PYTHON, run_program
from components.recipe import render, script


@dataclass(frozen=True, kw_only=True)
class Returning:
    """A machine that may be stopped to be changed."""

    name: str
    way: Mapping[str, Any]
    """The way in, as `components.machine` reads it: the key's place, never the key."""

    address: pulumi.Input[str]
    """Where the other machines reach it."""

    machine: Mapping[str, Any]
    """What is another when the machine was stopped or replaced."""

    dial_seconds: int


def returned(
    name: str, returning: Returning, opts: pulumi.ResourceOptions | None = None
) -> local.Command:
    """Wait for a machine, from its first change on."""
    body = script("returned", "up")
    values = {"RECIPE": "returned", "RETURNED_ADDRESS": returning.address}
    spec = {
        **_machine(returning),
        "script": pulumi.Output.all(**values).apply(lambda known: render(body, known)),
        "store": [],
        "images": None,
    }
    return run_program(
        name,
        None,
        spec,
        opts or pulumi.ResourceOptions(),
        update=f"{PYTHON} -m components.machine up",
    )


def answering(
    name: str, returning: Returning, opts: pulumi.ResourceOptions | None = None
) -> local.Command:
    """Wait until a machine that is new, or was changed, lets us in.

    After that one that is silent is down, and need not be waited for: the state says which it is.
    """
    return run_program(
        name, "components.machine reach", _machine(returning), opts or pulumi.ResourceOptions()
    )


def _machine(returning: Returning) -> dict[str, Any]:
    return {
        **returning.way,
        "name": returning.name,
        "machine": returning.machine,
        "dial_seconds": returning.dial_seconds,
    }
