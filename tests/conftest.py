"""What is left out unless somebody asks for it, and how to ask."""

from __future__ import annotations

import os

import pytest

SLOW = "SLOW"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(SLOW):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            name = item.nodeid.partition("::")[0]
            reason = f"many minutes; run: make test SLOW=1 ARGS={name}"
            item.add_marker(pytest.mark.skip(reason=reason))
