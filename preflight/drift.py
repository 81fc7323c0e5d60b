"""What of a host is no longer as a recipe left it, in words that make ``up`` repair it once.

A host remembers the words of its last repair (``<recipe>.repaired``). As long as nothing differs
those words are given again, so a preview after the repair is clean. New differences get new words,
with a number in front: the same file spoilt a second time is a new repair.

A host that has not even the manifest of a recipe has lost what the recipe did, and with it the
number; the host's time makes those words new. The same goes for a host that nobody has touched yet,
or that was installed anew: Pulumi may still believe that everything is on it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from preflight.facts import Facts

MISSING = "everything is missing"
LONGEST = 400
"""Characters of a text; a host that lost everything need not list everything."""


def repairs(
    facts: Facts, expected: Sequence[str] = (), chosen: Sequence[str] = ()
) -> dict[str, str]:
    """Recipe → the words to give to it. Recipes that never needed a repair are absent.

    Args:
        facts: of the host.
        expected: the recipes that run on it.
        chosen: those that do because the stack file asks for them: perhaps since today, so that
            they are missed only where others are as well, as on a host that was installed anew.
    """
    if set(expected) - facts.recipes:
        expected = [*expected, *chosen]
    recipes = sorted({*facts.recipes, *facts.repaired, *expected})
    due = {recipe: _due(facts, recipe, expected) for recipe in recipes}
    return {recipe: words for recipe, words in due.items() if words}


def found(facts: Facts, expected: Sequence[str] = ()) -> list[str]:
    """Differences that wait for a repair, one sentence each; none on a host not ours yet."""
    lost = set(expected) - facts.recipes if facts.cluster is not None else set[str]()
    return [
        f"{recipe}: {difference}"
        for recipe in sorted({*facts.drift, *lost})
        for difference in facts.drift.get(recipe, (MISSING,))
    ]


def outlook(difference: str) -> str:
    """Say what becomes of a difference: who masks a service means it."""
    if ".service is masked, " in difference:
        return "`up` fails until it is unmasked"
    return "`up` repairs it"


def _due(facts: Facts, recipe: str, expected: Sequence[str]) -> str:
    last = facts.repaired.get(recipe, "")
    if recipe in expected and recipe not in facts.recipes:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(facts.time))
        if facts.cluster is None:
            return f"joins, {when}"
        return f"repair {_number(last) + 1}, {when}: {MISSING}"
    differences = facts.drift.get(recipe, ())
    if not differences:
        return last
    return f"repair {_number(last) + 1}: {shortened(differences)}"


def _number(words: str) -> int:
    """The 3 of ``repair 3: …``; 0 when there was none."""
    number = re.match(r"repair (\d+)", words)
    return int(number[1]) if number else 0


def shortened(differences: Sequence[str]) -> str:
    text = "; ".join(differences)
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST].rpartition('; ')[0]}; … ({len(differences)} differences)"
