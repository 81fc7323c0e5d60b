"""Putting the stand-ins where Pulumi finds them, and taking them away.

Installed stand-ins know nothing of the clone they came from. Their code is copied to the cache
under the digest of its contents, and runs with a virtual environment of its own there; so a clone
may be deleted, and two clones with different code do not disturb each other. Pulumi's own plugins
come first: a download is tried, and what Pulumi installed is never touched.
"""

from __future__ import annotations

import compileall
import hashlib
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent
PROVIDERS = {"command": "1.2.1", "kubernetes": "4.32.0"}
"""The providers and the versions of the real plugins that they stand in for."""

HOST = "language-python"
HOST_VERSION = "3.259.0"

SHIM = "pulumi-language-python-exec"
DOWNLOAD_SECONDS = 180.0
MARK = "STAND-IN"
"""A file of this name lies beside each installed stand-in and holds the digest of its code."""


class InstallError(Exception):
    """The stand-ins cannot be installed; the text says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where stand-ins go."""

    pulumi_home: Path
    pulumi: Path
    """Pulumi's command line program."""

    python: Path
    """The interpreter that the stand-ins' virtual environment is made with."""

    cache: Path

    def plugin(self, name: str) -> Path:
        """The directory in Pulumi's plugin cache. A language host on PATH or beside pulumi wins."""
        full = f"{HOST}-v{HOST_VERSION}" if name == HOST else f"resource-{name}-v{PROVIDERS[name]}"
        return self.pulumi_home / "plugins" / full


def default_cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("KUBERNETES_MESOS_CACHE") or base / "kubernetes-mesos")


def install(place: Place, *, offline: bool = False) -> dict[str, str]:
    """Install what is missing; returns "stand-in" or "real" for each plugin. Safe to repeat.

    `offline` leaves out the attempt to download the real ones. Raises InstallError.
    """
    installed = inspect(place)
    for name in PROVIDERS:
        if installed[name] == "missing" and not offline and download(place, name):
            installed[name] = "real"
    standing_in = [name for name, kind in installed.items() if kind != "real"]
    if standing_in:
        code = installed_code(place)
        for name in standing_in:
            wrap(place.plugin(name), code, name)
    return {name: "stand-in" if name in standing_in else "real" for name in installed}


def inspect(place: Place) -> dict[str, str]:
    """What each plugin is now: "real", "stand-in" or "missing"."""
    found = {name: kind_of(place.plugin(name)) for name in (*PROVIDERS, HOST)}
    if find_real_host(place):
        found[HOST] = "real"
    return found


def download(place: Place, name: str) -> bool:
    """Have Pulumi download its own plugin; whether that worked."""
    command = [str(place.pulumi), "plugin", "install", "resource", name, PROVIDERS[name]]
    try:
        run(command, place, seconds=DOWNLOAD_SECONDS)
    except (InstallError, subprocess.TimeoutExpired):
        return False
    return kind_of(place.plugin(name)) == "real"


def uninstall(place: Place) -> list[Path]:
    """Remove the stand-ins from Pulumi's home; returns what went. The cache is for others, too."""
    directories = [place.plugin(name) for name in (*PROVIDERS, HOST)]
    ours = [directory for directory in directories if kind_of(directory) == "stand-in"]
    for directory in ours:
        shutil.rmtree(directory)
    return ours


def kind_of(directory: Path) -> str:
    """What an installed plugin's directory holds: "stand-in", "real" or "missing"."""
    if is_ours(directory):
        return "stand-in"
    return "real" if directory.is_dir() and any(directory.iterdir()) else "missing"


def is_ours(directory: Path) -> bool:
    return (directory / MARK).exists()


def find_real_host(place: Place) -> Path | None:
    """A language host of Pulumi's own, beside its program or on PATH, where it looks first."""
    beside = place.pulumi.resolve().parent / executable_of(HOST)
    on_path = shutil.which(executable_of(HOST))
    found = [beside, *([Path(on_path)] if on_path else [])]
    return next((host for host in found if host.exists() and not is_ours(host.parent)), None)


def executable_of(name: str) -> str:
    return f"pulumi-{name}" if name == HOST else f"pulumi-resource-{name}"


def wrap(directory: Path, code: Path, name: str) -> None:
    """Write the executable that runs the stand-in `name` from the cache, and the mark beside it.

    Isolated (-I), so that no variable or working directory of the caller leads Python elsewhere,
    and no variable of ours reaches the commands and programs that a plugin runs.
    """
    directory.mkdir(parents=True, exist_ok=True)
    python, main = (code / "venv").readlink() / "bin" / "python", code / "main.py"
    command = shlex.join([str(python), "-I", str(main), name])
    executable = executable_of(name)
    script = f'#!/bin/sh\n# A stand-in for Pulumi\'s {executable}.\nexec {command} "$@"\n'
    replace(directory / executable, script, 0o755)
    replace(directory / MARK, code.name, 0o644)


def replace(path: Path, text: str, mode: int) -> None:
    """Write a file in one step: a plugin may be starting from it right now."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.chmod(mode)
    partial.rename(path)


def installed_code(place: Place) -> Path:
    """The directory in the cache with a copy of this code, its shim and its environment."""
    sources = {path.relative_to(SOURCES): path.read_bytes() for path in SOURCES.rglob("*.py")}
    requirements = (SOURCES / "requirements.txt").read_text()
    python = run([str(place.python), "--version"], place).strip()
    venv = place.cache / "plugins" / f"venv-{digest(requirements.encode(), python.encode())}"
    parts = [part for path in sorted(sources) for part in (str(path).encode(), sources[path])]
    shim = find_shim(place)
    code = place.cache / "plugins" / digest(shim.read_bytes(), venv.name.encode(), *parts)
    if not (venv / "bin" / "python").exists():
        make_environment(place, venv)
    if not code.exists():
        partial = code.with_name(f"{code.name}.{os.getpid()}")
        for path, content in sources.items():
            target = partial / "lab" / "plugins" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        (partial / "main.py").write_text(MAIN)
        (partial / "venv").symlink_to(venv)
        shutil.copy(shim, partial / SHIM)
        compileall.compile_dir(partial, quiet=2)
        settle(partial, code)
    return code


MAIN = """\
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from lab.plugins.run import main

main()
"""


def make_environment(place: Place, venv: Path) -> None:
    partial = venv.with_name(f"{venv.name}.{os.getpid()}")
    run([str(place.python), "-m", "venv", str(partial)], place)
    pip = [str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check", "-r", str(SOURCES / "requirements.txt")]
    run(pip, place)
    settle(partial, venv)


def settle(partial: Path, target: Path) -> None:
    """Give a finished directory its name, unless somebody else was quicker."""
    try:
        partial.rename(target)
    except OSError:
        shutil.rmtree(partial)


def find_shim(place: Place) -> Path:
    """Pulumi's own script around a Python program, which lies beside its program."""
    shim = place.pulumi.resolve().parent / SHIM
    if not shim.exists():
        raise InstallError(f"{shim} is missing: Pulumi's releases have it, and so has `make setup`")
    return shim


def digest(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()[:16]


def run(command: list[str], place: Place, *, seconds: float | None = None) -> str:
    """Run a program, out of reach of the caller's own project; returns its stdout."""
    env = {**os.environ, "PULUMI_HOME": str(place.pulumi_home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    place.pulumi_home.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command,
            env=env,
            cwd=place.pulumi_home,
            text=True,
            capture_output=True,
            check=False,
            timeout=seconds,
        )
    except OSError as error:
        raise InstallError(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise InstallError(f"{shlex.join(command)} exited with status {done.returncode}: {said}")
    return done.stdout
