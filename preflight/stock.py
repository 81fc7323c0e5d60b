"""What this machine must have for machines that reach neither a mirror nor a registry."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from components.bundle import fetched
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


def stock() -> Stock:
    """Look into the cache."""
    index = cache() / "images" / "index.json"
    images = json.loads(index.read_text()) if index.exists() else {}
    return Stock(bundles=frozenset(fetched()), images=frozenset(images))


def lacking(answers: Sequence[Answer], images: Sequence[str], has: Stock) -> Iterator[Problem]:
    """Say which packages and images would have to come from a place that machines do not reach."""
    for answer in answers:
        if answer.facts is None:
            continue
        release = RELEASES.get((answer.facts.os_id, answer.facts.os_version))
        if release and release not in has.bundles:
            yield Problem(
                host=answer.target.name,
                what="packages",
                found=f"no bundle for {release}",
                allowed="with `bundle: true`, packages that are fetched before",
                remedy=f"make bundle RELEASE={release}",
            )
    for image in images:
        if image.startswith(PUBLIC) and image not in has.images:
            yield Problem(
                host="this machine",
                what="image",
                found=f"no {image} in the cache",
                allowed="with `bundle: true`, images that are here, or in a registry of your own",
                remedy="make setup, where apt knows archives of Debian; or change `images:`",
            )
