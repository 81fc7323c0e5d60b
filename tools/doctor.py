"""`make doctor`: what is installed, in which version, from where, and what is a stand-in."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence

from tools import engine, golang, install, machine, places, plugins, release, state, venv
from tools.errors import ToolsError
from tools.programs import Program, architecture, programs

HEADINGS = ("program", "version", "from", "real?", "path")
HOME = os.path.expanduser("~")  # noqa: PTH111  (a prefix of text, not a path to open)

Row = Sequence[str]


def examine(stack: str) -> int:
    """Print the table, then what is wrong; gives the number of problems."""
    rows = [HEADINGS, *_program_rows(), *_tool_rows(), *_plugin_rows()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    print()
    print(f"machine   {architecture()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"cache     {places.cache()}")
    print(f"state     {engine.own_backend() or engine.backend_url()}")
    print(f"releases  {_releases()}")
    problems = [*_problems(stack)]
    for problem in problems:
        print(f"\nPROBLEM   {problem}")
    if not problems:
        print("\nNothing is missing.")
    return len(problems)


def _program_rows() -> Iterator[Row]:
    for program in programs().values():
        if not program.has_sources:
            continue
        if not program.is_installed:
            yield program.name, program.version, "-", "not installed", ""
            continue
        path = _short(str(program.directory))
        yield program.name, program.version, _from(program), program.stand_in or "real", path


def _from(program: Program) -> str:
    known = install.origin(program)
    return known.source.split(":")[0] if known else "built"


def _tool_rows() -> Iterator[Row]:
    go = shutil.which("go")
    if go:
        yield "go", golang.go_version(go) or "?", "PATH", "real", go
    ready = "real" if venv.is_ready() else "not as wanted"
    yield "python", sys.version.split()[0], "PATH", ready, _short(str(venv.PYTHON))


def _plugin_rows() -> Iterator[Row]:
    kinds = plugins.decided() or {}
    wanted = {plugins.LANGUAGE: programs()["pulumi"].version, **plugins.versions()}
    for name, version in wanted.items():
        if name not in kinds:
            yield f"pulumi {name}", version, "-", "not installed", ""
        elif kinds[name] == "stand-in":
            yield f"pulumi {name}", version, "checkout", "STAND-IN", "lab/plugins"
        else:
            yield f"pulumi {name}", version, "Pulumi", "real", ""


def _releases() -> str:
    """How many releases set-up may take; without any, it builds what is not on PATH."""
    path = release.LOCK.relative_to(release.LOCK.parent.parent)
    listed = len(release.read_lock())
    if listed:
        return f"{listed} listed in {path}"
    return f"none listed in {path}, so programs are built: run `make lock` where publishers answer"


def _problems(stack: str) -> Iterator[str]:
    missing = [program.label for program in install.lacking(programs().values())]
    if missing or plugins.decided() is None or not venv.is_ready():
        yield f"set-up is not complete ({', '.join(missing) or 'see the table'}): make setup"
    found = machine.missing(("set-up", "building", "lab", "tests"))
    lacking = [need for need in found if not need.optional]
    if lacking:
        names = ", ".join(need.command or need.package for need in lacking)
        yield f"missing: {names}: {' '.join(machine.command_for(lacking))}"
    if os.geteuid() and state.hosts_are_on(stack) == "lab":
        yield f"not root, which stack {stack} needs"
    try:
        install.refuse_architecture(programs().values(), architecture())
    except ToolsError as error:
        yield str(error)
    for path in engine.lock_files(stack):
        yield f"stack {stack} is locked by {path}; a dead update's lock goes with the next make up"


def _short(path: str) -> str:
    return path.replace(HOME, "~", 1) if path.startswith(HOME) else path
