"""`make check` and `make test`: every tool and every test that this machine can run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools import engine, golang, places, process, venv
from tools.errors import ToolsError
from tools.progress import duration

TYPED = (
    *("components", "stacks", "km", "lab", "moves", "tools", "preflight"),
    "__main__.py",
)
"""What mypy checks strictly, as far as it is there."""
OLDEST_HOST = "3.10"
"""The oldest Python of a host that km runs on."""


@dataclass(frozen=True, kw_only=True)
class Check:
    name: str
    command: Sequence[str | Path]
    cwd: Path = places.ROOT
    environment: dict[str, str] = field(default_factory=dict)


def checks() -> list[Check]:
    """Everything that reads the code without running it."""
    tool = venv.PYTHON.parent
    typed = [path for path in TYPED if (places.ROOT / path).exists()]
    found = [
        Check(name="ruff", command=[tool / "ruff", "check", "--quiet", "."]),
        Check(name="format", command=[tool / "ruff", "format", "--check", "--quiet", "."]),
        Check(name="mypy", command=[tool / "mypy", "--strict", *typed]),
    ]
    if (places.ROOT / "km").exists():
        older = ["--python-version", OLDEST_HOST, "--cache-dir", ".mypy_cache/oldest"]
        found.append(Check(name="mypy 3.10", command=[tool / "mypy", "--strict", *older, "km"]))
    found.append(Check(name="shellcheck", command=["shellcheck", "--external-sources", *scripts()]))
    if (places.ROOT / ".importlinter").exists():
        found.append(Check(name="imports", command=[tool / "lint-imports", "--no-cache"]))
    for module in go_modules():
        command = [golang.toolchain(), "vet", "./..."]
        found.append(Check(name="go vet", command=command, cwd=module))
    return found


def scripts(root: Path = places.ROOT) -> list[Path]:
    """Every shell script: by its name, or by its first line."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return sorted(Path(name) for name in listed if _is_script(root / name))


def _is_script(path: Path) -> bool:
    if path.suffix == ".sh":
        return path.exists()
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and first.rstrip().endswith((b"/sh", b"bash"))


def go_modules() -> list[Path]:
    """The Go that is ours; the other modules only name what is built."""
    return [path for path in (places.ROOT / "tools/kube2sky",) if (path / "go.mod").exists()]


def run(wanted: Iterable[Check]) -> None:
    """Run every check, also after one that failed, and then say which did.

    Raises:
        ToolsError: one or more failed.
    """
    failed = []
    for check in wanted:
        start = time.monotonic()
        print(f"{check.name:<12}", end="", flush=True)
        done = subprocess.run(
            check.command,
            cwd=check.cwd,
            env={**os.environ, **check.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        verdict = "FAILED" if done.returncode else "ok"
        print(f"{verdict:<8}{duration(time.monotonic() - start)}", flush=True)
        if done.returncode:
            failed.append(check.name)
            print(done.stdout + done.stderr, flush=True)
    if failed:
        raise ToolsError(f"make check: {', '.join(failed)} failed (see above).")


def test(arguments: Sequence[str]) -> None:
    """Run pytest over everything, or over what is named; it prints why it skipped what."""
    process.run(
        [venv.PYTHON, "-m", "pytest", *arguments],
        "make test: not everything passed (see above).",
        environment={**os.environ, "PATH": engine.path(os.environ.get("PATH", os.defpath))},
    )


def formatted() -> None:
    """Bring the code into its form."""
    tool = venv.PYTHON.parent / "ruff"
    subprocess.run([tool, "check", "--fix", "--quiet", "."], cwd=places.ROOT, check=False)
    subprocess.run([tool, "format", "."], cwd=places.ROOT, check=True, stdout=sys.stderr)
