"""Programs into the cache: from PATH, else as released, else built."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from tools import files, golang, on_path, places, release
from tools.errors import ToolsError
from tools.makers import MAKERS
from tools.programs import Program, architecture
from tools.progress import Steps
from tools.sources import Unavailable

NOTE = ".source.json"

Source = Callable[[Program], str]
SOURCES: tuple[Source, ...] = (on_path.take, release.take, golang.build)
"""In the order in which they are tried. Each gives where the program came from."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an installed program came from."""

    source: str
    """`path`, `release`, `built` or `packed`, and after a colon from where exactly."""
    seconds: float


def origin(program: Program) -> Origin | None:
    """What was noted at installation; None when nothing was."""
    try:
        return Origin(**json.loads((program.directory / NOTE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def refuse_architecture(wanted: Iterable[Program], arch: str) -> None:
    """Name every program that cannot be had for this machine, before anything is installed."""
    missing = [program for program in wanted if arch not in program.architectures]
    if missing:
        parts = ", ".join(f"{p.label} (only {', '.join(p.architectures)})" for p in missing)
        raise ToolsError(
            f"This machine is {arch}, and not everything exists for it: {parts}.\n"
            "Run it on an amd64 machine."
        )


def missing(wanted: Iterable[Program]) -> list[Program]:
    return [program for program in wanted if program.has_sources and not program.is_installed]


def lacking(wanted: Iterable[Program]) -> list[Program]:
    """Name what is missing and has to be there."""
    return [program for program in missing(wanted) if not program.optional]


def install(wanted: Iterable[Program]) -> None:
    """Install what is not installed yet, one after another (a Go build uses every core)."""
    wanted = missing(wanted)
    refuse_architecture(wanted, architecture())
    steps = Steps({program.name: program.seconds for program in wanted})
    for program in wanted:
        install_one(program, steps)


def install_one(program: Program, steps: Steps) -> None:
    """Install one program; two set-ups on one machine do not do so at the same time."""
    lock = places.cache() / "locks" / f"{program.name}.lock"
    with files.locked(lock, lambda: _tell_waiting(program)):
        if program.is_installed:
            steps.finished.add(program.name)
        else:
            _install(program, steps)


def _tell_waiting(program: Program) -> None:
    print(
        f"{program.label}: another set-up on this machine is at it; waiting for it",
        file=sys.stderr,
        flush=True,
    )


def _install(program: Program, steps: Steps) -> None:
    start = time.monotonic()
    with steps.step(program.name, f"{program.label}: {_how(program)}"):
        try:
            source = MAKERS[program.maker](program) if program.maker else _first(program, steps)
        except Unavailable as reason:
            if not program.optional:
                raise ToolsError(f"{program.label}: {reason}") from reason
            steps.say(f"      {reason}\n      Going on without it.")
            return
        for file, names in program.links.items():
            if (program.directory / file).exists():
                for name in names:
                    files.link(program.directory / name, file)
    if program.missing_files:
        raise ToolsError(f"{program.label}: {', '.join(program.missing_files)} did not appear.")
    note = Origin(source=source, seconds=round(time.monotonic() - start, 1))
    files.write(program.directory / NOTE, json.dumps(asdict(note)) + "\n")


def _how(program: Program) -> str:
    return "packing it" if program.maker == "bundle" else "installing it"


def _first(program: Program, steps: Steps) -> str:
    """Take the program from the first source that has it."""
    for source in SOURCES:
        try:
            return source(program)
        except Unavailable as reason:
            if not program.sources:
                steps.say(f"      {reason}")
    raise ToolsError(
        f"{program.label}: neither on PATH, nor released for this machine, nor to be built.\n"
        "The lines above say why."
    )
