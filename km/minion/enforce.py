"""Holds the cgroup of all pods to what their tasks were granted, upwards and downwards."""

from __future__ import annotations

import errno
from pathlib import Path

from km.minion.cgroups import Tree
from km.minion.limits import cpu_files, memory_limit, next_limit, unreclaimable
from km.minion.tasks import Share

UNLIMITED = {1: "-1", 2: "max"}
NO_LIMIT = 2**62
"""Version 1 shows an absent limit as the largest multiple of a page below 2**63."""


class Enforcer:
    """Writes limits. Raising takes effect at once; lowering may need several tries."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._written: dict[str, str] = {}
        self.memory_held: int | None = None
        """Bytes that the pods may use together right now; None: unlimited."""

    def apply(self, *, executor: Share, pods: Share) -> bool:
        """Set everything; return False when memory could not be lowered as far as wanted.

        Raises:
            OSError: the kernel refused for another reason than memory that is in use.
        """
        self._write_cpu(self._tree.pods, pods, quota=True)
        wanted = memory_limit(pods)
        if self._tree.granted:
            settled = self._set_memory(self._tree.pods, wanted)
            self.memory_held = wanted if settled else self._limit_now()
            return settled
        self._write_cpu(self._tree.path, executor + pods, quota=False)
        total = memory_limit(Share(memory_limit=executor.memory + pods.memory_limit))
        # The outer group is raised before and lowered after the inner one, so that at no time
        # the node's own processes have less than their part.
        raising = wanted is None or self.memory_held is None or wanted >= self.memory_held
        if raising:
            self._set_memory(self._tree.path, total)
        settled = self._set_memory(self._tree.pods, wanted)
        self.memory_held = wanted if settled else self._limit_now()
        if not raising and settled:
            settled = self._set_memory(self._tree.path, total)
        return settled

    def mesos_limits_memory(self) -> bool:
        """Whether Mesos itself holds the container to a size: no task has an infinite limit."""
        if not self._tree.granted:
            return False
        file = Path(self._tree.directory("memory", self._tree.path), "memory.limit_in_bytes")
        return int(file.read_text()) < NO_LIMIT

    def _write_cpu(self, path: str, share: Share, *, quota: bool) -> None:
        directory = self._tree.directory("cpu", path)
        for name, value in cpu_files(self._tree.version, share, quota=quota).items():
            self._write(f"{directory}/{name}", value)

    def _set_memory(self, path: str, wanted: int | None) -> bool:
        directory = self._tree.directory("memory", path)
        version = self._tree.version
        file = f"{directory}/{'memory.limit_in_bytes' if version == 1 else 'memory.max'}"
        if wanted is None:
            self._write(file, UNLIMITED[version])
            return True
        limit = next_limit(wanted, self._in_use(directory)) if version == 2 else wanted
        try:
            self._write(file, str(limit))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            usage = int(Path(directory, "memory.usage_in_bytes").read_text())
            limit = next_limit(wanted, usage)
            self._lower(file, limit)
        return limit == wanted

    def _lower(self, file: str, limit: int) -> None:
        """Go down part of the way; use may have grown meanwhile, then the next try does it."""
        if limit >= int(Path(file).read_text()):
            return
        try:
            self._write(file, str(limit))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise

    def _in_use(self, directory: str) -> int:
        current = int(Path(directory, "memory.current").read_text())
        return unreclaimable(current, Path(directory, "memory.stat").read_text())

    def _limit_now(self) -> int | None:
        directory = self._tree.directory("memory", self._tree.pods)
        name = "memory.limit_in_bytes" if self._tree.version == 1 else "memory.max"
        text = Path(directory, name).read_text().strip()
        return None if text == "max" else int(text)

    def _write(self, file: str, value: str) -> None:
        if self._written.get(file) != value:
            self._written.pop(file, None)
            Path(file).write_text(value)
            self._written[file] = value
