"""What every way to get a program has in common: it gives the program or says why it cannot."""

from __future__ import annotations


class Unavailable(Exception):  # noqa: N818  (not an error: the next way is tried)
    """This way to get a program is not open on this machine; the text says why."""
