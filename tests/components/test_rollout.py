"""The order in which agents change."""

from __future__ import annotations

import pytest

from components.hosts import Host, Role
from components.rollout import at_once, chains, predecessors


def host(name: str, *, member: bool = True) -> Host:
    return Host(
        name=name,
        roles=frozenset({Role.AGENT}),
        address="10.0.0.1",
        connection=None,
        member=member,
    )


@pytest.mark.parametrize(
    ("share", "agents", "expected"),
    [("25%", 8, 2), ("25%", 3, 1), ("100%", 5, 5), ("50%", 5, 2), ("2", 9, 2), ("10%", 0, 1)],
)
def test_a_share_is_at_least_one_agent(share: str, agents: int, expected: int) -> None:
    assert at_once(share, agents) == expected


def test_as_many_chains_as_may_change_at_once() -> None:
    hosts = [host(name) for name in "abcde"]

    assert predecessors(hosts, "2") == {"a": None, "b": None, "c": "a", "d": "b", "e": "c"}


def test_new_agents_wait_for_nobody_and_nobody_waits_for_them() -> None:
    hosts = [host("a"), host("new", member=False), host("b")]

    assert predecessors(hosts, "1") == {"a": None, "new": None, "b": "a"}


@pytest.mark.parametrize(
    ("width", "before"),
    [
        (1, {"a": None, "b": "a", "c": "b"}),
        (2, {"a": None, "b": None, "c": "a"}),
        (3, {"a": None, "b": None, "c": None}),
    ],
)
def test_as_many_chains_as_are_wide(width: int, before: dict[str, str | None]) -> None:
    assert chains(["a", "b", "c"], width) == before
