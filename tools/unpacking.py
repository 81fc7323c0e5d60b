"""A bundle that a stack file names, used instead of everything out there.

Before set-up looks for anything: what the bundle has is then in the cache, nothing is built, and
pip takes its wheels.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import bundle_file, places, state, wheels
from tools.bundle_file import BundleError, Index
from tools.programs import Program, architecture, programs


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a bundle must be for, to be of use to this machine and this checkout."""

    architecture: str
    python: str
    wheels: str
    programs: Mapping[str, str]
    """Version by name."""


def use(stack: str) -> None:
    """Have in the cache what the stack's bundle has, if it names one.

    Raises:
        BundleError: It cannot be used; the cache is as it was.
    """
    named = state.bundle_of(stack)
    if named is None:
        return
    path = Path(named).expanduser()
    index = bundle_file.read(path)
    for problem in refusals(path, index, wanted()):
        raise problem
    cache = places.cache()
    if not bundle_file.is_unpacked(index, cache):
        print(f"{path}: checking and unpacking {index.size // 10**6} MB", file=sys.stderr)
        bundle_file.unpack(path, index, cache)
    # pip's own settings, so that whoever runs it takes these and asks nobody.
    os.environ["PIP_NO_INDEX"] = "1"
    os.environ["PIP_FIND_LINKS"] = str(wheels.directory())


def wanted() -> Wanted:
    return Wanted(
        architecture=architecture(),
        python=wheels.python(),
        wheels=wheels.digest(),
        programs=versions(programs().values()),
    )


def versions(table: Iterable[Program]) -> dict[str, str]:
    """Name what set-up would have to get elsewhere; what is optional it goes on without."""
    return {
        program.name: program.version
        for program in table
        if program.has_sources and not program.optional
    }


def refusals(path: Path, index: Index, here: Wanted) -> Iterator[BundleError]:
    """Say why a bundle is of no use here, the weightiest reason first."""
    if index.architecture != here.architecture:
        yield BundleError(
            path,
            f"is for {index.architecture}",
            f"one for {here.architecture}, which this machine is",
            f"run `make bundle` on a machine that is {here.architecture}",
        )
    others = [
        f"{name} {index.programs.get(name, 'missing')} instead of {version}"
        for name, version in here.programs.items()
        if index.programs.get(name) != version
    ]
    if others:
        yield BundleError(
            path,
            f"has {', '.join(others)}",
            "the versions that this checkout wants",
            "run `make bundle` in a checkout of the same commit as this one",
        )
    if index.python != here.python or index.wheels != here.wheels:
        yield BundleError(
            path,
            f"has packages for Python {index.python}, from lists {index.wheels}",
            f"Python {here.python} and lists {here.wheels} (requirements*.txt), as here",
            f"run `make bundle` with Python {here.python} in a checkout of the same commit as this "
            f"one, or here `make setup PYTHON=python{index.python}`",
        )
