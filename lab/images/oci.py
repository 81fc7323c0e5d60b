"""Packing files as an OCI image archive, the same bytes for the same content every time."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Image:
    """What goes into an image. Paths are absolute, without the leading slash."""

    name: str
    """Full reference with registry and tag, as containerd stores it."""
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    """Content, or the file to copy it from."""
    executable: frozenset[str] = frozenset()
    links: Mapping[str, str] = field(default_factory=dict)
    """Symbolic links and what they point at."""
    directories: Mapping[str, int] = field(default_factory=dict)
    """Directories with their mode."""
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()


def pack(image: Image) -> tuple[str, bytes]:
    """The image's digest (64 hexadecimal digits) and its archive."""
    layer = _layer(image)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": [PATH],
                **({"Entrypoint": list(image.entrypoint)} if image.entrypoint else {}),
                **({"Cmd": list(image.command)} if image.command else {}),
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": [_descriptor(LAYER, layer)],
        }
    )
    annotations = {
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": image.name.rsplit(":", 1)[-1],
    }
    index = {
        "schemaVersion": 2,
        "manifests": [{**_descriptor(MANIFEST, manifest), "annotations": annotations}],
    }
    blobs = {f"blobs/sha256/{_digest(blob)}": blob for blob in (layer, config, manifest)}
    archive = _tar(
        [
            _file("oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
            _file("index.json", _json(index)),
            *(_file(path, blob) for path, blob in blobs.items()),
        ]
    )
    return _digest(manifest), archive


Entry = tuple[tarfile.TarInfo, bytes]


def _layer(image: Image) -> bytes:
    entries = {path: _directory(path, mode) for path, mode in image.directories.items()}
    for path, content in image.files.items():
        mode = 0o755 if path in image.executable else 0o644
        data = content.read_bytes() if isinstance(content, Path) else content
        entries[path] = _file(path, data, mode)
    for path, target in image.links.items():
        entries[path] = _link(path, target)
    for path in list(entries):
        for parent in Path(path).parents:
            if str(parent) != ".":
                entries.setdefault(str(parent), _directory(str(parent), 0o755))
    # Sorted, a directory comes before what is in it.
    return _tar([entries[path] for path in sorted(entries)])


def _file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    info = tarfile.TarInfo(path)
    info.size = len(data)
    info.mode = mode
    return info, data


def _link(path: str, target: str) -> Entry:
    info = tarfile.TarInfo(path)
    info.type = tarfile.SYMTYPE
    info.linkname = target
    info.mode = 0o777
    return info, b""


def _directory(path: str, mode: int) -> Entry:
    info = tarfile.TarInfo(path)
    info.type = tarfile.DIRTYPE
    info.mode = mode
    return info, b""


def _tar(entries: Sequence[Entry]) -> bytes:
    """TarInfo's defaults are owner root and time 0, so nothing of this machine gets in."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def _descriptor(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{_digest(blob)}", "size": len(blob)}


def _digest(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
