"""Recognising a process again, although process ids are used anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that can be told from a later one with the same id."""

    pid: int
    start: int
    """Clock ticks since boot."""
    boot: str
    """The machine's boot id: after a reboot all ids and ticks are used again."""

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now.

        Raises:
            ProcessLookupError: there is none.
        """
        state = _stat(pid)
        if state is None:
            raise ProcessLookupError(pid)
        return cls(pid=pid, start=int(state[19]), boot=boot_id())

    def lives(self) -> bool:
        """Whether it still runs; a zombie does not."""
        state = _stat(self.pid)
        return (
            self.boot == boot_id()
            and state is not None
            and state[0] not in {"Z", "X"}
            and int(state[19]) == self.start
        )


def boot_id() -> str:
    """What changes with each boot of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name (which may hold spaces): state first."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()
