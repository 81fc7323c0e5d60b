"""Where the programs of Mesos come from: the lab's own build, an archive, or packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Protocol

from pydantic import AfterValidator

from stacks.metal_settings import Strict
from stacks.problems import Problem, wrong

PLACE = "cluster.mesos.source"


def _place(value: str) -> str:
    if not re.fullmatch(r"(https://[^\s/]+/|/|~/)\S*[^\s/]", value):
        raise wrong(
            "https://… of a file, or its path on this machine: absolute, or beginning with ~/",
            "write where it lies; `make mesos-archive` prints that of the lab's own build",
        )
    return value


def _repository(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/\[\]]+(/[^\s\[\]]*)?", value):
        raise wrong(
            "http://… or https://… of an apt repository, without blanks",
            "write what stands behind `deb` in a line of sources.list; its key is a setting",
        )
    return value


def _word(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9{][A-Za-z0-9{}./_-]*", value):
        raise wrong("one word of a line in sources.list", "write for example {codename} or main")
    return value


def _package(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", value):
        raise wrong("the name of a Debian package", "see `apt-cache search mesos` there")
    return value


def _version(value: str) -> str:
    if not re.fullmatch(r"[0-9][A-Za-z0-9.+~-]*", value):
        raise wrong(
            "a whole version as apt writes it, such as 1.11.0-0.7.1",
            "see `apt-cache policy` there; with a version, every machine gets the same one",
        )
    return value


def _directory(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value):
        raise wrong("an absolute path of a directory", "see `dpkg -L` of the package")
    return value


def _sha256(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise wrong("64 digits of 0-9 and a-f", "write what `sha256sum` says of the right file")
    return value


Sha256 = Annotated[str, AfterValidator(_sha256)]
Place = Annotated[str, AfterValidator(_place)]
Word = Annotated[str, AfterValidator(_word)]
Package = Annotated[str, AfterValidator(_package)]
Directory = Annotated[str, AfterValidator(_directory)]


class MesosArchive(Strict):
    """A tar archive with the programs of Mesos beside each other."""

    url: Place
    """Where it lies: https://…, or a path on the operator's machine."""

    sha256: Sha256
    """What its content must be."""


class RepositoryKey(Strict):
    """The key that the repository is signed with."""

    url: Place
    """Where its text (ASCII armor) lies: https://…, or a path on the operator's machine."""

    sha256: Sha256
    """What its content must be."""


class MesosPackages(Strict):
    """Packages that machines fetch from an apt repository, such as ClusterD's."""

    url: Annotated[str, AfterValidator(_repository)]
    """The repository; `{codename}` in it is the machine's release, such as bookworm."""

    suite: Word = "{codename}"
    """Its suite."""

    component: Word = "main"
    """Its component."""

    key: RepositoryKey
    """The key that it is signed with; nothing else is trusted."""

    package: Package = "aventer-mesos"
    """The package with Mesos' programs."""

    version: Annotated[str, AfterValidator(_version)]
    """Its version, the same on every machine."""

    needs: tuple[Package, ...] = (
        "libevent-2.1-7",
        "libevent-openssl-2.1-7",
        "libevent-pthreads-2.1-7",
    )
    """Packages that it needs and does not name."""

    programs: Directory = "/usr/bin"
    """Where it puts mesos-master and mesos-agent."""

    launchers: Directory = "/usr/libexec/mesos"
    """Where it puts mesos-containerizer, mesos-executor and mesos-fetcher."""


class MesosSource(Strict):
    """One of the two, or neither: then it is `built`."""

    archive: MesosArchive | None = None
    """An archive, checked on the operator's machine and sent to the machines like all programs."""

    packages: MesosPackages | None = None
    """Packages that the machines fetch themselves; not in the lab, and not with `bundle`."""


class Hosts(Protocol):
    @property
    def on(self) -> str: ...


def sources(source: MesosSource, hosts: Hosts) -> Iterator[Problem]:
    """Find sources that cannot be true together, or not on these hosts."""
    if source.archive and source.packages:
        yield Problem(
            place=PLACE,
            given="archive and packages",
            allowed="one of them",
            remedy="remove the other",
        )
    if source.packages and hosts.on == "lab":
        yield Problem(
            place=f"{PLACE}.packages",
            given="packages for hosts of the lab",
            allowed="built or archive: hosts of the lab install no packages",
            remedy="make an archive of the package's programs, or remove it",
        )
    if source.packages and getattr(hosts, "bundle", False):
        yield Problem(
            place=f"{PLACE}.packages",
            given="packages, and hosts.bundle",
            allowed="one of them: with bundle, machines ask no repository",
            remedy="use an archive, or let the machines reach the repository",
        )
