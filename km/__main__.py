"""`km scheduler | minion | status | simulate`: chooses the program; each imports only its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

USAGE = """\
usage: km COMMAND …

  km scheduler   run the Mesos framework (see km scheduler --help)
  km minion      be a node; started by Mesos as an executor
  km status      print what the leading scheduler's status page shows
  km simulate    run the scheduler's decisions against simulated masters
  km version     print the version
"""


def main(arguments: Sequence[str]) -> int:
    """Run one command. A mistake in the arguments is one line on stderr and status 64."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", ())
    if command == "minion":
        # First, and with nothing else loaded: it runs on every node, in 40 MB.
        from km.minion.__main__ import main as minion  # noqa: PLC0415

        return minion(rest)
    if command == "scheduler":
        from km.cli import scheduler  # noqa: PLC0415

        return scheduler(rest)
    if command == "status":
        from km.cli import status  # noqa: PLC0415

        return status(rest)
    if command == "simulate":
        from km.simulate.__main__ import main as simulate  # noqa: PLC0415

        return simulate(list(rest))
    if command in ("version", "--version"):
        from km import __version__  # noqa: PLC0415

        print(__version__)
        return 0
    if command in ("help", "-h", "--help"):
        print(USAGE, end="")
        return 0
    given = f"unknown command {command!r}" if command else "no command"
    print(f"km: {given}\n{USAGE}", end="", file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
