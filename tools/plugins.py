"""Pulumi's plugins: the real ones where they can be had, stand-ins where they cannot.

Where all are real, nothing of ours is set: Pulumi keeps them in its own home. Else this checkout
has a Pulumi home inside its virtual environment, so that a stand-in is never in the way of another
project's plugins. What was found is kept until a version changes; `make setup REFRESH=yes` asks
again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tools import files, places, release
from tools.errors import ToolsError
from tools.programs import architecture, digest_of, named, source_files

HOME = places.VENV / "pulumi"
MARK = HOME / "decided.json"
SOURCES = ("lab/plugins/**/*.py", "lab/plugins/requirements.txt")
LANGUAGE = "language-python"
RESOURCES = ("command", "kubernetes")


def versions(text: str | None = None) -> dict[str, str]:
    r"""The plugins that the program's packages want: name to version.

    >>> versions("pulumi==3.1.0\npulumi-command==1.2.1\npulumi-kubernetes==4.32.0\n")
    {'command': '1.2.1', 'kubernetes': '4.32.0'}
    """
    text = text if text is not None else (places.ROOT / "requirements.txt").read_text()
    pins = dict(line.split("==", 1) for line in text.splitlines() if "==" in line)
    return {name: pins[f"pulumi-{name}"].strip() for name in RESOURCES}


def wanted() -> list[object]:
    """What the decision depends on; anything else than in the mark means to decide again."""
    code = digest_of(source_files(SOURCES))
    return [named("pulumi").version, versions(), code, list(sys.version_info[:2])]


def decided() -> dict[str, str] | None:
    """`real` or `stand-in` for each plugin; None when that is not known for these versions."""
    try:
        mark = json.loads(MARK.read_text())
    except (OSError, ValueError):
        return None
    kinds: dict[str, str] = mark["kinds"]
    return kinds if mark["wanted"] == wanted() else None


def has_stand_ins() -> bool:
    return "stand-in" in (decided() or {}).values()


def ensure(*, refresh: bool = False) -> None:
    """Find out which plugins are real here, and install what stands in for the others."""
    if decided() is not None and not refresh:
        return
    with files.locked(places.checkout_lock(), lambda: None):
        if decided() is None or refresh:  # another set-up may have decided meanwhile
            _decide()


def _decide() -> None:
    MARK.unlink(missing_ok=True)
    kinds = {LANGUAGE: "real" if _has_language_host() else "stand-in"}
    kinds |= {n: "real" if _is_real(n, v) else "stand-in" for n, v in versions().items()}
    if "stand-in" in kinds.values():
        kinds = _install(offline="real" not in kinds.values())
        standing = ", ".join(name for name, kind in kinds.items() if kind == "stand-in")
        print(
            f"Pulumi's own {standing} cannot be had here: stand-ins of lab/plugins", file=sys.stderr
        )
    HOME.mkdir(parents=True, exist_ok=True)
    files.write(MARK, json.dumps({"wanted": wanted(), "kinds": kinds}) + "\n")


def _has_language_host() -> bool:
    """Pulumi's releases have it beside the program; what Go builds is the program alone."""
    return (named("pulumi").directory / "pulumi-language-python").exists()


def url(name: str, version: str) -> str:
    """Where Pulumi itself downloads a plugin from."""
    return (
        "https://get.pulumi.com/releases/plugins/"
        f"pulumi-resource-{name}-v{version}-linux-{architecture()}.tar.gz"
    )


def _is_real(name: str, version: str) -> bool:
    """Whether the operator has the real plugin already or can download it."""
    own = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    installed = own / "plugins" / f"resource-{name}-v{version}" / f"pulumi-resource-{name}"
    is_installed = installed.exists() and not is_a_checkouts(own)
    return is_installed or release.reachable(url(name, version))


def is_a_checkouts(home: Path) -> bool:
    """Whether a Pulumi home is this or another checkout's: what lies in it may be a stand-in."""
    return home == HOME or (home / MARK.name).exists()


def _install(*, offline: bool) -> dict[str, str]:
    """Fill our Pulumi home; gives what each plugin in it is."""
    pulumi = named("pulumi").directory / "pulumi"
    command = [sys.executable, "-m", "lab.plugins", "install", "--python", sys.executable]
    command += ["--pulumi-home", str(HOME), "--pulumi", str(pulumi)]
    command += ["--offline"] if offline else []
    done = subprocess.run(command, cwd=places.ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ToolsError("The stand-ins of Pulumi's plugins could not be installed (see above).")
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())
