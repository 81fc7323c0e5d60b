"""Packages by apt: which releases are refused, and what comes out of a package."""

import subprocess

import pytest

from tools import apt, makers
from tools.errors import ToolsError
from tools.programs import named
from tools.sources import Unavailable

DEBIAN = 'ID=debian\nVERSION_CODENAME="bookworm"\n'


@pytest.mark.parametrize(
    ("system", "release", "words"),
    [
        (DEBIAN, "bookworm", None),
        (DEBIAN, "trixie", None),
        (DEBIAN, "noble", "come from archives of ubuntu, and this machine is debian"),
        ("ID=ubuntu\n", "bookworm", "Run this on a machine of debian"),
        ("", "trixie", "this machine is unknown"),
        (DEBIAN, "sid", "Allowed: bookworm, trixie, jammy, noble"),
    ],
)
def test_a_release_that_apt_here_cannot_have_is_refused(
    tmp_path, monkeypatch, system, release, words
):
    monkeypatch.setattr(apt.shutil, "which", lambda _: "/usr/bin/apt-get")
    (tmp_path / "os-release").write_text(system)
    if words is None:
        apt.refuse_unknown(release, tmp_path / "os-release")
        return

    with pytest.raises(apt.AptError, match=words):
        apt.refuse_unknown(release, tmp_path / "os-release")


def package(directory, name, version, files):
    """A package as dpkg-deb makes it."""
    tree = directory / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
    (tree / "DEBIAN/control").write_text(
        f"{control}Maintainer: nobody <nobody@example.com>\nDescription: none\n"
    )
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    deb = directory / f"{name}_{version.replace(':', '%3a')}_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, deb], check=True)
    return deb


@pytest.fixture
def busybox(tmp_path, monkeypatch):
    """What would be fetched: a package of this version; the program of the table."""

    def made(version):
        deb = package(tmp_path / "made", "busybox-static", version, {"bin/busybox": "static"})

        def fetch(release, packages, out):
            assert (release, packages) == ("bookworm", ["busybox-static"])
            (out / deb.name).write_bytes(deb.read_bytes())

        monkeypatch.setattr(apt, "fetch", fetch)
        return named("busybox")

    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "cache"))
    return made


def test_busybox_comes_out_of_debians_package(busybox):
    program = busybox("1:1.35.0-4+b7")

    assert makers.take_busybox(program) == "packed: Debian's busybox-static 1:1.35.0-4+b7"
    assert (program.directory / "busybox").read_text() == "static"
    assert (program.directory / "busybox").stat().st_mode & 0o777 == 0o755


def test_another_busybox_than_the_images_name_says_is_refused(busybox):
    with pytest.raises(ToolsError, match=r"is 1:1\.37\.0-6, not 1\.35"):
        makers.take_busybox(busybox("1:1.37.0-6"))


def test_without_an_archive_of_debian_there_is_none(monkeypatch):
    def fetch(*_):
        raise apt.AptError("no way")

    monkeypatch.setattr(apt, "fetch", fetch)

    with pytest.raises(Unavailable, match="no way"):
        makers.take_busybox(named("busybox"))


def test_a_file_that_a_package_does_not_have_is_named(tmp_path):
    deb = package(tmp_path, "empty", "1", {})

    with pytest.raises(ToolsError, match=r"empty_1_all\.deb: there is no \./bin/none"):
        makers.member_of(deb, "./bin/none")


def test_the_index_has_every_package_with_its_digest(tmp_path):
    deb = package(tmp_path, "one", "1.2", {"usr/share/one": "1"})

    entry = apt._entry(deb)

    assert entry.startswith("Package: one\nVersion: 1.2\n")
    assert f"\nFilename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: " in entry
    assert entry.endswith("\n\n")
