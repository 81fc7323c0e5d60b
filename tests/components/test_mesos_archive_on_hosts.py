"""Mesos from an archive, on lab hosts: the programs that run are those of the archive.

The archive is the lab's own build, packed as `make mesos-archive` packs it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.programs import cache
from tests.components.conftest import Made
from tests.components.test_recipes_on_hosts import (
    SIZE,
    RealMachines,
    commands_of,
    on,
    run_all,
    shell,
)
from tools.mesos import archive
from tools.programs import named

STACK = f"archive-{os.getpid()}"
RECIPES = ("zookeeper-control-1", "mesos-master-control-1", "mesos-agent-agent-1")

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="lab hosts need root"),
]


@pytest.fixture(scope="module")
def unpacked() -> Iterator[dict[str, Any]]:
    """The stack file's words for the archive; nothing of it stays in the cache."""
    path, sha256 = archive.pack(named("mesos"))
    place = cache() / "programs/mesos" / f"archive-{sha256[:12]}"
    shutil.rmtree(place, ignore_errors=True)
    yield {"archive": {"url": str(path), "sha256": sha256}, "place": place}
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def recipes(unpacked: dict[str, Any]) -> Iterator[list[Made]]:
    """ZooKeeper, a master and an agent of a stack whose Mesos is an archive."""
    cluster = {
        "hosts": {"on": "lab", "control": {**SIZE, "count": 1}, "agents": {**SIZE, "count": 1}},
        "mesos": {"source": {"archive": unpacked["archive"]}},
    }
    machines = RealMachines()
    try:
        made = {one.name: one for one in commands_of(machines, STACK, cluster)}
        yield [made[name] for name in RECIPES]
    finally:
        for command, stdin in reversed(machines.undo):
            shell(command, stdin)


def test_a_master_and_an_agent_run_from_the_archive(
    recipes: list[Made], unpacked: dict[str, Any]
) -> None:
    first = asyncio.run(run_all(recipes))
    assert {name: said[0] for name, said in first.items()} == dict.fromkeys(RECIPES, 0), first

    place: Path = unpacked["place"]
    for host, unit in (("control-1", "mesos-master"), ("agent-1", "mesos-agent")):
        running = on(
            host, recipes, f"readlink /proc/$(systemctl show -P MainPID {unit})/exe"
        ).strip()
        assert running == f"/var/cache/kubernetes-mesos/programs/mesos/{place.name}/mesos"
    second = asyncio.run(run_all(recipes))
    assert {name: said[:2] for name, said in second.items()} == dict.fromkeys(RECIPES, (0, ""))
