"""Pulumi's salt, kept out of the settings that are in git.

The salt belongs to the passphrase of this machine. The state has it too, and from there Pulumi
takes it (PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER). Settings with secrets need it, and keep it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SALT = re.compile(r"^encryptionsalt:.*\n?", re.MULTILINE)


@contextmanager
def kept_out(path: Path) -> Iterator[None]:
    """Leave a settings file as it was, but for what somebody else writes meanwhile."""
    before = path.read_text()
    try:
        yield
    finally:
        restored = without_salt(before, path.read_text())
        if restored is not None:
            path.write_text(restored)


def without_salt(before: str, after: str) -> str | None:
    r"""The settings as they should be left; None when there is nothing to undo.

    >>> without_salt("a: 1   # x\n", "a: 1 # x\nencryptionsalt: v1:abc\n")
    'a: 1   # x\n'
    """
    if "secure:" in after or not SALT.search(after):
        return None
    rest = SALT.sub("", after)
    # Pulumi also writes its own spacing. Equal but for that: as it was. Else somebody edited it.
    return before if rest.split() == before.split() else rest
