"""Programs of our own that are made neither by a publisher nor by Go."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tools import bundle, files, places, process
from tools.mesos import build as mesos
from tools.programs import Program, source_files


def make_pause(program: Program) -> str:
    """The process that every pod's sandbox is: static, because its image holds nothing else."""
    (source,) = source_files(program.sources)
    with files.appearing(program.directory / "pause") as part:
        process.run(
            ["gcc", "-Os", "-Wall", "-Wextra", "-static", "-s", "-o", part, source],
            f"{source}: gcc failed (see above).",
        )
    return f"built: {source.relative_to(places.ROOT)}"


MAKERS: Mapping[str, Callable[[Program], str]] = {
    "bundle": bundle.make,
    "mesos": mesos.make,
    "pause": make_pause,
}
