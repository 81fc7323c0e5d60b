"""A problem of a host in words, and many of them as one table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTHS = (14, 14, 34, 34, 44)
"""Columns of the table: host, what, found, allowed, remedy."""


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """Something of one host that must change before the cluster can be put on it."""

    host: str
    what: str
    found: str
    allowed: str
    remedy: str

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        return self.host, self.what, self.found, self.allowed, self.remedy


def table(problems: Iterable[Problem]) -> str:
    """All problems, one below the other, long words wrapped inside their columns."""
    rows = [("HOST", "WHAT", "FOUND", "ALLOWED", "REMEDY"), *(one.cells for one in problems)]
    widths = [
        min(limit, max(len(row[column]) for row in rows)) for column, limit in enumerate(WIDTHS)
    ]
    return "\n".join(line for row in rows for line in _lines(row, widths))


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
    height = max(len(cell) for cell in cells)
    padded = [cell + [""] * (height - len(cell)) for cell in cells]
    return [
        "  ".join(
            cell[line].ljust(width) for cell, width in zip(padded, widths, strict=True)
        ).rstrip()
        for line in range(height)
    ]
