"""What programs.toml says: each program, its version, and the ways to get it."""

from __future__ import annotations

import hashlib
import platform
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tools import places
from tools.errors import ToolsError

TABLE = Path(__file__).parent / "programs.toml"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
DIGEST_LENGTH = 12


def architecture(machine: str | None = None) -> str:
    """This machine's architecture as Go and Debian call it."""
    machine = machine or platform.machine()
    return ARCHITECTURES.get(machine, machine)


@dataclass(frozen=True, kw_only=True)
class Release:
    """What a publisher offers: one archive with the files in it, or each file by itself."""

    url: str
    checksums: str | None
    """Where the publisher's own checksums are; None when it offers none."""
    members: str | None
    """Which members of the archive to take; None when `url` names each file by itself."""
    arch: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class GoBuild:
    """How to build from Go modules: a module under tools/ and its packages."""

    module: str
    packages: Mapping[str, str]
    cgo: bool
    module_files: Mapping[str, tuple[str, str]]
    """Files that a module has ready: file = (module, directory in it)."""
    tags: str
    ldflags: str


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program of one version."""

    name: str
    fixed_version: str | None
    sources: tuple[str, ...]
    files: tuple[str, ...]
    seconds: int
    on_path: tuple[tuple[str, ...], ...]
    release: Release | None
    go: GoBuild | None
    maker: str | None
    links: Mapping[str, tuple[str, ...]]
    architectures: tuple[str, ...]
    takes_family: bool
    """Whether PATH also has files called <name>-… that belong to it."""
    stand_in: str
    """What of it is not the publisher's own; empty when all is."""
    optional: bool
    """Whether set-up goes on where it cannot be had."""

    @cached_property
    def version(self) -> str:
        """As published; for what is made of our own sources, the digest of those."""
        return self.fixed_version or digest_of(source_files(self.sources))

    @property
    def directory(self) -> Path:
        return places.cache() / "programs" / self.name / self.version

    @property
    def missing_files(self) -> list[str]:
        return [file for file in self.files if not (self.directory / file).exists()]

    @property
    def is_installed(self) -> bool:
        return not self.missing_files

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def has_sources(self) -> bool:
        """False for a program of our own whose sources are not in this checkout."""
        return not self.sources or bool(source_files(self.sources))

    def filled_in(self, template: str, **more: str) -> str:
        """A template of the table with this version (and more) put in."""
        major, minor, *_ = [*self.version.split("."), "", ""]
        return template.format(version=self.version, major=major, minor=minor, **more)


def source_files(patterns: Iterable[str], root: Path = places.ROOT) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})


def digest_of(files: Iterable[Path], root: Path = places.ROOT) -> str:
    """A version for our own sources: changes when a name or a byte of them does."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True, kw_only=True)
class GoSettings:
    """Which Go builds the programs: PATH's from `minimum` on, else a package of the index."""

    minimum: str
    package: str
    version: str


def load(text: str | None = None) -> tuple[GoSettings, dict[str, Program]]:
    """The table, in its order: what takes long and is needed first comes first."""
    table = tomllib.loads(text if text is not None else TABLE.read_text())
    go = GoSettings(**table.pop("go"))
    return go, {name: _program(name, entry) for name, entry in table.items()}


def programs() -> dict[str, Program]:
    return load()[1]


def named(name: str) -> Program:
    table = programs()
    if name not in table:
        raise ToolsError(f"{name}: no such program; known are {', '.join(table)}")
    return table[name]


def _program(name: str, entry: Mapping[str, Any]) -> Program:
    release, go = entry.get("release"), entry.get("go")
    return Program(
        name=name,
        fixed_version=entry.get("version"),
        sources=tuple(entry.get("sources", ())),
        files=tuple(entry["files"]),
        seconds=entry["seconds"],
        on_path=tuple(tuple(command) for command in entry.get("on_path", ())),
        release=release and _release(release),
        go=go and _go_build(go),
        maker=entry.get("maker"),
        links={file: tuple(names) for file, names in entry.get("links", {}).items()},
        architectures=tuple(entry.get("architectures", ARCHITECTURES.values())),
        takes_family=entry.get("takes_family", False),
        stand_in=entry.get("stand_in", ""),
        optional=entry.get("optional", False),
    )


def _release(entry: Mapping[str, Any]) -> Release:
    return Release(
        url=entry["url"],
        checksums=entry.get("checksums"),
        members=entry.get("members"),
        arch=entry.get("arch", {}),
    )


def _go_build(entry: Mapping[str, Any]) -> GoBuild:
    return GoBuild(
        module=entry["module"],
        packages=entry["packages"],
        module_files={f: (m, d) for f, (m, d) in entry.get("module_files", {}).items()},
        cgo=entry.get("cgo", False),
        tags=entry.get("tags", ""),
        ldflags=entry.get("ldflags", ""),
    )
