"""Which packages machines get: those that were fetched, or those of a file of `make bundle`."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from components import bundle, machine
from tools import apt, bundle_file

FETCHED, CARRIED = "Package: fetched\n", "Package: carried\n"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def put(directory: Path, text: str) -> Path:
    directory.mkdir(parents=True)
    (directory / "Packages").write_text(text)
    return directory


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that says it has packages of bookworm."""
    text = json.dumps({"releases": {"bookworm": digest(CARRIED)}}).encode()
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        member = tarfile.TarInfo(bundle.INDEX)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return tmp_path / "b.tar"


def test_the_program_and_the_tools_mean_the_same_file() -> None:
    assert (bundle.INDEX, bundle.SHORT) == (bundle_file.INDEX, bundle_file.SHORT)
    assert (apt.INDEX, tuple(apt.DISTRIBUTIONS)) == (bundle.LIST, bundle.RELEASES)


def test_fetched_packages_are_offered_unless_a_file_is_named(cache: Path, file: Path) -> None:
    put(cache / "packages/bookworm", FETCHED)
    put(cache / f"packages/bookworm-{digest(CARRIED)[:12]}", CARRIED)

    assert bundle.offered(True) == {"bookworm": digest(FETCHED)}
    assert bundle.offered(str(file)) == {"bookworm": digest(CARRIED)}


@pytest.mark.parametrize(
    ("unpacked", "text", "words"),
    [
        (None, None, "its packages of bookworm are not in"),
        ("Package: other\n", None, "its packages of bookworm are not in"),
        (CARRIED, "text", "it is no bundle of ours"),
        (CARRIED, "", "it is no bundle of ours"),
    ],
)
def test_a_file_that_was_not_unpacked_is_none(
    cache: Path, file: Path, unpacked: str | None, text: str | None, words: str
) -> None:
    if unpacked:
        put(cache / f"packages/bookworm-{digest(CARRIED)[:12]}", unpacked)
    if text is not None:
        file.write_text(text)

    with pytest.raises(ValueError, match=words):
        bundle.offered(str(file))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", "bookworm"),
        (f"bookworm {digest(FETCHED)}", "bookworm"),
        (f"trixie 1234 bookworm {digest(CARRIED)}", f"bookworm-{digest(CARRIED)[:12]}"),
    ],
)
def test_a_machine_gets_the_packages_that_were_planned(
    cache: Path, wanted: str, found: str
) -> None:
    put(cache / "packages/bookworm", FETCHED)

    assert machine.here({"bundle": wanted}, "packages/bookworm") == cache / "packages" / found
    assert machine.here({"bundle": wanted}, "programs/etcd/1") == cache / "programs/etcd/1"
