"""A shell, outside the container, that cleans the host when the minion is killed.

Mesos ends a container's processes, or with the posix launcher not even those: pods would go on
in memory that nobody granted any more, and mounts and cgroups would stay.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from km.minion.cgroups import Tree

SCRIPT = """
count=$1; shift
while [ "$count" -gt 0 ]; do
  echo $$ > "$1" || :
  shift; count=$((count - 1))
done
read -r word || word=
[ "$word" = left ] || exec "$@"
"""
LEFT = b"left\n"


class Guard:
    """Reads from a pipe that ends with this process; only ``dismiss`` makes it go without work."""

    def __init__(self, *, escape: Sequence[str], clean_up: Sequence[str], log_path: str) -> None:
        """Start it.

        Args:
            escape: ``cgroup.procs`` files that take it out of the container.
            clean_up: command to become when this process ends without a word.
            log_path: where that command's output goes.
        """
        reading, self._writing = os.pipe()
        command = ["setsid", "--fork", "sh", "-c", SCRIPT, "km-guard"]
        try:
            with Path(log_path).open("ab") as output:
                # setsid forks and ends, so that the guard is nobody's child: Mesos' posix
                # launcher kills by parents, groups and sessions.
                subprocess.run(
                    [*command, str(len(escape)), *escape, *clean_up],
                    stdin=reading,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    check=True,
                )
        finally:
            os.close(reading)

    def dismiss(self) -> None:
        """Nothing is left to clean."""
        os.write(self._writing, LEFT)


def escapes(tree: Tree) -> list[str]:
    """Ways out of a container that Mesos made; in what is ours the guard never was."""
    made_by_mesos = (mount for mount in tree.mounts if mount not in tree.ours)
    return [f"{mount.point}/cgroup.procs" for mount in made_by_mesos]
