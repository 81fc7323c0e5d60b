"""The files that `assetPaths` and `archivePaths` select, as assets and as one archive."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lab.plugins.values import ARCHIVE, ASSET, SIGNATURE, Properties


def collected(directory: Path, state: Properties) -> Properties:
    """The outputs `assets` and `archive`, as far as they are asked for."""
    outputs: Properties = {}
    if (patterns := state.get("assetPaths")) is not None:
        outputs["assets"] = assets(directory, patterns)
    if (patterns := state.get("archivePaths")) is not None:
        outputs["archive"] = {SIGNATURE: ARCHIVE, "assets": assets(directory, patterns)}
    return outputs


def assets(directory: Path, patterns: list[str]) -> Properties:
    """Each selected file as a file asset, by its path below the directory."""
    return {
        path: {
            SIGNATURE: ASSET,
            "path": str(directory / path),
            "hash": hashlib.sha256((directory / path).read_bytes()).hexdigest(),
        }
        for path in matching(directory, patterns)
    }


def matching(directory: Path, patterns: list[str]) -> list[str]:
    """The files below a directory that the patterns select; later patterns win, "!" excludes."""
    rules = [
        (not pattern.startswith("!"), glob_regex(pattern.removeprefix("!"))) for pattern in patterns
    ]
    selected = []
    for file in sorted(directory.rglob("*")):
        path = file.relative_to(directory).as_posix()
        chosen = False
        for include, regex in rules:
            if regex.fullmatch(path):
                chosen = include
        if chosen and not file.is_dir():
            selected.append(path)
    return selected


def glob_regex(pattern: str) -> re.Pattern[str]:
    """`*` stays within a directory, `**` does not; `?`, `[a-z]`, `[!a]` and `{a,b}` as usual."""
    parts = []
    for part in re.findall(r"\*\*|\[[^\]]+\]|\\.|.", pattern, re.DOTALL):
        if part == "**":
            parts.append(".*")
        elif part == "*":
            parts.append("[^/]*")
        elif part == "?":
            parts.append("[^/]")
        elif part.startswith("[") and len(part) > 1:
            parts.append("[^" + part[2:] if part[1] == "!" else part)
        elif part in "{,}":
            parts.append({"{": "(?:", ",": "|", "}": ")"}[part])
        else:
            parts.append(re.escape(part[-1]))
    return re.compile("".join(parts), re.DOTALL)
