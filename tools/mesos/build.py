"""Fetch, modernise and link: the programs of Mesos in one directory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tools import files, process, venv
from tools.mesos import elf
from tools.programs import Program

HERE = Path(__file__).parent
NAMES = ("mesos-master", "mesos-agent", "mesos-containerizer")
SCRIPTS = {"mesos-executor": "executor.py", "mesos-fetcher": "fetcher.py"}
HIDE_EVERYTHING = "{ local: *; };"
"""Linker version script. Nothing of the launcher may take the place of the library's own
(older) inline functions, so its symbols are kept out of the dynamic table."""
COMPILE = ("g++", "-std=c++17", "-O1", "-fPIC", "-pie", "-fvisibility=hidden", "-Wall", "-Wextra")


def make(program: Program) -> str:
    """Fill the program's directory; what is already in it stays."""
    directory = program.directory
    library = directory / "libmesos.so"
    if not library.exists():
        with files.appearing(library) as part:
            _run([venv.PYTHON, "-m", "tools.mesos.library", part])
            _run(["strip", part])
            part.write_bytes(elf.modernise(part.read_bytes())[0])
    if not (directory / "mesos").exists():
        _link(directory)
    for name in NAMES:
        files.link(directory / name, "mesos")
    for name, script in SCRIPTS.items():
        with files.appearing(directory / name) as part:
            part.write_bytes((HERE / script).read_bytes())
    return "built: Apache's library from the package index, and tools/mesos"


def _link(directory: Path) -> None:
    sources = sorted((HERE / "launcher").glob("*.cpp"))
    with (
        tempfile.NamedTemporaryFile("w", suffix=".map") as script,
        files.appearing(directory / "mesos") as part,
    ):
        script.write(HIDE_EVERYTHING)
        script.flush()
        linker = f"-rpath,$ORIGIN,--allow-shlib-undefined,--version-script={script.name}"
        _run([*COMPILE, "-o", part, *sources, f"-L{directory}", "-l:libmesos.so", f"-Wl,{linker}"])


def _run(command: list[str | Path]) -> None:
    process.run(command, f"mesos: {Path(command[0]).name} failed (see above).")
