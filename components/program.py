"""Run one of our own Python programs on this machine, with its input on stdin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_command import local

PYTHON = ".venv/bin/python"
"""Relative to the project, where commands start: the same text in every clone."""

KEEP_OUTPUT = 'printf %s "$PULUMI_COMMAND_STDOUT"'
"""What prints the output of the run before again."""


def run_program(
    name: str,
    arguments: pulumi.Input[str] | None,
    spec: Mapping[str, Any] | pulumi.Output[Mapping[str, Any]],
    opts: pulumi.ResourceOptions,
    *,
    update: str | None = None,
    delete: str | None = None,
    secret: bool = False,
) -> local.Command:
    """Run ``python -m <arguments>``; it reads JSON and prints JSON.

    Args:
        name: The resource's name.
        arguments: The module and its arguments; None: there is something to undo, nothing to do.
        spec: What it reads; it or values of it may be outputs.
        opts: Parent and dependencies.
        update: The shell command that runs instead when the spec changes.
        delete: The module and its arguments that undo it, with the same input.
        secret: Its output holds secrets.
    """
    text = text_of(spec)
    if secret:
        opts = pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(additional_secret_outputs=["stdout"])
        )
    return local.Command(
        name,
        create=command_line(arguments) if arguments is not None else None,
        update=update,
        delete=f"{PYTHON} -m {delete}" if delete else None,
        stdin=text,
        logging=local.Logging.STDERR,
        add_previous_output_in_env=update is KEEP_OUTPUT,
        opts=opts,
    )


def command_line(arguments: pulumi.Input[str]) -> pulumi.Input[str]:
    if isinstance(arguments, str):
        return f"{PYTHON} -m {arguments}"
    return pulumi.Output.concat(f"{PYTHON} -m ", arguments)


def text_of(spec: Mapping[str, Any] | pulumi.Output[Mapping[str, Any]]) -> pulumi.Input[str]:
    """Write a spec as JSON: at once where all of it is known, for outputs are not cheap.

    Pulumi makes one of each part of each value, unless the whole is one already.
    """
    if isinstance(spec, pulumi.Output):
        return spec.apply(lambda known: json.dumps(known, sort_keys=True))
    try:
        return json.dumps(spec, sort_keys=True)
    except TypeError:  # an output somewhere in it
        return pulumi.Output.from_input(dict(spec)).apply(
            lambda known: json.dumps(known, sort_keys=True)
        )
