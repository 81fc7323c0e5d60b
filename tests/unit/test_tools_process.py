"""Programs that are let end in their own way when somebody presses Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import process

ROOT = Path(__file__).parents[2]

FAKE = """
import signal, sys, time
from pathlib import Path
log = Path(sys.argv[1])
asked = 0
def stop(*_):
    global asked
    asked += 1
signal.signal(signal.SIGINT, stop)
log.write_text("started")
while not asked:
    time.sleep(0.05)
end = time.monotonic() + 1.5  # far longer than subprocess.run would wait
while asked < 2 and time.monotonic() < end:
    time.sleep(0.05)
log.write_text("ended at once" if asked > 1 else "ended in its own way")
"""

RUNNER = """
import os, sys
from pathlib import Path
from tools import process
try:
    process.run_patiently(
        [sys.executable, *sys.argv[1:]], cwd=Path("/"), environment=os.environ, shown=True
    )
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def started(tmp_path):
    """A runner, in a process group as a terminal makes one, with its fake; and the fake's log."""
    log, fake = tmp_path / "log", tmp_path / "fake.py"
    fake.write_text(FAKE)
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(fake), str(log)], cwd=ROOT, start_new_session=True
    )
    end = time.monotonic() + 20
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < end
        time.sleep(0.02)
    yield runner, log
    runner.kill()
    runner.wait()


def test_after_ctrl_c_a_program_ends_in_its_own_way(started):
    runner, log = started
    os.killpg(runner.pid, signal.SIGINT)

    assert runner.wait(20) == 130
    assert log.read_text() == "ended in its own way"


def test_a_second_interrupt_is_passed_on(started):
    runner, log = started
    os.kill(runner.pid, signal.SIGINT)
    time.sleep(0.4)
    assert runner.poll() is None
    assert log.read_text() == "started"
    os.kill(runner.pid, signal.SIGINT)
    time.sleep(0.4)
    os.kill(runner.pid, signal.SIGINT)

    assert runner.wait(20) == 130
    assert log.read_text() == "ended at once"


@pytest.mark.parametrize("shown", [True, False])
def test_what_a_program_printed_is_kept_when_it_is_not_shown(capfd, shown):
    command = ["sh", "-c", "echo out; echo wrong >&2; exit 3"]
    handler = signal.getsignal(signal.SIGINT)
    done = process.run_patiently(command, cwd=ROOT, environment=os.environ, shown=shown)

    assert done.returncode == 3
    expected = ("out\n", "wrong\n")
    assert (done.stdout, done.stderr) == ((None, None) if shown else expected)
    assert capfd.readouterr() == (expected if shown else ("", ""))
    assert signal.getsignal(signal.SIGINT) is handler
