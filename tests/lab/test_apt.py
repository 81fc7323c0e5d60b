"""Package sources are taken from this machine's own configuration."""

from __future__ import annotations

from pathlib import Path

from lab.apt import debian_sources

DEB822 = """\
Types: deb deb-src
# a comment in between
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""


def machine(tmp_path: Path, release: str) -> Path:
    (tmp_path / "os-release").write_text(release)
    parts = tmp_path / "apt/sources.list.d"
    parts.mkdir(parents=True)
    return parts


def test_both_formats_are_read_and_the_release_is_replaced(tmp_path: Path) -> None:
    parts = machine(tmp_path, 'ID=debian\nVERSION_CODENAME="bookworm"\n')
    (parts / "debian.sources").write_text(DEB822)
    (tmp_path / "apt/sources.list").write_text(
        "# deb http://old.example/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://line.example/debian bookworm main # near\n"
        "deb http://other.example/tools stable main\n"
        "deb-src http://line.example/debian bookworm main\n"
    )
    lines = [source.line() for source in debian_sources("trixie", tmp_path / "apt")]
    signed = "[signed-by=/usr/share/keyrings/debian.gpg]"
    assert lines == [
        "deb [signed-by=/k.gpg] http://line.example/debian trixie main",
        f"deb {signed} http://mirror.example/debian trixie main",
        f"deb {signed} http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/security trixie-security main",
    ]


def test_a_machine_that_is_no_debian_has_none(tmp_path: Path) -> None:
    parts = machine(tmp_path, "ID=ubuntu\nVERSION_CODENAME=noble\n")
    (parts / "debian.sources").write_text(DEB822.replace("bookworm", "noble"))
    assert debian_sources("bookworm", tmp_path / "apt") == []
