"""The minion's notes: who runs on this host, for people and for the one who cleans up."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from pathlib import Path
from typing import Any

from km.minion.cgroups import Mount, Tree

LOCK_POLL = 0.05


class State:
    """``state.json`` in the state directory. It exists exactly while something may have to go."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._file = Path(directory, "state.json")

    def read(self) -> dict[str, Any] | None:
        """The last notes; None when the last node left nothing behind."""
        try:
            notes = json.loads(self._file.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return notes if isinstance(notes, dict) else {}

    def write(self, notes: dict[str, Any]) -> None:
        """Replace the notes in one step."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(notes, indent=1))
        fresh.replace(self._file)

    def clear(self) -> None:
        self._file.unlink(missing_ok=True)


class Lock:
    """One node, or one clean-up, on a host at a time. Ends with the process that holds it."""

    def __init__(self, directory: str) -> None:
        Path(directory).mkdir(parents=True, exist_ok=True)
        self._file = Path(directory, "lock").open("a+")  # noqa: SIM115 - held until exit

    async def acquire(self, seconds: float) -> bool:
        """Take it within some seconds; False when another still has it."""
        end = asyncio.get_running_loop().time() + seconds
        while not self._take():
            if asyncio.get_running_loop().time() > end:
                return False
            await asyncio.sleep(LOCK_POLL)
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()
        return True

    def _take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def holder(self) -> str:
        self._file.seek(0)
        return self._file.read().strip()


def tree_notes(tree: Tree) -> dict[str, Any]:
    """A tree as JSON, enough for ``tree_from`` to find it again."""
    return {
        "version": tree.version,
        "path": tree.path,
        "granted": tree.granted,
        "mounts": [
            {"point": mount.point, "root": mount.root, "controllers": sorted(mount.controllers)}
            for mount in tree.mounts
        ],
        "ours": [mount.point for mount in tree.ours],
        "origins": list(tree.origins),
    }


def tree_from(notes: dict[str, Any]) -> Tree:
    """The tree that ``tree_notes`` described.

    Raises:
        KeyError, TypeError: these are no such notes.
    """
    mounts = tuple(
        Mount(point=mount["point"], root=mount["root"], controllers=frozenset(mount["controllers"]))
        for mount in notes["mounts"]
    )
    return Tree(
        version=notes["version"],
        path=notes["path"],
        granted=notes["granted"],
        mounts=mounts,
        ours=tuple(mount for mount in mounts if mount.point in notes["ours"]),
        origins=tuple(notes["origins"]),
    )
