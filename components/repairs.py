"""What a recipe is told to repair: words behind its command, where a preview shows them.

Of machines whose address is known beforehand the words are plain data. Of machines that the program
makes they are an output: each is asked as soon as it is there, in a preview as well. One that does
not answer keeps the command lines it has: nobody knows what differs there.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import pulumi

Words = Mapping[str, str]
"""Recipe → the words of its last or next repair (see `preflight.drift`)."""

Repairs = Words | pulumi.Output[Words | None]
"""None: the host did not answer."""

Ask = Callable[[str, Collection[str], Mapping[str, Any]], Awaitable[Words | None]]
"""Asks one host: its name, its roles, the way in as `components.machine` reads it."""


def asked(
    ask: Ask,
    name: str,
    roles: Collection[str],
    way: Mapping[str, Any],
    after: Sequence[pulumi.Resource],
) -> pulumi.Output[Words | None]:
    """Ask a host when these resources are made or changed and the way in is known.

    By their names, which a preview always knows: a resource that will change does not keep it from
    asking. A machine that is to be made has no address yet, and is not asked.
    """
    known = pulumi.Output.all(way=dict(way), after=[resource.urn for resource in after])

    def answer(now: Mapping[str, Any]) -> Awaitable[Words | None]:
        return ask(name, roles, now["way"])

    words: pulumi.Output[Words | None] = known.apply(answer)
    # Secret only because the host key's private half is; a preview is to show them.
    return pulumi.Output.unsecret(words)


def told(command: str, recipe: str, repairs: Repairs) -> pulumi.Input[str]:
    """Write a command with the words for a recipe behind it, if there are any."""
    if not isinstance(repairs, pulumi.Output):
        return with_words(command, repairs.get(recipe))
    return repairs.apply(lambda words: with_words(command, (words or {}).get(recipe)))


def with_words(command: str, words: str | None) -> str:
    return f"{command} {shlex.quote(words)}" if words else command


def kept_if_silent(repairs: Repairs) -> pulumi.ResourceOptions:
    """Leave ``create`` as the state has it where the host did not answer.

    The words of its last repair are in the state, and only the host could say them again.
    """
    if not isinstance(repairs, pulumi.Output):
        return pulumi.ResourceOptions()
    silent = repairs.apply(lambda words: words is None)

    async def keep(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if not await silent.future():
            return None
        kept = pulumi.ResourceOptions(ignore_changes=["create"])
        return pulumi.ResourceTransformResult(
            args.props, pulumi.ResourceOptions.merge(args.opts, kept)
        )

    return pulumi.ResourceOptions(transforms=[keep])
