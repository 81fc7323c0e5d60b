"""The one kind of error that the operator can do something about."""

from __future__ import annotations


class ToolsError(Exception):
    """What is wrong, where, and what to do: printed as it is, without a stack trace."""
