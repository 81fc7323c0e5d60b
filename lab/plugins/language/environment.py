"""Which interpreter, packages and variables a program runs with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

STAGES = {"a": "alpha", "b": "beta", "rc": "rc"}


def venv_of(info: Any) -> Path | None:
    """The virtual environment that `runtime.options.virtualenv` names, if it names one."""
    name = dict(info.options).get("virtualenv") or os.environ.get("PULUMI_VIRTUALENV")
    return (Path(info.root_directory) / name).absolute() if name else None


def python_of(info: Any) -> str:
    """The interpreter for the program. Without a virtual environment: `python3` on PATH."""
    venv = venv_of(info)
    if venv is None:
        return os.environ.get("PULUMI_PYTHON_CMD") or "python3"
    python = venv / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(
            f"the virtual environment {venv} of Pulumi.yaml (runtime.options.virtualenv) does not "
            "exist; create it with `pulumi install --no-plugins`"
        )
    return str(python)


def environment(info: Any, extra: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    env = dict(os.environ)
    if venv := venv_of(info):
        env["VIRTUAL_ENV"] = str(venv)
        env["PATH"] = f"{venv / 'bin'}{os.pathsep}{env.get('PATH', '')}"
        env.pop("PYTHONHOME", None)
    env.update(extra)
    return env


def site_packages(info: Any) -> Path:
    """Where the program's packages lie; a virtual environment need not be asked."""
    if venv := venv_of(info):
        python_of(info)
        if found := sorted((venv / "lib").glob("python3*/site-packages")):
            return found[-1]
    script = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(output_of([python_of(info), "-c", script]))


def output_of(command: list[str]) -> str:
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()


def version_of(python: str) -> str:
    return output_of([python, "--version"]).split()[-1]


def semver(version: str) -> str:
    """1.2.3a4 (PEP 440) as v1.2.3-alpha.4; "" for what has no such form."""
    match = re.fullmatch(r"v?(\d+\.\d+\.\d+)(?:(a|b|rc)(\d+))?.*", version)
    if not match:
        return ""
    release, stage, number = match.groups()
    return f"v{release}" + (f"-{STAGES[stage]}.{number}" if stage else "")


def host_python() -> str:
    """The interpreter that makes new virtual environments: not ours, which is the plugins' own."""
    return getattr(sys, "_base_executable", sys.executable)
