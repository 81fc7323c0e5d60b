"""``km minion``: started by a Mesos agent as the executor that is a Kubernetes node.

``km minion sweep`` takes away what a minion that was killed has left on this host.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import km
from km.minion import hierarchy, mounts
from km.minion.agent import Agent
from km.minion.cgroups import CgroupError, Tree, plan
from km.minion.executor import Executor
from km.minion.guard import Guard, escapes
from km.minion.minion import Minion
from km.minion.settings import (
    DEFAULT_PATH,
    Identity,
    Settings,
    SettingsError,
    load_settings,
    parse_identity,
)
from km.minion.state import Lock, State, tree_from
from km.minion.sweep import sweep

log = logging.getLogger(__name__)

LOCK_SECONDS = 45.0
"""Less than the minute that an agent gives an executor to subscribe."""
SWEEP_LOCK_SECONDS = 2.0


def main(arguments: Sequence[str]) -> int:
    """Run; return the exit status. Mistakes of the host's operator are one line on stderr."""
    parser = argparse.ArgumentParser(prog="km minion", description=__doc__)
    parser.add_argument("action", nargs="?", choices=["run", "sweep"], default="run")
    parser.add_argument("--settings", default=DEFAULT_PATH, metavar="FILE")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        settings = load_settings(options.settings)
        if options.action == "sweep":
            return asyncio.run(_sweep(settings))
        path = str(Path(options.settings).absolute())
        return asyncio.run(_run(settings, parse_identity(os.environ), path))
    except (SettingsError, CgroupError) as error:
        print(f"km minion: {error}", file=sys.stderr)
        return 1


async def _run(settings: Settings, identity: Identity, settings_path: str) -> int:
    lock = Lock(settings.state_dir)
    if not await lock.acquire(LOCK_SECONDS):
        raise SettingsError(f"process {lock.holder()} runs or cleans a node on this host already")
    state = State(settings.state_dir)
    prefix = mounts.enter()
    await _sweep_previous(settings, state, prefix)
    tree = _plan(identity)
    guard = Guard(
        escape=escapes(tree),
        clean_up=[*_program(), "sweep", "--settings", settings_path],
        log_path=f"{settings.state_dir}/sweep.log",
    )
    hierarchy.prepare(tree)
    hierarchy.join(tree)
    agent = Agent(endpoint=identity.endpoint, token=identity.token)
    minion = Minion(
        settings,
        identity,
        tree=tree,
        executor=Executor(identity, agent),
        state=state,
        guard=guard,
        prefix=prefix,
    )
    _handle_signals(minion)
    await minion.run()
    return 0


def _plan(identity: Identity) -> Tree:
    return plan(
        mountinfo=Path("/proc/self/mountinfo").read_text(),
        membership=Path("/proc/self/cgroup").read_text(),
        container_id=identity.container_id,
        executor_id=identity.executor_id,
    )


def _handle_signals(minion: Minion) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, minion.leave_soon, f"got {number.name}")
    tasks = set()

    def ended() -> None:
        # The loop keeps no reference of its own to a task.
        task = loop.create_task(minion.child_ended())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGCHLD, ended)


async def _sweep_previous(settings: Settings, state: State, prefix: Sequence[str]) -> None:
    """Take away what the last node on this host left, if it left anything."""
    notes = state.read()
    if notes is None:
        return
    log.warning("the last node on this host did not end in order; cleaning up after it")
    try:
        tree: Tree | None = tree_from(notes["cgroups"])
    except (KeyError, TypeError):
        tree = None
    left = await sweep(settings, tree, grace=0, prefix=prefix)
    for problem in left:
        log.error("left behind: %s", problem)
    if not left:
        state.clear()


async def _sweep(settings: Settings) -> int:
    lock = Lock(settings.state_dir)
    if not await lock.acquire(SWEEP_LOCK_SECONDS):
        log.info("process %s has a node on this host, and cleaned up before", lock.holder())
        return 0
    prefix = mounts.enter()
    await _sweep_previous(settings, State(settings.state_dir), prefix)
    return 0


def _program() -> list[str]:
    """How to start ``km minion`` again: from the archive that it came in, or as a module.

    Asked of the loader: in an archive, the command line names a file inside of it by now.
    """
    if archive := getattr(km.__loader__, "archive", None):
        return [sys.executable, str(Path(archive).absolute()), "minion"]
    return [sys.executable, "-m", "km.minion"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
