"""The stage that most tests of the core begin on."""

from __future__ import annotations

import pytest

from tests.km.core.stage import Stage


@pytest.fixture
def stage() -> Stage:
    """Two agents, both Ready nodes, nothing waits."""
    made = Stage()
    made.up("a", "b")
    return made
