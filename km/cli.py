"""The commands of operators: `km scheduler` and `km status`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from km.cluster.kubeconfig import KubeconfigError
from km.logs import set_up_logging
from km.scheduler import run_scheduler
from km.settings import SettingsError, parse_settings
from km.status.serve import PortTakenError
from km.status.terminal import print_status

USAGE_ERROR = 64
"""sysexits' EX_USAGE: systemd is told not to start again what cannot work."""

TRY_AGAIN = 75
"""sysexits' EX_TEMPFAIL."""


def scheduler(arguments: Sequence[str]) -> int:
    """`km scheduler`."""
    try:
        settings = parse_settings(arguments)
        set_up_logging(settings.log_format, settings.log_level)
        return asyncio.run(run_scheduler(settings))
    except (SettingsError, KubeconfigError) as error:
        print(f"km scheduler: {error}", file=sys.stderr)
        return USAGE_ERROR
    except PortTakenError as error:
        # The one before may only be slow to end: worth another start.
        print(f"km scheduler: {error}", file=sys.stderr)
        return TRY_AGAIN


def status(arguments: Sequence[str]) -> int:
    """`km status`."""
    try:
        return print_status(arguments)
    except SettingsError as error:
        print(f"km status: {error}", file=sys.stderr)
        return USAGE_ERROR
