"""Run a shell recipe on a host. The only module that knows how commands get to hosts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pulumi
from pulumi_command import remote

from components.hosts import Host
from components.repairs import kept_if_silent, told

RECIPES = Path(__file__).parent / "recipes"

TIMEOUT_S = 900
"""A command whose connection is gone would otherwise run on as root for ever."""


def run_recipe(
    name: str,
    recipe: str,
    host: Host,
    values: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
    *,
    only_down: bool = False,
    subject: str = "",
) -> remote.Command:
    """Bring one host to the state that ``recipes/<recipe>.sh`` describes.

    The script goes in on stdin, not on the command line: a failed command prints its command line,
    and stdin may hold secrets. A changed script or value is an input change, so the recipe runs
    again in place; ``triggers`` would replace the resource and run ``down`` after ``up``.

    Args:
        name: The resource's name; ends with the host's.
        recipe: File name without ``.sh``.
        host: Where it runs. When the host's machine goes, nothing is run any more.
        values: The variables that the script reads.
        opts: Parent and dependencies.
        only_down: Do nothing now; ``down`` runs when the resource goes.
        subject: Tells runs of one recipe on one host apart.
    """
    known_as = f"{recipe}-{subject}" if subject else recipe
    body = script(recipe)
    shell = f"timeout --kill-after=10 {TIMEOUT_S} bash -s --"
    if host.user != "root":
        shell = f"sudo -n {shell}"
    machine = [host.machine] if host.machine else []
    return remote.Command(
        name,
        connection=host.connection,
        create=None if only_down else told(f"{shell} up", known_as, host.repairs),
        delete=f"{shell} down",
        stdin=rendered(body, {**values, "RECIPE": known_as}),
        add_previous_output_in_env=False,
        opts=pulumi.ResourceOptions.merge(
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(deleted_with=host.machine, depends_on=machine)
            ),
            pulumi.ResourceOptions() if only_down else kept_if_silent(host.repairs),
        ),
    )


FUNCTION = re.compile(r"^(\w+)\(\) \{\n.*?^\}\n\n?", re.MULTILINE | re.DOTALL)
"""A function of common.sh."""

COMMENT = re.compile(r"^ *#.*\n", re.MULTILINE)


def script(recipe: str) -> str:
    """Read a recipe, and before it what it uses of what all recipes share."""
    common, own = ((RECIPES / file).read_text() for file in ("common.sh", f"{recipe}.sh"))
    return f"{only_used(common, own)}\n{own}"


def only_used(common: str, own: str) -> str:
    """Leave out the comments, and the functions that nobody calls.

    A state holds the text of each command twice, and Pulumi writes the whole of it at each step.
    And who changes a function sees the recipes that use it in the preview, and no others.
    """
    common = COMMENT.sub("", common)
    functions = {found[1]: found[0] for found in FUNCTION.finditer(common)}
    used: set[str] = set()
    texts = [COMMENT.sub("", own)]
    while texts:
        named = set(re.findall(r"\w+", texts.pop())) & functions.keys() - used
        used |= named
        texts += [functions[name] for name in named]
    return FUNCTION.sub(lambda found: found[0] if found[1] in used else "", common)


def rendered(body: str, values: Mapping[str, pulumi.Input[str]]) -> pulumi.Input[str]:
    """Render what may have to be waited for; of what need not be, no output is made."""
    plain = {name: value for name, value in values.items() if isinstance(value, str)}
    awaited = {name: value for name, value in values.items() if name not in plain}
    if not awaited:
        return render(body, plain)
    return pulumi.Output.all(**awaited).apply(lambda known: render(body, {**plain, **known}))


def render(body: str, values: Mapping[str, str]) -> str:
    """Put the values before the script, sorted so that equal inputs give equal text.

    They are not exported: what the script starts has no business with them.
    """
    header = "".join(f"{key}={shlex.quote(values[key])}\n" for key in sorted(values))
    return header + body
