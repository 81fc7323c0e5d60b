"""The virtual environment of the checkout."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from tools import files, places, process

LISTS = ("requirements.txt", "requirements-dev.txt", "constraints.txt")
PYTHON = places.VENV / "bin/python"
PIP_INSTALL = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
MARK = places.VENV / ".requirements"
COMPILED = places.VENV / ".byte-code"
COMPILE = """
import importlib, py_compile, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
for module in list(sys.modules.values()):
    file = getattr(module, "__file__", None) or ""
    if file.endswith(".py") and file.startswith(sys.prefix):
        py_compile.compile(file, quiet=2)
"""
PROGRAM = (
    *("preflight", "components.kube_dns", "components.provision", "components.smoke_test"),
    # The SDK loads these only when they are used.
    *("pulumi_kubernetes.core.v1", "pulumi_kubernetes.rbac.v1"),
)
"""Modules that lead to all that the program imports."""


def wanted(root: Path = places.ROOT) -> str:
    """The digest of everything that decides what is in the environment."""
    texts = [(root / name).read_bytes() for name in LISTS]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def is_ready() -> bool:
    return _has_packages() and COMPILED.exists()


def _has_packages() -> bool:
    return MARK.exists() and PYTHON.exists() and MARK.read_text() == wanted()


def make() -> None:
    """Create the environment, or bring it to what the lists say. Safe to interrupt, and to start
    twice: the second waits for the first, and finds nothing to do.
    """
    with files.locked(places.checkout_lock(), _tell_waiting):
        if not is_ready():
            _make()


def _tell_waiting() -> None:
    print("      another set-up of this checkout is at it; waiting for it", file=sys.stderr)


def _make() -> None:
    if not _has_packages():
        _install()
    # Containers and CI often forbid Python to write byte code when it imports (by the variable
    # PYTHONDONTWRITEBYTECODE); each run would then compile all that it imports, half a second long.
    process.run(
        [PYTHON, "-c", COMPILE, *PROGRAM],
        "the program's modules cannot be imported (see above).\nWhen the cause is gone: make setup",
    )
    COMPILED.touch()


def _install() -> None:
    COMPILED.unlink(missing_ok=True)
    if not PYTHON.exists():  # never made, half made, or its Python has left the machine
        shutil.rmtree(places.VENV, ignore_errors=True)
        process.run(
            [sys.executable, "-m", "venv", places.VENV],
            f"{sys.executable} could not make a virtual environment (see above).",
        )
    lists = [word for name in LISTS[:2] for word in ("--requirement", name)]
    process.run(
        # Most of the byte code would be of what is never imported, and took half of the time.
        [*PIP_INSTALL, "--no-compile", *lists, "--constraint", LISTS[2]],
        "pip could not install requirements.txt (see above).\nWhen the cause is gone: make setup",
    )
    files.write(MARK, wanted())
