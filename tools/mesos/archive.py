"""The lab's own build as one file, for stacks whose `mesos.source` is an archive."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from pathlib import Path

from tools import files, places
from tools.programs import Program


def pack(program: Program) -> tuple[Path, str]:
    """Put the program's files into an archive; returns its path and sha256.

    The same files give the same bytes: no times, owners or names of this machine are in it.
    """
    archive = places.cache() / "archives" / f"mesos-{program.version}.tar.gz"
    with (
        files.appearing(archive, 0o644) as part,
        part.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted(program.files):
            tar.add(program.directory / name, f"mesos-{program.version}/{name}", filter=_anonymous)
    return archive, hashlib.sha256(archive.read_bytes()).hexdigest()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o755
    return member
