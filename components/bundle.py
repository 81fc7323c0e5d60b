"""Packages that `make bundle` has put into the cache, for machines that reach no mirror."""

from __future__ import annotations

import hashlib

from components.programs import cache

RELEASES = ("bookworm", "trixie", "jammy", "noble")
INDEX = "Packages"
"""The list of a release's packages, with their digests: equal lists mean equal packages."""


def fetched() -> dict[str, str]:
    """Give the digest of each release's packages that are in the cache."""
    indices = {release: cache() / "packages" / release / INDEX for release in RELEASES}
    return {
        release: hashlib.sha256(index.read_bytes()).hexdigest()
        for release, index in indices.items()
        if index.exists()
    }
