"""Who cleans up after a minion that was killed can be started, however km came to the host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from km.minion.__main__ import _program
from tools import bundle

ASK = """\
import json, runpy, sys
sys.argv = [sys.argv[0], "none"]
try:
    runpy.run_module("km", run_name="__main__", alter_sys=True)
except SystemExit:
    from km.minion.__main__ import _program
print(json.dumps(_program()))
"""
"""What an archive's start does, and then the question."""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """km as hosts get it: one file, byte code beside the sources."""
    stage = tmp_path / "stage"
    shutil.copytree(bundle.KM, stage / "km", ignore=shutil.ignore_patterns("__pycache__"))
    (stage / "__main__.py").write_text(bundle.START)
    (stage / "ask.py").write_text(ASK)
    bundle._compile(stage)
    made = tmp_path / "km"
    zipapp.create_archive(stage, made, bundle.INTERPRETER, compressed=True)
    return made


def run(*command: str, path: Path | str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(path)}
    return subprocess.run(
        command, cwd="/", env=environment, capture_output=True, text=True, check=False
    )


def test_the_sweep_is_started_from_the_archive_that_the_minion_runs_from(archive: Path) -> None:
    asked = run(sys.executable, "-m", "ask", path=archive)
    program = json.loads(asked.stdout.splitlines()[-1])

    assert program == [sys.executable, str(archive), "minion"]
    swept = run(*program, "sweep", "--settings", "/none.json")
    assert swept.stderr.startswith("km minion: /none.json: No such file")


def test_from_sources_it_is_started_as_a_module() -> None:
    swept = run(*_program(), "sweep", "--settings", "/none.json", path=bundle.KM.parent)

    assert swept.stderr.startswith("km minion: /none.json: No such file")
