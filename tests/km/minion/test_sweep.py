"""What a sweep leaves for the next one when it could not do everything."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from km.minion.network import CONFLIST
from km.minion.settings import Settings, load_settings
from km.minion.sweep import sweep
from tests.km.minion.one_agent import host_files
from tests.km.minion.test_minion_on_real_agent import runtime


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = load_settings(str(host_files(tmp_path)))
    # Programs that leave this machine's network as it is.
    monkeypatch.setenv("PATH", f"{found.bin_dir}:{os.environ['PATH']}")
    Path(found.cni_conf_dir).mkdir(exist_ok=True)
    Path(found.cni_conf_dir, CONFLIST).write_text("{}")
    return found


def test_the_network_stays_known_until_the_runtime_has_let_go_of_its_sandboxes(
    settings: Settings,
) -> None:
    conflist = Path(settings.cni_conf_dir, CONFLIST)

    left = asyncio.run(sweep(settings, None, grace=0, prefix=()))
    assert left
    assert conflist.exists()

    with runtime(Path(settings.container_runtime_endpoint.removeprefix("unix://"))):
        assert asyncio.run(sweep(settings, None, grace=0, prefix=())) == []
    assert not conflist.exists()
