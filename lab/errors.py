"""What goes wrong in words that the user can act on."""

from __future__ import annotations


class LabError(Exception):
    """A refusal or failure: where, what was found, what is allowed, what to do.

    Shown as one message without a stack trace.
    """
