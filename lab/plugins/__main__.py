"""Pulumi's plugins where they cannot be downloaded: install, uninstall or list them."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from lab.plugins.install import InstallError, Place, default_cache, inspect, install, uninstall


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.plugins", description=__doc__)
    parser.add_argument("action", choices=["install", "uninstall", "list"])
    parser.add_argument("--pulumi-home", type=Path, required=True, help="Pulumi's home directory")
    parser.add_argument("--pulumi", type=Path, default=shutil.which("pulumi"), help="the program")
    parser.add_argument("--python", type=Path, default=sys.executable, help="the interpreter")
    parser.add_argument("--offline", action="store_true", help="do not try to download real ones")
    arguments = parser.parse_args()
    if arguments.pulumi is None:
        parser.error("--pulumi: there is no pulumi on PATH; give its path")
    place = Place(
        pulumi_home=arguments.pulumi_home.absolute(),
        pulumi=arguments.pulumi.absolute(),
        python=arguments.python.absolute(),
        cache=default_cache(),
    )
    try:
        if arguments.action == "uninstall":
            for directory in uninstall(place):
                print(f"removed {directory}")
            return 0
        found = (
            inspect(place)
            if arguments.action == "list"
            else install(place, offline=arguments.offline)
        )
        for name, kind in found.items():
            print(f"{name}: {kind}")
    except InstallError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
