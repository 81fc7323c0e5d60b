"""Image archives: what is in them, and the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lab import images
from lab.errors import LabError
from lab.images.oci import Image, pack

ROOT = Path(__file__).parents[2]


def image(source: Path) -> Image:
    return Image(
        name="registry.example/tool:1.2",
        files={"usr/bin/tool": source, "etc/passwd": b"root:x:0:0::/:/bin/sh\n"},
        executable=frozenset({"usr/bin/tool"}),
        links={"bin/t": "/usr/bin/tool"},
        directories={"tmp": 0o1777},
        entrypoint=["/usr/bin/tool"],
    )


def blobs(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]


def blob(parts: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    data = parts["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
    assert hashlib.sha256(data).hexdigest() == descriptor["digest"].removeprefix("sha256:")
    assert len(data) == descriptor["size"]
    return data


def test_an_archive_holds_one_image_under_its_name(tmp_path: Path) -> None:
    source = tmp_path / "tool"
    source.write_bytes(b"program")
    digest, archive = pack(image(source))
    parts = blobs(archive)
    (descriptor,) = json.loads(parts["index.json"])["manifests"]
    assert descriptor["digest"] == f"sha256:{digest}"
    assert descriptor["annotations"]["io.containerd.image.name"] == "registry.example/tool:1.2"
    manifest = json.loads(blob(parts, descriptor))
    config = json.loads(blob(parts, manifest["config"]))
    assert config["config"]["Entrypoint"] == ["/usr/bin/tool"]
    (layer,) = manifest["layers"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    with tarfile.open(fileobj=io.BytesIO(blob(parts, layer))) as tar:
        members = {m.name: m for m in tar.getmembers()}
    assert list(members) == sorted(members)
    assert members["usr/bin/tool"].mode == 0o755
    assert members["bin/t"].linkname == "/usr/bin/tool"
    assert members["tmp"].mode == 0o1777
    assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}


def test_the_same_content_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    archives = set()
    for name in ("one", "two"):
        source = tmp_path / name
        source.write_bytes(b"program")
        archives.add(pack(image(source))[1])
    assert len(archives) == 1


def test_a_program_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path))
    with pytest.raises(LabError, match=r"pause is not in .*programs/pause; `make setup`"):
        images.ensure_images({})
    with pytest.raises(LabError, match=r"programs/pause/9/pause is missing"):
        images.ensure_images({"pause": "9"})


BUSYBOX = b"#!/bin/sh\nprintf '%s\\n' [ ash busybox nslookup\n"


@pytest.mark.parametrize("has_busybox", [True, False])
def test_all_programs_are_packed_and_busybox_where_it_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_busybox: bool
) -> None:
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path))
    for name, files in {"etcd": ("etcd", "etcdctl")}.items() | {
        (name, (name,)) for name in ("pause", "coredns", "kube2sky")
    }:
        directory = tmp_path / "programs" / name / "1"
        directory.mkdir(parents=True)
        for file in files:
            (directory / file).write_bytes(b"program")
    if has_busybox:
        busybox = tmp_path / "programs/busybox/1.35/busybox"
        busybox.parent.mkdir(parents=True)
        busybox.write_bytes(BUSYBOX)
        busybox.chmod(0o755)

    packed = images.ensure_images({})

    names = {name.rpartition("/")[2].partition(":")[0] for name in packed}
    assert names == {"pause", "etcd", "coredns", "kube2sky", *["busybox"] * has_busybox}
    assert packed.keys() == json.loads((tmp_path / "images/index.json").read_text()).keys()


FINGERPRINT = """
from lab import images
from lab.images.oci import Image

print(images._fingerprint(Image(name="r.example/a:1", executable=frozenset({"bin/a", "bin/b"}))))
"""


def test_an_image_that_is_the_same_is_not_packed_again_by_another_process() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(4)
    }

    assert len(printed) == 1
