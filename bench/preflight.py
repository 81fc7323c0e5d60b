"""How long preflight takes for many hosts: real sshd processes on loopback addresses.

``python3 -m bench.preflight [COUNT]`` prints one line of figures.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from preflight.ask import ask
from preflight.judge import judge
from preflight.targets import Target
from tests.preflight.light_hosts import light_hosts


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as directory, light_hosts(Path(directory), count) as hosts:
        # Each host asks the way to nine ports of others, as agents of three control hosts do.
        ways = frozenset(f"{hosts.addresses[0]}:{20000 + port}" for port in range(9))
        targets = [
            Target(name=f"host-{index}", login=hosts.login(index), peers=ways)
            for index in range(count)
        ]
        started = time.monotonic()
        answers = ask(targets)
        problems = judge(answers, "bench")
        seconds = time.monotonic() - started
        answered = sum(answer.facts is not None for answer in answers)
    print(
        f"{answered} of {count} hosts asked and judged in {seconds:.1f} s, {len(problems)} problems"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
