"""The distribution's packages with all they depend on, fetched into a directory by apt itself.

apt gets a state directory of its own and believes that it looks at an empty machine of the wanted
release: nothing on this machine changes. It checks what it fetches by the signatures of the
archives that this machine trusts; the digests are then written beside the packages.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.errors import ToolsError

DISTRIBUTIONS: Mapping[str, str] = {
    "bookworm": "debian",
    "trixie": "debian",
    "jammy": "ubuntu",
    "noble": "ubuntu",
}
"""The releases that machines may have, and whose they are."""

APT = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
INDEX = "Packages"
"""The list of a directory's packages, with their digests; written last."""


class AptError(ToolsError):
    """What could not be fetched, and what to do about it."""


def fetch(release: str, packages: Sequence[str], out: Path) -> int:
    """Fill ``out`` for one release; return how many packages it has then.

    Raises:
        AptError: there is no way to that release from here, or apt failed; its last words are in
            the text.
    """
    refuse_unknown(release)
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


def refuse_unknown(release: str, os_release: Path | None = None) -> None:
    """Say it plainly where apt here knows no archive with that release in it."""
    if release not in DISTRIBUTIONS:
        raise AptError(
            f"RELEASE={release}: no release that machines may have.\n"
            f"Allowed: {', '.join(DISTRIBUTIONS)}; of several, with blanks between them."
        )
    wanted, ours = DISTRIBUTIONS[release], _field("ID", os_release)
    if ours != wanted or shutil.which("apt-get") is None:
        raise AptError(
            f"Packages of {release} come from archives of {wanted}, and this machine is "
            f"{ours or 'unknown'}: its apt knows none of them.\n"
            f"Run this on a machine of {wanted}."
        )


def _options(root: Path, release: str) -> list[str]:
    """An apt that believes it looks at an empty machine of that release."""
    for directory in ("lists/partial", "archives/partial", "sources.d"):
        (root / directory).mkdir(parents=True)
    (root / "status").touch()
    ours = _field("VERSION_CODENAME")
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


def _field(name: str, os_release: Path | None = None) -> str:
    """A field of what this machine says of its system; empty when it does not say it."""
    path = os_release or OS_RELEASE
    lines = path.read_text().splitlines() if path.exists() else []
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return fields.get(name, "").strip('"')


def _apt(command: Sequence[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        words = "\n".join((result.stdout + result.stderr).splitlines()[-10:])
        raise AptError(f"apt-get could not do it; it says:\n{words}")


def field(deb: Path, name: str) -> str:
    """What a package says of itself."""
    return _dpkg_deb(deb, name).strip()


def _dpkg_deb(deb: Path, *fields: str) -> str:
    command = ["dpkg-deb", "--field", str(deb), *fields]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _entry(deb: Path) -> str:
    """A package's paragraph in the index."""
    with deb.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    place = f"Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
    return f"{_dpkg_deb(deb).rstrip()}\n{place}\n"
