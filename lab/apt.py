"""Package sources as this machine is configured, told for any Debian release.

Machines reach their packages through mirrors and proxies of their own, so the lab asks the
configuration of apt instead of knowing an address.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

APT = Path("/etc/apt")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One binary package source: an archive, a suite of it, and how it is signed."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str | None = None

    def line(self) -> str:
        """The source in the one-line format of sources.list."""
        options = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {options}{self.uri} {self.suite} {' '.join(self.components)}"


def debian_sources(release: str, apt: Path = APT) -> list[Source]:
    """This machine's Debian archives, with the codename replaced by `release`.

    Empty when the machine has none (Ubuntu, say): mmdebstrap then uses its own default.
    """
    codename = _codename(apt.parent / "os-release")
    found = []
    for source in _all_sources(apt):
        name, dash, pocket = source.suite.partition("-")
        if "main" not in source.components or name != codename:
            continue
        suite = f"{release}{dash}{pocket}"
        found.append(
            Source(uri=source.uri, suite=suite, components=("main",), signed_by=source.signed_by)
        )
    return found


def acquire_options() -> str:
    """How apt here reaches its archives (proxies, certificates), as configuration text."""
    dump = subprocess.run(
        ["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=False
    )
    lines = (line for line in dump.stdout.splitlines() if _is_route(line))
    return "".join(f"{line}\n" for line in lines)


def _is_route(line: str) -> bool:
    return bool(re.match(r'Acquire::(http|https|ftp|Retries|Languages|Check-)\S* "', line))


def _codename(os_release: Path) -> str | None:
    fields = dict(line.split("=", 1) for line in os_release.read_text().splitlines() if "=" in line)
    if fields.get("ID", "").strip('"') != "debian":
        return None
    return fields.get("VERSION_CODENAME", "").strip('"') or None


def _all_sources(apt: Path) -> Iterator[Source]:
    parts = apt / "sources.list.d"
    for path in [apt / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            yield from _one_line(path.read_text().splitlines())
    for path in sorted(parts.glob("*.sources")):
        yield from _deb822(path.read_text())


def _one_line(lines: Iterable[str]) -> Iterator[Source]:
    pattern = re.compile(
        r"^deb\s+(?:\[(?P<options>[^]]*)]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<c>.*)"
    )
    for line in lines:
        match = pattern.match(line.split("#", 1)[0].strip())
        if match:
            options = dict(o.split("=", 1) for o in (match["options"] or "").split() if "=" in o)
            yield Source(
                uri=match["uri"],
                suite=match["suite"],
                components=tuple(match["c"].split()),
                signed_by=options.get("signed-by"),
            )


def _deb822(text: str) -> Iterator[Source]:
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", stanza, flags=re.MULTILINE))
        if "deb" not in fields.get("Types", "").split() or fields.get("Enabled") == "no":
            continue
        signed_by = fields.get("Signed-By", "").strip()
        for uri in fields.get("URIs", "").split():
            for suite in fields.get("Suites", "").split():
                yield Source(
                    uri=uri,
                    suite=suite,
                    components=tuple(fields.get("Components", "").split()),
                    signed_by=signed_by if signed_by.startswith("/") else None,
                )
