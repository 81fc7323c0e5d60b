"""`make bundle`: everything that a stack's machines and its operator's need, in one file."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools import apt, bundle_file, places, setup, venv, wheels
from tools.bundle_file import Index, Part
from tools.errors import ToolsError
from tools.programs import architecture, programs


def make(stack: str, releases: Sequence[str]) -> None:
    """Have all of it in the cache, see that it is there, and write the file."""
    releases = list(dict.fromkeys(releases))
    for release in releases:
        apt.refuse_unknown(release)
    setup.set_up(stack, bundled=False)
    sends = sent_by(stack)
    cache = places.cache()
    for release in releases:
        count = apt.fetch(release, sends["packages"], cache / "packages" / release)
        say(f"{count} packages of {release} are here")
    wheels.make()
    images = wanted_images(sends["images"], packed_images(cache))
    index = describe(cache, releases, images, sends["mesos"])
    for line in listed(index):
        print(line)
    path = bundle_file.default_path(datetime.now(UTC).date().isoformat(), releases)
    say(f"Writing {path}")
    bundle_file.write(path, index, cache)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    print(
        f"\n{path}: {megabytes(path.stat().st_size)}\nsha256 {digest}\n\n"
        "Carry it to the operator's machine, with this checkout, and say below `hosts:` in the "
        f"stack file\nthere (docs/metal.md, Without the internet):\n\n  bundle: /…/{path.name}"
    )


def sent_by(stack: str) -> dict[str, Any]:
    """What the program sends to a stack's machines.

    Raises:
        ToolsError: The stack file cannot be used; `preflight` has said why.
    """
    command = [str(venv.PYTHON), "-m", "preflight", "sends", "--stack", stack]
    done = subprocess.run(command, cwd=places.ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ToolsError(f"stack {stack}: what its machines get cannot be told (see above).")
    return dict(json.loads(done.stdout))


def packed_images(cache: Path) -> dict[str, str]:
    """The archive of each image that is in the cache."""
    index = cache / "images" / "index.json"
    return dict(json.loads(index.read_text())) if index.exists() else {}


def wanted_images(names: Iterable[str], packed: Mapping[str, str]) -> dict[str, str]:
    """The archives of these images.

    Raises:
        ToolsError: Some are not here.
    """
    missing = [name for name in names if name not in packed]
    if missing:
        raise ToolsError(
            f"No bundle was made: {', '.join(missing)} cannot be packed here.\n"
            f"What can: {', '.join(packed)}. Name those below `images:` in the stack file, or "
            "others in a registry\nthat the machines reach. busybox needs an apt that knows "
            "archives of Debian."
        )
    return {name: packed[name] for name in names}


def describe(
    cache: Path, releases: Sequence[str], images: Mapping[str, str], mesos: str | None = None
) -> Index:
    """List all parts of a bundle.

    Raises:
        ToolsError: Something is not in the cache.
    """
    versions = {p.name: p.version for p in programs().values() if p.is_installed}
    items = [f"programs/{name}/{version}" for name, version in versions.items()]
    items += [f"programs/mesos/{mesos}"] if mesos else []
    items += [f"images/{archive}" for archive in sorted(set(images.values()))]
    items += [f"packages/{release}" for release in releases]
    items += [str(wheels.directory().relative_to(places.cache()))]
    parts = bundle_file.parts_of(cache, items)
    index = Index(
        architecture=architecture(),
        python=wheels.python(),
        programs=versions,
        releases={release: parts_digest(parts, release) for release in releases},
        images=images,
        wheels=wheels.digest(),
        parts=parts,
    )
    if empty := [item for item in items if item not in index.items]:
        raise ToolsError(f"No bundle was made: {', '.join(empty)} is not in {cache}.")
    for name, part in parts.items():
        try:
            bundle_file.check_name(name, part)
        except ValueError as error:
            raise ToolsError(
                f"No bundle was made: {cache / name} leads to {part.link}, outside of its "
                "directory.\nPack the archive that it is from without such links."
            ) from error
    return index


def parts_digest(parts: Mapping[str, Part], release: str) -> str:
    """What tells these packages of a release from others."""
    return parts.get(f"packages/{release}/{apt.INDEX}", Part()).sha256


def listed(index: Index) -> Iterable[str]:
    """What is in a bundle, with sizes; all wheels and all of a release's packages in one line."""
    items = index.items
    width = max(map(len, items))
    for item, names in items.items():
        size = sum(index.parts[name].size for name in names)
        count = f"  {len(names)} files" if item.startswith(("packages/", "wheels/")) else ""
        yield f"{item:<{width}}  {megabytes(size):>9}{count}"


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
