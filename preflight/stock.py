"""What this machine must have for machines that reach neither a mirror nor a registry."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from components.bundle import offered
from components.programs import cache
from preflight.ask import Answer
from preflight.problems import Problem

RELEASES = {
    ("debian", "12"): "bookworm",
    ("debian", "13"): "trixie",
    ("ubuntu", "22.04"): "jammy",
    ("ubuntu", "24.04"): "noble",
}
PUBLIC = ("docker.io/", "registry.k8s.io/")
"""Registries out there; one inside may well be reached without the internet."""


@dataclass(frozen=True, kw_only=True)
class Stock:
    """What set-up and `make bundle` have put into the cache."""

    bundles: Collection[str]
    """Releases whose packages are here."""

    images: Collection[str]
    """Names of the images that are packed here."""

    file: str = ""
    """The file that the packages are from; empty when they were fetched here."""

    unusable: str = ""
    """Why that file is of no use."""


def stock(bundle: bool | str) -> Stock:  # noqa: FBT001  (what the setting says)
    """Look into the cache, and into the file that the setting ``bundle`` names."""
    index = cache() / "images" / "index.json"
    images = json.loads(index.read_text()) if index.exists() else {}
    file, releases, unusable = bundle if isinstance(bundle, str) else "", {}, ""
    try:
        releases = offered(bundle)
    except ValueError as error:
        unusable = str(error)
    return Stock(
        bundles=frozenset(releases), images=frozenset(images), file=file, unusable=unusable
    )


def lacking(answers: Sequence[Answer], images: Sequence[str], has: Stock) -> Iterator[Problem]:
    """Say which packages and images would have to come from a place that machines do not reach."""
    if has.unusable:
        yield Problem(
            host="this machine",
            what="bundle",
            found=f"{has.file}: {has.unusable}",
            allowed="a file of `make bundle`, which set-up has unpacked here",
            remedy="make setup STACK=… of this stack, with the path plainly on a line of its own",
        )
        return
    for answer in answers:
        if answer.facts is None:
            continue
        release = RELEASES.get((answer.facts.os_id, answer.facts.os_version))
        if release and release not in has.bundles:
            yield Problem(
                host=answer.target.name,
                what="packages",
                found=f"no packages of {release} in {has.file}"
                if has.file
                else f"no bundle for {release}",
                allowed="with `bundle:`, packages that are fetched before",
                remedy=fetching(release, has),
            )
    for image in images:
        if image.startswith(PUBLIC) and image not in has.images:
            yield Problem(
                host="this machine",
                what="image",
                found=f"no {image} in the cache",
                allowed="with `bundle:`, images that are here, or in a registry of your own",
                remedy="make setup, where apt knows archives of Debian; or change `images:`",
            )


def fetching(release: str, has: Stock) -> str:
    """Say how packages of a release get here; a file has to have the others as well."""
    if not has.file:
        return f"make bundle RELEASE={release}"
    return f'make bundle RELEASE="{" ".join(sorted({*has.bundles, release}))}", where it was made'
