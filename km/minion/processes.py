"""Programs that have to run as long as the node does: started again when they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
"""Before a command: the kernel kills it when the minion is killed where Mesos kills nobody else."""
STEADY = 60.0
"""Seconds after which a process counts as well, and its next end as its first."""


def pause(failures: int) -> float:
    """Seconds to wait before a process that ended so often is started again."""
    return float(min(FIRST_PAUSE * 2 ** max(failures - 1, 0), LONGEST_PAUSE))


@dataclass
class Process:
    """One supervised program."""

    name: str
    command: Sequence[str]
    log_path: str
    environment: Mapping[str, str]
    prefix: Sequence[str] = ()
    """Command that enters the host's mounts, or nothing."""
    restarts: int = 0
    failures: int = 0
    pid: int | None = None
    last_end: str = ""
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it now.

        Raises:
            OSError: it cannot be started.
        """
        with Path(self.log_path).open("ab") as output:
            self._child = subprocess.Popen(
                [*self.prefix, *ENDS_WITH_US, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd="/",
            )
        self.pid = self._child.pid

    async def keep(self, changed: asyncio.Condition) -> None:
        """Wait for its end and start it again, for ever; cancel to stop doing so.

        Args:
            changed: notified whenever a child of this process ended (SIGCHLD).
        """
        while True:
            started = time.monotonic()
            async with changed:
                await changed.wait_for(lambda: self._poll() is not None)
            if time.monotonic() - started > STEADY:
                self.failures = 0
            self.failures += 1
            wait = pause(self.failures)
            log.warning("%s ended (%s); again in %.1f s", self.name, self.last_end, wait)
            await asyncio.sleep(wait)
            self.restarts += 1
            try:
                self.start()
            except OSError as error:
                self.last_end = str(error)

    def _poll(self) -> int | None:
        code = self._child.poll() if self._child else 0
        if code is not None:
            self.pid = None
            self.last_end = f"status {code}" if code >= 0 else f"signal {-code}"
        return code

    def signal(self, number: signal.Signals) -> None:
        if self._child and self._child.poll() is None:
            self._child.send_signal(number)

    async def stop(self, seconds: float) -> None:
        """End it: SIGTERM, then SIGKILL after some seconds."""
        self.signal(signal.SIGTERM)
        end = time.monotonic() + seconds
        while self._child and self._child.poll() is None:
            if time.monotonic() > end:
                self.signal(signal.SIGKILL)
            await asyncio.sleep(0.02)
        self.pid = None


def logs_in(sandbox: str, processes: Iterable[Process]) -> list[str]:
    """Everything that is written for as long as the node lives: its programs' logs and our own.

    Ours are what Mesos made standard output and error (opened to append, as `cut_log` needs it).
    """
    own = [f"{sandbox}/{name}" for name in ("stdout", "stderr")]
    return [*own, *(process.log_path for process in processes)]


def cut_log(path: str, largest: int) -> bool:
    """Keep a log below a size: its text moves to ``<path>.1``, the file itself stays open.

    Lines written between copying and cutting are lost; the writer appends, so none is damaged.
    """
    with contextlib.suppress(FileNotFoundError):
        if Path(path).stat().st_size > largest:
            shutil.copyfile(path, f"{path}.1")
            os.truncate(path, 0)
            return True
    return False
