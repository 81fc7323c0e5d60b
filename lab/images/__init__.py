"""Container images packed here, from the programs in the cache.

CACHE/images/<name>-<digest>.tar is an OCI archive; CACHE/images/index.json says which archive
holds which image name now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lab import state
from lab.commands import say
from lab.errors import LabError
from lab.images import catalog
from lab.images.oci import Image, pack
from lab.paths import cache

SHORT = 12


def ensure_images(versions: Mapping[str, str]) -> dict[str, str]:
    """Pack what is not packed yet; the archive of each image by the image's name.

    Args:
        versions: of the programs to pack; one that is not named is taken as installed last.

    Raises:
        LabError: a program is not installed.
    """

    def programs(name: str) -> tuple[str, Path]:
        return _installed(name, versions.get(name))

    images = [
        catalog.pause(programs),
        catalog.etcd(programs),
        catalog.coredns(programs),
        catalog.kube2sky(programs),
    ]
    if _is_installed("busybox", versions.get("busybox")):  # registries have one, too
        images.append(catalog.busybox(programs))
    directory = cache() / "images"
    with state.locked(directory):
        archives = {image.name: _ensure(image, directory) for image in images}
        index = directory / "index.json"
        known = json.loads(index.read_text()) if index.exists() else {}
        _write(index, json.dumps({**known, **archives}, indent=1, sort_keys=True).encode() + b"\n")
    return archives


def _ensure(image: Image, directory: Path) -> str:
    name = image.name.rsplit("/", 1)[-1].split(":")[0]
    marker = directory / f".{name}-{_fingerprint(image)}"
    if marker.exists() and (directory / marker.read_text()).exists():
        return marker.read_text()
    digest, archive = pack(image)
    file = f"{name}-{digest[:SHORT]}.tar"
    _write(directory / file, archive)
    marker.write_text(file)
    say(f"image {image.name}: packed, {len(archive) // 2**20} MB")
    return file


def _fingerprint(image: Image) -> str:
    """Changes when an image would: reading every program again takes longer than asking."""
    # A set has another order in each process.
    parts = [repr(replace(image, executable=frozenset())), *sorted(image.executable)]
    for content in image.files.values():
        if isinstance(content, Path):
            found = content.stat()
            parts.append(f"{found.st_size} {found.st_mtime_ns}")
    parts += [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:SHORT]


def _is_installed(name: str, version: str | None) -> bool:
    try:
        _installed(name, version)
    except LabError:
        return False
    return True


def _installed(name: str, version: str | None) -> tuple[str, Path]:
    parent = cache() / "programs" / name
    if version is None:
        found = [path for path in parent.glob("*") if (path / name).exists()]
        if not found:
            raise LabError(f"{name} is not in {parent}; `make setup` installs it")
        directory = max(found, key=lambda path: path.stat().st_mtime)
    else:
        directory = parent / version
        if not (directory / name).exists():
            raise LabError(f"{directory / name} is missing; `make setup` installs it")
    return directory.name, directory


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.rename(path)
