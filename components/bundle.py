"""Fetch packages and all they depend on into a directory that apt takes for an archive.

``python -m components.bundle RELEASE [PACKAGE...]`` fills the cache, from where ``bundle: true`` in
a stack file sends them to machines without a mirror. Without names: what machines of any role need.

apt itself does the work, with a state directory of its own: nothing on this machine changes.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.hosts import Role
from components.joining import packages as packages_of
from components.programs import cache

RELEASES = ("bookworm", "trixie", "jammy", "noble")
APT = Path("/etc/apt")
INDEX = "Packages"
"""The list of a release's packages, with their digests; written last."""


class BundleError(Exception):
    """What could not be fetched, and what to do about it."""


def fetch(release: str, packages: Sequence[str], out: Path) -> int:
    """Fill ``out`` for one release; return how many packages it has then.

    Raises:
        BundleError: apt failed; its last words are in the text.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        options = _options(root, release)
        _apt(["apt-get", *options, "update"])
        _apt(
            [
                *("apt-get", *options, "--yes", "--no-install-recommends", "--download-only"),
                *("-o", f"Dir::Cache::archives={root}/archives", "install", *packages),
            ]
        )
        for found in (root / "archives").glob("*.deb"):
            shutil.move(found, out / found.name)
    index = "".join(_entry(deb) for deb in sorted(out.glob("*.deb")))
    (out / INDEX).write_text(index)
    return index.count("\nFilename: ")


def fetched() -> dict[str, str]:
    """Give the digest of each release's packages that are in the cache."""
    indices = {release: cache() / "packages" / release / INDEX for release in RELEASES}
    return {
        release: hashlib.sha256(index.read_bytes()).hexdigest()
        for release, index in indices.items()
        if index.exists()
    }


def _options(root: Path, release: str) -> list[str]:
    """An apt that believes it looks at an empty machine of that release."""
    for directory in ("lists/partial", "archives/partial", "sources.d"):
        (root / directory).mkdir(parents=True)
    (root / "status").touch()
    ours = _codename()
    sources = [APT / "sources.list", *APT.glob("sources.list.d/*")]
    for source in (one for one in sources if one.is_file()):
        text = source.read_text().replace(ours, release)
        (root / "sources.d" / source.name).write_text(text)
    return [
        "--quiet",
        *("-o", f"Dir::State::lists={root}/lists", "-o", f"Dir::State::status={root}/status"),
        *("-o", f"Dir::Cache={root}", "-o", "Dir::Etc::sourcelist=/dev/null"),
        *("-o", f"Dir::Etc::sourceparts={root}/sources.d", "-o", "APT::Sandbox::User=root"),
    ]


def _codename() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return fields.get("VERSION_CODENAME", "").strip('"')


def _apt(command: Sequence[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        words = "\n".join((result.stdout + result.stderr).splitlines()[-10:])
        raise BundleError(f"apt-get could not do it; it says:\n{words}")


def _entry(deb: Path) -> str:
    """A package's paragraph in the index."""
    control = subprocess.run(
        ["dpkg-deb", "--field", deb], capture_output=True, text=True, check=True
    ).stdout
    with deb.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    place = f"Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
    return f"{control.rstrip()}\n{place}\n"


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in RELEASES:
        usage = f"python -m components.bundle {'|'.join(RELEASES)} [PACKAGE...]"
        print(f"usage: {usage}", file=sys.stderr)
        return 64
    release, *packages = arguments
    out = cache() / "packages" / release
    try:
        count = fetch(release, packages or packages_of(frozenset(Role)), out)
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} packages in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
