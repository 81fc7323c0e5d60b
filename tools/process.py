"""Programs that are run where the operator sees what they say."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tools import places
from tools.errors import ToolsError


def run(
    command: Sequence[str | Path],
    failure: str,
    *,
    cwd: Path = places.ROOT,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Run a program to its end; `failure` is what to tell the operator when it fails.

    Raises:
        ToolsError: it failed; its own words stand above ours.
    """
    if subprocess.run(command, cwd=cwd, env=environment, check=False).returncode:
        raise ToolsError(failure)


def run_patiently(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    shown: bool,
) -> subprocess.CompletedProcess[str]:
    """Run a program that has to end in its own way, also after Ctrl-C.

    `subprocess.run` would kill it a quarter of a second later. Not `shown`, its output is kept.

    Raises:
        KeyboardInterrupt: there was a Ctrl-C, and the program has ended since.
    """
    pipe = None if shown else subprocess.PIPE
    with (
        _interrupts() as interrupts,
        subprocess.Popen(
            command, cwd=cwd, env=environment, text=True, stdout=pipe, stderr=pipe
        ) as child,
    ):
        interrupts.child = child
        output, errors = child.communicate()
    if interrupts.count:
        raise KeyboardInterrupt
    return subprocess.CompletedProcess(command, child.returncode, output, errors)


class _Interrupts:
    """Ctrl-C, counted instead of raised."""

    child: subprocess.Popen[str] | None = None
    count = 0

    def __call__(self, number: int, _: FrameType | None) -> None:
        """The terminal sends the first one to the program as well. Another is passed on: it may
        have got none, and means to stop at once where the first one asked to stop.
        """
        self.count += 1
        if self.count > 1 and self.child is not None:
            self.child.send_signal(number)


@contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    interrupts = _Interrupts()
    before = signal.signal(signal.SIGINT, interrupts)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
