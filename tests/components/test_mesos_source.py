"""Mesos' programs from where the stack file says: what is fetched, believed, and refused."""

from __future__ import annotations

import hashlib
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pulumi
import pytest

from components.hosts import Role
from components.joining import repository_values, store
from components.mesos_source import (
    LAUNCHERS,
    PROGRAMS,
    Mesos,
    MesosSourceError,
    key_text,
    obtain_mesos,
    unpacked,
)
from components.programs import cache, program_versions
from stacks.mesos_source_settings import MesosSource
from tests.components.machines import VERSIONS

ALL = (*PROGRAMS, *LAUNCHERS)
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "cache"))


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def archive(
    directory: Path, files: tuple[str, ...] = ALL, *, top: str = "", mode: int = 0o755
) -> Path:
    """Pack programs that say their names."""
    tree = directory / "tree"
    (tree / top).mkdir(parents=True)
    for name in files:
        (tree / top / name).write_text(f"#!/bin/sh\necho {name}\n")
        (tree / top / name).chmod(mode)
    packed = directory / "mesos.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        for member in sorted(tree.iterdir()):
            tar.add(member, member.name)
    return packed


def wanted(**source: object) -> MesosSource:
    return MesosSource.model_validate(source)


def test_without_a_word_nothing_is_fetched() -> None:
    assert obtain_mesos(wanted()) == Mesos()
    assert not cache().exists()
    assert program_versions()["mesos"] == "1.11.0"


@pytest.mark.parametrize("top", ["", "mesos-1.11.0"])
def test_an_archive_lies_among_the_programs_under_its_digest(tmp_path: Path, top: str) -> None:
    packed = archive(tmp_path, top=top)
    digest = sha256(packed)

    mesos = obtain_mesos(wanted(archive={"url": str(packed), "sha256": digest}))

    assert mesos == Mesos(version=f"archive-{digest[:12]}")
    home = cache() / "programs/mesos"
    assert sorted(path.name for path in home.iterdir()) == [mesos.version]
    assert {path.name for path in (home / str(mesos.version)).iterdir()} == set(ALL)
    assert (home / str(mesos.version)).stat().st_mode & 0o777 == 0o755
    versions = program_versions(mesos.version)
    sent = store(frozenset({Role.AGENT}), versions, bundle=False)
    assert f"programs/mesos/archive-{digest[:12]}" in sent


def test_an_archive_is_fetched_once(tmp_path: Path) -> None:
    packed = archive(tmp_path)
    digest = sha256(packed)
    first = unpacked(str(packed), digest)
    packed.unlink()

    assert unpacked(str(packed), digest) == first


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server of the directory."""
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


def test_an_archive_may_lie_on_a_web_server(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    packed = archive(tmp_path)

    name = unpacked(f"{server}/{packed.name}", sha256(packed))

    assert (cache() / "programs/mesos" / name / "mesos-agent").exists()
    with pytest.raises(MesosSourceError, match="404"):
        unpacked(f"{server}/other.tar.gz", "0" * 64)


def refused(url: Path, digest: str) -> str:
    with pytest.raises(MesosSourceError) as caught:
        unpacked(str(url), digest)
    home = cache() / "programs/mesos"
    assert list(home.iterdir()) == [], "nothing of it stays"
    text = str(caught.value)
    assert "nothing was changed" in text
    assert "\n    allowed: " in text
    assert "\n    do this: " in text
    return text


def test_what_is_not_what_the_file_says_is_refused(tmp_path: Path) -> None:
    packed = archive(tmp_path)

    text = refused(packed, "0" * 64)

    assert f"cluster.mesos.source.archive.sha256: {packed} has {sha256(packed)}" in text


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "nothing.tar", "0" * 64)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<html>Log in first</html>")

    assert "cannot be unpacked" in refused(file, sha256(file))


@pytest.mark.parametrize(
    ("files", "mode", "missing"),
    [
        (tuple(name for name in ALL if name != "mesos-fetcher"), 0o755, "mesos-fetcher"),
        (ALL, 0o644, ", ".join(ALL)),
    ],
    ids=["a program is missing", "nothing can be run"],
)
def test_an_archive_without_all_programs_is_refused(
    tmp_path: Path, files: tuple[str, ...], mode: int, missing: str
) -> None:
    packed = archive(tmp_path, files, mode=mode)

    assert f"has no {missing};" in refused(packed, sha256(packed))


def test_a_mistake_shows_as_one_message_without_a_stack_trace() -> None:
    assert issubclass(MesosSourceError, pulumi.RunError)


def packages(tmp_path: Path, key: str = KEY) -> MesosSource:
    file = tmp_path / "key.asc"
    file.write_text(key)
    return wanted(
        packages={
            "url": "https://clusterd.example/Debian/{codename}",
            "version": "1.11.0-0.7.1",
            "key": {"url": str(file), "sha256": sha256(file)},
        }
    )


def test_of_packages_a_machine_is_told_where_which_and_by_which_key(tmp_path: Path) -> None:
    mesos = obtain_mesos(packages(tmp_path))

    assert mesos.version == "packages-1.11.0-0.7.1"
    assert repository_values(mesos.repository) == {
        "MACHINE_REPOSITORY": "https://clusterd.example/Debian/{codename} {codename} main",
        "MACHINE_REPOSITORY_KEY": KEY.strip(),
        "MACHINE_MESOS_PACKAGES": "aventer-mesos=1.11.0-0.7.1 libevent-2.1-7 "
        "libevent-openssl-2.1-7 libevent-pthreads-2.1-7",
        "MACHINE_MESOS_VERSION": "packages-1.11.0-0.7.1",
        "MACHINE_MESOS_PROGRAMS": "/usr/bin/mesos-master\n/usr/bin/mesos-agent\n"
        "/usr/libexec/mesos/mesos-containerizer\n/usr/libexec/mesos/mesos-executor\n"
        "/usr/libexec/mesos/mesos-fetcher",
        "MACHINE_MESOS_LAUNCHERS": "/usr/libexec/mesos",
    }
    assert repository_values(None) == {}


def test_programs_of_packages_are_not_sent(tmp_path: Path) -> None:
    versions = {**VERSIONS, "mesos": "packages-1"}

    sent = store(frozenset({Role.AGENT}), versions, bundle=False, packaged=("mesos",))

    assert not [item for item in sent if "/mesos/" in item]
    assert [item for item in sent if "/flannel/" in item]


def test_a_key_is_fetched_once(tmp_path: Path) -> None:
    file = tmp_path / "key.asc"
    file.write_text(KEY)
    digest = sha256(file)
    assert key_text(str(file), digest) == KEY.strip()
    file.unlink()

    assert key_text(str(file), digest) == KEY.strip()


def test_another_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key.asc"
    file.write_text(KEY)

    with pytest.raises(MesosSourceError, match=r"packages\.key\.sha256: .* has "):
        key_text(str(file), "0" * 64)


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MesosSourceError, match=r"(?s)packages\.key\.url: .*gpg --armor"):
        obtain_mesos(packages(tmp_path, "\x99\x02binary"))
