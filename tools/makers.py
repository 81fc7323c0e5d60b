"""Programs of our own that are made neither by a publisher nor by Go."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tools import apt, bundle, files, places, process
from tools.errors import ToolsError
from tools.mesos import build as mesos
from tools.programs import Program, source_files
from tools.sources import Unavailable

BUSYBOX = "busybox-static"
BUSYBOX_RELEASE = "bookworm"
"""The release that has the version of the table: also where machines have another one."""


def make_pause(program: Program) -> str:
    """The process that every pod's sandbox is: static, because its image holds nothing else."""
    (source,) = source_files(program.sources)
    with files.appearing(program.directory / "pause") as part:
        process.run(
            ["gcc", "-Os", "-Wall", "-Wextra", "-static", "-s", "-o", part, source],
            f"{source}: gcc failed (see above).",
        )
    return f"built: {source.relative_to(places.ROOT)}"


def take_busybox(program: Program) -> str:
    """Debian's static busybox, which the smoke pod's image is made of, out of its package.

    Raises:
        Unavailable: no archive of Debian is reached from here.
    """
    with tempfile.TemporaryDirectory() as scratch:
        try:
            apt.fetch(BUSYBOX_RELEASE, [BUSYBOX], Path(scratch))
        except apt.AptError as error:
            raise Unavailable(str(error)) from error
        (deb,) = Path(scratch).glob(f"{BUSYBOX}_*.deb")
        version = apt.field(deb, "Version")
        if f":{program.version}." not in version:
            raise ToolsError(
                f"{BUSYBOX} of {BUSYBOX_RELEASE} is {version}, not {program.version}.\n"
                "Correct tools/programs.toml, and the image's name in stacks/settings.py."
            )
        with files.appearing(program.directory / "busybox") as part:
            part.write_bytes(member_of(deb, "./bin/busybox"))
    return f"packed: Debian's {BUSYBOX} {version}"


def member_of(deb: Path, name: str) -> bytes:
    """One file of a package."""
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as tar,
    ):
        content = next((tar.extractfile(one) for one in tar if one.name == name), None)
        if content is None:
            raise ToolsError(f"{deb.name}: there is no {name} in it.")
        return content.read()


MAKERS: Mapping[str, Callable[[Program], str]] = {
    "bundle": bundle.make,
    "busybox": take_busybox,
    "mesos": mesos.make,
    "pause": make_pause,
}
