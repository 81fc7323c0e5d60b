"""Mesos' programs as the stack file wants them: fetched and checked here, before anything changes.

An archive is unpacked into the cache and then travels like every other program. Of packages only
the repository's key is fetched: machines get them themselves, and apt checks them by that key.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pulumi

from components.programs import cache

PROGRAMS = ("mesos-master", "mesos-agent")
LAUNCHERS = ("mesos-containerizer", "mesos-executor", "mesos-fetcher")
ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
PIECE = 1 << 20
SECONDS = 60
"""How long a server may be silent."""


class MesosSourceError(pulumi.RunError):
    """What cannot be used; shown as one message, without a stack trace."""

    def __init__(self, place: str, given: str, allowed: str, remedy: str) -> None:
        super().__init__(
            f"cluster.mesos.source.{place}: {given}; nothing was changed.\n"
            f"    allowed: {allowed}\n    do this: {remedy}"
        )


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Where machines fetch Mesos' packages, and what of them is used."""

    line: str
    """URL, suite and component; ``{codename}`` is the machine's release."""

    key: str
    """The text of the key that it is signed with."""

    packages: tuple[str, ...]
    """The first one with its version."""

    version: str
    """What our directory of these programs is called."""

    programs: str
    launchers: str
    """Where the package puts them."""


@dataclass(frozen=True, kw_only=True)
class Mesos:
    """Which Mesos the hosts get."""

    version: str | None = None
    """Its directory among the programs; None: that of the lab's own build."""

    repository: Repository | None = None


def obtain_mesos(wanted: Any) -> Mesos:
    """Have what the setting ``mesos.source`` asks for.

    Raises:
        MesosSourceError: It cannot be had, or is not what it should be.
    """
    if wanted.archive:
        return Mesos(version=unpacked(wanted.archive.url, wanted.archive.sha256))
    if wanted.packages:
        repository = repository_of(wanted.packages)
        return Mesos(version=repository.version, repository=repository)
    return Mesos()


def repository_of(wanted: Any) -> Repository:
    return Repository(
        line=f"{wanted.url} {wanted.suite} {wanted.component}",
        key=key_text(wanted.key.url, wanted.key.sha256),
        packages=(f"{wanted.package}={wanted.version}", *wanted.needs),
        version=f"packages-{wanted.version}",
        programs=wanted.programs,
        launchers=wanted.launchers,
    )


def key_text(url: str, sha256: str) -> str:
    """Read a key; once fetched, it stays in the cache."""
    kept = cache() / "keys" / f"{sha256}.asc"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            fetched = Path(scratch) / "key"
            fetch("packages.key", url, sha256, fetched)
            fetched.replace(kept)
    text = kept.read_text(errors="replace").strip()
    if not text.startswith(ARMOR):
        raise MesosSourceError(
            "packages.key.url",
            f"{url} is no text of a key",
            f"text that begins with {ARMOR}",
            "write it with: gpg --armor --export, and give the sha256 of that",
        )
    return text


def unpacked(url: str, sha256: str) -> str:
    """Have an archive's programs in the cache; return what their directory is called."""
    home = cache() / "programs" / "mesos"
    name = f"archive-{sha256[:12]}"
    if (home / name).exists():
        return name
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home, prefix=".") as scratch:
        archive, tree = Path(scratch) / "archive", Path(scratch) / "tree"
        fetch("archive", url, sha256, archive)
        tree.mkdir()
        extract(url, archive, tree)
        place = directory_in(url, tree)
        place.chmod(0o755)
        try:
            place.rename(home / name)
        except OSError:
            # Another run on this machine has been quicker; the content is the same.
            if not (home / name).exists():
                raise
    return name


def fetch(setting: str, url: str, sha256: str, into: Path) -> None:
    """Copy a file of the network or of this machine, if it is the right one."""
    digest = hashlib.sha256()
    try:
        with opened(url) as source, into.open("wb") as target:
            while piece := source.read(PIECE):
                digest.update(piece)
                target.write(piece)
    except OSError as error:
        raise MesosSourceError(
            f"{setting}.url",
            f"{url}: {error}",
            "a file that this machine can read",
            "correct it, or fetch the file by other means and give its path",
        ) from error
    if digest.hexdigest() != sha256:
        raise MesosSourceError(
            f"{setting}.sha256",
            f"{url} has {digest.hexdigest()}",
            f"{sha256}, as the stack file says",
            "find out why they differ; write the new one only if you trust it",
        )


def opened(url: str) -> IO[bytes]:
    if url.startswith(("https://", "http://")):
        opened: IO[bytes] = urllib.request.urlopen(url, timeout=SECONDS)
        return opened
    return Path(url).expanduser().open("rb")


def extract(url: str, archive: Path, tree: Path) -> None:
    done = subprocess.run(
        ["tar", "--extract", "--no-same-owner", "--file", archive, "--directory", tree],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MesosSourceError(
            "archive.url",
            f"{url} cannot be unpacked: {done.stderr.strip()}",
            "a tar archive, compressed or not",
            "make one with `make mesos-archive`, or with tar",
        )


def directory_in(url: str, tree: Path) -> Path:
    """Find the directory with the programs: the archive itself, or the only one in it."""
    inner = list(tree.iterdir())
    place = inner[0] if len(inner) == 1 and inner[0].is_dir() else tree
    missing = [file for file in (*PROGRAMS, *LAUNCHERS) if not os.access(place / file, os.X_OK)]
    if missing:
        raise MesosSourceError(
            "archive.url",
            f"{url} has no {', '.join(missing)}",
            f"{', '.join((*PROGRAMS, *LAUNCHERS))} and what they need, in one directory",
            "make one with `make mesos-archive`, and see what is in it",
        )
    return place
