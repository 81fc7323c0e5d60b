"""The file that `make bundle` writes: a tar whose first member says what all the others must be.

Its parts lie in it as they lie in the cache, so that using it means to put each where it belongs:
programs and images under their versions, packages and wheels under digests. Nothing that is in
the cache already is replaced, and what a damaged file has in it never gets there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from tools import files, places
from tools.errors import ToolsError

INDEX = "bundle.json"
FORMAT = 1
CHUNK = 1 << 20
DEPTHS = {"images": 2, "packages": 2, "programs": 3, "wheels": 2}
"""How many names deep the directories (and images) are that appear as a whole."""

SHORT = 12
"""Digits of the digest by which packages are called in the cache."""


class BundleError(ToolsError):
    """Why a bundle cannot be used, and what to do about it."""

    def __init__(self, path: Path, given: str, allowed: str, remedy: str) -> None:
        super().__init__(
            f"cluster.hosts.bundle: {path}: {given}; nothing was changed.\n"
            f"    allowed: {allowed}\n    do this: {remedy}"
        )


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file, or a symbolic link."""

    sha256: str = ""
    size: int = 0
    mode: int = 0
    link: str = ""
    """Where it leads; empty for a file."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """What is in a bundle, and for whom."""

    architecture: str
    python: str
    """The Python that its wheels are for, such as 3.11."""

    programs: Mapping[str, str]
    """Version by name."""

    releases: Mapping[str, str]
    """Digest of the list of a release's packages, by release."""

    images: Mapping[str, str]
    """Archive by the image's name."""

    wheels: str
    """The digest of the lists that the wheels are from."""

    parts: Mapping[str, Part]
    """By path in the cache of the machine that packed it."""

    @cached_property
    def text(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts.values())

    @property
    def items(self) -> dict[str, list[str]]:
        """The parts of each directory (or image) that appears as a whole."""
        found: dict[str, list[str]] = {}
        for name in self.parts:
            found.setdefault(item_of(name), []).append(name)
        return found

    def place(self, item: str) -> str:
        """Where an item belongs in a cache: packages of two bundles are kept apart."""
        kind, _, name = item.partition("/")
        return f"packages/{name}-{self.releases[name][:SHORT]}" if kind == "packages" else item


def item_of(name: str) -> str:
    """The whole that a part belongs to.

    >>> item_of("programs/etcd/3.6/etcd"), item_of("images/etcd-1.tar")
    ('programs/etcd/3.6', 'images/etcd-1.tar')

    Raises:
        ValueError: nothing in a bundle is called so.
    """
    names = PurePosixPath(name).parts
    depth = DEPTHS.get(names[0], 0) if names else 0
    if not depth or len(names) < depth or ".." in names:
        raise ValueError(name)
    return "/".join(names[:depth])


def check_name(name: str, part: Part) -> None:
    """Refuse names and links that lead out of where they belong.

    Raises:
        ValueError: This one does.
    """
    item = item_of(name)
    if part.link and item_of(os.path.normpath(PurePosixPath(name).parent / part.link)) != item:
        raise ValueError(name)


def parts_of(cache: Path, items: Iterable[str]) -> dict[str, Part]:
    """Describe all files and links of these items."""
    return {
        str(path.relative_to(cache)): _part(path)
        for item in items
        for path in ([cache / item] if (cache / item).is_file() else (cache / item).rglob("*"))
        if (path.is_symlink() or path.is_file()) and path.suffix != ".part"
    }


def _part(path: Path) -> Part:
    if path.is_symlink():
        return Part(link=str(path.readlink()))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    found = path.stat()
    return Part(sha256=digest, size=found.st_size, mode=found.st_mode & 0o777)


def write(path: Path, index: Index, cache: Path) -> None:
    """Write a bundle: there in full or not at all."""
    with (
        files.appearing(path, 0o644) as part,
        tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar,
    ):
        text = index.text.encode()
        tar.addfile(_member(INDEX, Part(size=len(text), mode=0o644)), io.BytesIO(text))
        for name, one in index.parts.items():
            if one.link:
                tar.addfile(_member(name, one))
            else:
                with (cache / name).open("rb") as file:
                    tar.addfile(_member(name, one), file)


def _member(name: str, part: Part) -> tarfile.TarInfo:
    """TarInfo's defaults are owner root and time 0, so nothing of this machine gets in."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = part.size, part.mode
    if part.link:
        info.type, info.linkname = tarfile.SYMTYPE, part.link
    return info


def read(path: Path) -> Index:
    """Read what a bundle says is in it.

    Raises:
        BundleError: There is no such file, or it is no bundle.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            first = tar.next()
            content = tar.extractfile(first) if first and first.name == INDEX else None
            if content is None:
                raise ValueError(INDEX)
            told = json.load(content)
        if told.pop("format") != FORMAT:
            raise ValueError(FORMAT)
        index = Index(**{**told, "parts": {n: Part(**p) for n, p in told["parts"].items()}})
        for name, part in index.parts.items():
            check_name(name, part)
        for item in index.items:
            index.place(item)  # each release's packages have a digest to be called by
    except OSError as error:
        raise BundleError(
            path,
            error.strerror or str(error),
            "true, false, or a file of `make bundle` that this machine can read",
            "correct the path, or carry the file here",
        ) from error
    except (tarfile.TarError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            path,
            "is no bundle of ours",
            "a file that `make bundle` has written, of this version of the project",
            "make it with `make bundle`, and carry it here whole",
        ) from error
    return index


def is_unpacked(index: Index, cache: Path) -> bool:
    return not _lacking(index, cache)


def _lacking(index: Index, cache: Path) -> list[str]:
    """The items that the cache does not have, or not whole."""
    return [
        item
        for item, names in index.items.items()
        if not all(_in_place(index, cache, name).exists() for name in names)
    ]


def _in_place(index: Index, cache: Path, name: str) -> Path:
    item = item_of(name)
    return cache / (index.place(item) + name.removeprefix(item))


def unpack(path: Path, index: Index, cache: Path) -> None:
    """Put into the cache what it lacks, after every part has been checked.

    Raises:
        BundleError: A part is damaged, or missing; nothing of the bundle is in the cache then.
    """
    with files.locked(cache / "locks" / "bundle.lock", lambda: None):
        lacking = _lacking(index, cache)
        stage = cache / ".bundle.part"
        shutil.rmtree(stage, ignore_errors=True)
        try:
            _extract(path, index, stage)
            for item in lacking:
                target = cache / index.place(item)
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    shutil.rmtree(target)  # not whole: what an interrupted set-up has left
                (stage / item).replace(target)
            _name_images(index, cache)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _extract(path: Path, index: Index, stage: Path) -> None:
    left = dict(index.parts)
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.name == INDEX:
                    continue
                _extract_part(tar, member, left.pop(member.name), stage / member.name)
    except (tarfile.TarError, KeyError, EOFError, ValueError) as error:
        raise _damaged(path, f"damaged ({error})") from error
    except OSError as error:
        raise BundleError(
            path,
            f"cannot be unpacked to {stage}: {error.strerror}",
            f"{index.size / 1e9:.1f} GB free there",
            "make room, and run the same again",
        ) from error
    if left:
        raise _damaged(path, f"it ends before {next(iter(left))}")


def _extract_part(tar: tarfile.TarFile, member: tarfile.TarInfo, part: Part, to: Path) -> None:
    """Write a part, if it is the one that the index speaks of.

    Raises:
        ValueError: It is not.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    if part.link:
        to.symlink_to(part.link)
        return
    content = tar.extractfile(member)
    digest = hashlib.sha256()
    with to.open("wb") as file:
        while content and (chunk := content.read(CHUNK)):
            digest.update(chunk)
            file.write(chunk)
    to.chmod(part.mode)
    if digest.hexdigest() != part.sha256:
        raise ValueError(f"{member.name} has another sha256 than its index says")


def _damaged(path: Path, what: str) -> BundleError:
    return BundleError(
        path, what, "every part as `make bundle` has packed it", "carry the file here again, whole"
    )


def _name_images(index: Index, cache: Path) -> None:
    """Say which archive has which image, beside those that are known already."""
    known = cache / "images" / "index.json"
    names = json.loads(known.read_text()) if known.exists() else {}
    text = json.dumps({**names, **index.images}, indent=1, sort_keys=True)
    files.write(known, f"{text}\n")


def default_path(day: str, releases: Iterable[str]) -> Path:
    name = f"kubernetes-mesos-bundle-{day}-{'-'.join(releases)}.tar"
    return places.cache() / "archives" / name
