"""Questions to machines that the program makes: each asked when it is there, in preview and up.

Only what is no longer as our recipes left it; a machine of our own making needs no other judgement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

import pulumi

from components.machine import login_of
from preflight import drift
from preflight.ask import AT_ONCE, Answer, Bastions, ask_one
from preflight.hosts import recipes
from preflight.targets import Target


class Asker:
    """Asks machines one by one, as they become known, and not too many at once."""

    def __init__(self) -> None:
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._bastions = Bastions()
        self._asking = 0

    async def ask(
        self, name: str, roles: Collection[str], way: Mapping[str, Any]
    ) -> Mapping[str, str] | None:
        """Say what each recipe of a machine is to be told; None, and a warning, if it is silent.

        Args:
            name: The machine's name.
            roles: What it is for.
            way: The way in, as `components.machine` reads it.
        """
        answer = await self._answer(Target(name=name, login=login_of(way), recipes=recipes(roles)))
        why = silence(answer)
        if answer.facts is None or why:
            pulumi.warn(
                f"{name} could not be asked what of it has changed, so it stays as it is: {why}"
            )
            return None
        for difference in drift.found(answer.facts, answer.target.recipes):
            pulumi.warn(f"{name}: {difference}; {drift.outlook(difference)}")
        return drift.repairs(answer.facts, answer.target.recipes)

    async def _answer(self, target: Target) -> Answer:
        """Ask; who asks last closes the bastions, because nobody says when that is all."""
        self._asking += 1
        try:
            return await ask_one(target, self._gate, self._bastions)
        finally:
            self._asking -= 1
            if not self._asking:
                used, self._bastions = self._bastions, Bastions()
                await used.close()


def silence(answer: Answer) -> str:
    """Say why an answer says nothing of the machine; empty if it does."""
    if answer.facts is None:
        where = (answer.bastion or answer.target.login).where
        found = {
            "key-file": answer.detail,
            "host-key": f"{where} shows {answer.detail or 'another key'}, not the key it was given",
            "login": f"{where} lets nobody in with this user and key: {answer.detail}",
        }.get(answer.failure or "", f"{where}: {answer.detail or 'no answer'}")
        return f"bastion {found}" if answer.bastion else found
    if answer.facts.sudo not in {"root", "ok"}:
        # What only root may read would look lost.
        return f"{answer.facts.user} may not use sudo there without a password"
    return ""
