"""Packages for machines that reach no mirror: those of `make bundle`, or those of a file of it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

from components.programs import cache

RELEASES = ("bookworm", "trixie", "jammy", "noble")
LIST = "Packages"
"""The list of a release's packages, with their digests: equal lists mean equal packages."""

INDEX = "bundle.json"
"""The first member of a file of `make bundle`."""

SHORT = 12


def offered(bundle: bool | str) -> dict[str, str]:  # noqa: FBT001  (what the setting says)
    """Give the digest of each release's packages that are here, for a setting ``bundle``.

    Raises:
        ValueError: It names a file that cannot be read, or that set-up has not unpacked.
    """
    found = releases_in(bundle) if isinstance(bundle, str) else _fetched()
    for release, digest in found.items():
        if _digest(place(release, digest)) != digest:
            raise ValueError(f"its packages of {release} are not in {cache()}")
    return dict(found)


def place(release: str, digest: str | None) -> Path:
    """Where the packages of a release lie that have this digest; without one, the fetched ones."""
    fetched = cache() / "packages" / release
    if digest is None or _digest(fetched) == digest:
        return fetched
    return fetched.with_name(f"{release}-{digest[:SHORT]}")


def _fetched() -> dict[str, str]:
    digests = {release: _digest(cache() / "packages" / release) for release in RELEASES}
    return {release: digest for release, digest in digests.items() if digest}


def _digest(packages: Path) -> str:
    path = packages / LIST
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def releases_in(file: str) -> Mapping[str, str]:
    """Read what a file of `make bundle` says of its packages; set-up has checked the rest.

    Raises:
        ValueError: It says nothing of that.
    """
    path = Path(file).expanduser()
    try:
        with tarfile.open(path, "r:") as tar:
            first = tar.next()
            content = tar.extractfile(first) if first and first.name == INDEX else None
            if content is None:
                raise ValueError(INDEX)
            return dict(json.load(content)["releases"])
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except (tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise ValueError("it is no bundle of ours") from error
