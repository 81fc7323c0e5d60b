"""Stack `metal`: bare machines to the answer, again without changes, and away.

``python3 -m bench.metal [TIMES]`` prints one line a figure, in seconds: minimum, median, maximum.
The machines are one control host and two agents as lab hosts that nothing of ours has ever been
on; caches are filled before, packages come by bundle.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path

from bench.stack import spread
from components.programs import cache
from tests.integration.checkout import Checkout, fresh_checkout
from tests.integration.plain_machines import PlainMachines, plain_machines

NAMES = ("rack1", "rack2", "rack3")


@contextmanager
def stage(directory: Path) -> Iterator[tuple[Checkout, PlainMachines]]:
    """A checkout whose stack `metal` names machines, trusted, with nothing on them."""
    checkout = replace(fresh_checkout(directory), stack="metal")
    checkout.run("make setup STACK=metal", timeout=3600)
    if not (cache() / "packages/bookworm/Packages").exists():
        checkout.run("make bundle")
    with plain_machines(directory / "machines", NAMES) as machines:
        settings = checkout.directory / "stacks" / "Pulumi.metal.yaml"
        settings.write_text(machines.stack_file(settings.read_text()))
        checkout.run("make trust STACK=metal")
        yield checkout, machines


def measure(times: int) -> Iterator[tuple[str, str]]:
    up, again, preview, down = [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "machines").mkdir()
        with redirect_stdout(sys.stderr), stage(directory) as (checkout, machines):
            for _ in range(times):
                machines.install_anew(*NAMES)
                for target, taken in (
                    ("up", up),
                    ("up", again),
                    ("preview", preview),
                    ("down", down),
                ):
                    taken.append(checkout.run(f"make {target} STACK=metal").seconds)
    yield "bare machines to answered nslookup (make up)", spread(up)
    yield "make up with nothing to do", spread(again)
    yield "make preview with nothing to do", spread(preview)
    yield "make down", spread(down)


def main(arguments: list[str]) -> None:
    print(f"load {os.getloadavg()[0]:.1f} before; seconds", flush=True)
    for figure, value in measure(int(arguments[0]) if arguments else 3):
        print(f"{figure:<46} {value}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
