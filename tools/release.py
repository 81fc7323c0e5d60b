"""Programs as their publishers release them, checked against releases.lock."""

from __future__ import annotations

import fnmatch
import hashlib
import http.client
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from tools import files, places
from tools.errors import ToolsError
from tools.programs import Program, Release, architecture
from tools.sources import Unavailable

LOCK = Path(__file__).parent / "releases.lock"
TIMEOUT = 10
"""Seconds without an answer after which a publisher counts as out of reach."""
CHUNK = 1 << 20
SHA256_LENGTH = 64


def read_lock(text: str | None = None) -> dict[str, str]:
    """Address to sha256, from lines of `sha256  address`; `#` begins a comment line."""
    text = text if text is not None else LOCK.read_text()
    lines = [line.split() for line in text.splitlines() if line.strip() and line[0] != "#"]
    for line in lines:
        if len(line) != 2 or len(line[0]) != SHA256_LENGTH:
            raise ToolsError(
                f"{LOCK}: {' '.join(line)!r} is not a sha256 and an address.\n"
                "Write the file with `make lock`."
            )
    return {url: digest for digest, url in lines}


def urls(program: Program, release: Release, arch: str | None = None) -> dict[str, str | None]:
    """Each address of a release, with the file it is (None: an archive of several)."""
    arch = arch or architecture()
    arch = release.arch.get(arch, arch)
    if release.members:
        return {program.filled_in(release.url, arch=arch): None}
    return {program.filled_in(release.url, arch=arch, file=file): file for file in program.files}


def take(program: Program) -> str:
    """Download, check and unpack a release; every file of it or a reason why not."""
    release = program.release
    if release is None:
        raise Unavailable("nobody releases it")
    lock = read_lock()
    wanted = urls(program, release)
    unlisted = [url for url in wanted if url not in lock]
    if unlisted:
        raise Unavailable(f"{unlisted[0]} is not in {LOCK.relative_to(places.ROOT)}")
    # All are checked before any is installed: half a release is none.
    archives = {url: download(url, lock[url]) for url in wanted}
    for url, file in wanted.items():
        if file:
            with files.appearing(program.directory / file) as part:
                shutil.copyfile(archives[url], part)
        else:
            _unpack(archives[url], program, release)
        archives[url].unlink()
    return f"release: {next(iter(wanted))}"


def download(url: str, sha256: str) -> Path:
    """Fetch a file into the cache, going on where an earlier attempt stopped.

    Raises Unavailable when the publisher cannot be reached and ToolsError when what came is not
    what the lock file says.
    """
    path = places.cache() / "downloads" / f"{sha256}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    start = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            with path.open("ab" if resumed else "wb") as file:
                shutil.copyfileobj(response, file, CHUNK)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # it was complete
            raise Unavailable(f"{url}: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{url}: {error}") from error
    verify(path, url, sha256)
    return path


def verify(path: Path, url: str, sha256: str) -> None:
    """Refuse (and remove) a file that is not the one the lock file speaks of."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink()
        raise ToolsError(
            f"{url}\n  has sha256 {found}\n  but {LOCK.relative_to(places.ROOT)} says {sha256}.\n"
            "Nothing was installed. If the publisher did replace the file, check why, and then "
            "write the new\nchecksum with `make lock`."
        )


def _unpack(archive: Path, program: Program, release: Release) -> None:
    arch = release.arch.get(architecture(), architecture())
    pattern = program.filled_in(release.members or "*", arch=arch)
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if fnmatch.fnmatch(member.name, pattern) else None
            if content:
                file = program.directory / Path(member.name).name
                with files.appearing(file) as part, part.open("wb") as target:
                    shutil.copyfileobj(content, target)
    if program.missing_files:
        raise ToolsError(
            f"{archive}: no {', '.join(program.missing_files)} in it (looked for {pattern!r}).\n"
            f"Correct `members` of {program.name} in tools/programs.toml."
        )


Fetch = Callable[[str], bytes]


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        return bytes(response.read())


def checksum_in(text: str, file: str) -> str | None:
    """A file's sha256 in a publisher's checksum file: a list of them, or the bare sum.

    >>> checksum_in("ab" * 32 + "  etcd.tar.gz", "etcd.tar.gz") == "ab" * 32
    True
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1:
        return lines[0][0].lower()
    for digest, *name in lines:
        if name and Path(name[-1].lstrip("*")).name == file:
            return digest.lower()
    return None


def write_lock(
    table: Iterable[Program], arches: Iterable[str] = ("amd64", "arm64"), fetch: Fetch = fetch
) -> None:
    """Write releases.lock from the publishers' checksum files, all of it or nothing."""
    lines = []
    for program in table:
        for arch in arches:
            if program.release and arch in program.architectures:
                lines += [
                    f"{_published(url, program, program.release, fetch)}  {url}"
                    for url in urls(program, program.release, arch)
                ]
    comments = [line for line in LOCK.read_text().splitlines() if line.startswith("#")]
    files.write(LOCK, "\n".join([*comments, *lines]) + "\n")
    print(f"{len(lines)} releases in {LOCK.relative_to(places.ROOT)}", file=sys.stderr)


def _published(url: str, program: Program, release: Release, fetch: Fetch) -> str:
    checksums = release.checksums and program.filled_in(release.checksums, url=url)
    try:
        if checksums is None:
            return hashlib.sha256(fetch(url)).hexdigest()
        found = checksum_in(fetch(checksums).decode(), url.rpartition("/")[2])
    except OSError as error:
        raise ToolsError(
            f"{checksums or url}: {error}\n"
            f"The publisher of {program.label} cannot be reached from here, so {LOCK.name} stays "
            "as it is.\nRun `make lock` where it can; until then programs are built."
        ) from error
    if not found or len(found) != SHA256_LENGTH:
        raise ToolsError(f"{checksums}: no sha256 of {url.rpartition('/')[2]} in it.")
    return found


def reachable(url: str) -> bool:
    """Whether a publisher answers for an address, asked without fetching it."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return True
    except (OSError, http.client.HTTPException):
        return False
