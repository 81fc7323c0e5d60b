"""km and the libraries it needs as one executable file.

Hosts have nothing but their distribution's python3 (3.10 or later). Sources travel with the
byte code of the Python that packs them, which lies beside them where an import from an archive
looks for it: that Python starts in 0.2 s, every other one compiles what it imports (0.55 s).
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import sys
import zipapp
from pathlib import Path

from tools import files, places, process, venv
from tools.errors import ToolsError
from tools.programs import Program, digest_of

KM = places.ROOT / "km"
REQUIREMENTS = KM / "requirements.txt"
INTERPRETER = "/usr/bin/env python3"
START = 'import runpy\n\nrunpy.run_module("km", run_name="__main__", alter_sys=True)\n'
NOT_NEEDED = ("*.dist-info", "bin", "_yaml", "**/*.so", "**/__pycache__")
"""PyYAML's compiled half among them: yaml falls back by itself, and an archive cannot hold it."""


def make(program: Program) -> str:
    """Pack the archive, from libraries that are kept as long as their list does not change."""
    stage = program.directory.with_name(f".{program.version}.stage")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        shutil.copytree(libraries(), stage)
        ignored = shutil.ignore_patterns("__pycache__", "*.txt", "*.md")
        shutil.copytree(KM, stage / "km", ignore=ignored)
        (stage / "__main__.py").write_text(START)
        _compile(stage)
        with files.appearing(program.directory / "km") as part:
            zipapp.create_archive(stage, part, INTERPRETER, compressed=True)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return "packed: km and km/requirements.txt"


def libraries() -> Path:
    """The pure Python libraries of km/requirements.txt, installed into the cache."""
    directory = places.cache() / "libraries" / digest_of([REQUIREMENTS])
    if directory.exists():
        return directory
    part = directory.with_name(f".{directory.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    options: list[str | Path] = [
        "--no-deps",
        "--no-compile",
        "--target",
        part,
        "--requirement",
        REQUIREMENTS,
    ]
    process.run(
        [*venv.PIP_INSTALL, *options], f"{REQUIREMENTS}: pip could not install it (see above)."
    )
    for pattern in NOT_NEEDED:
        for path in list(part.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    part.rename(directory)
    return directory


def _compile(stage: Path) -> None:
    """Byte code beside each source, valid without a look at the source's date."""
    good = compileall.compile_dir(
        stage,
        quiet=1,
        legacy=True,
        stripdir=str(stage),
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not good:
        raise ToolsError(f"{KM}: not every file is valid Python {sys.version.split()[0]}.")
