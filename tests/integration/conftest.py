"""One fresh checkout for all tests of the stack; whatever happens, it is taken down at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.checkout import Checkout, fresh_checkout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    made = fresh_checkout(tmp_path_factory.mktemp("checkout"))
    yield made
    # Also when a test failed half way: nothing may stay on the machine.
    if (Path(made.directory) / ".venv").exists():
        made.run("make down", check=False)
