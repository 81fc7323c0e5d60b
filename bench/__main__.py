"""`make bench`: measure what docs/figures.md records. `python3 -m bench STACK [NAME…]`.

Names: ``stack`` takes the stack down and up (minutes), ``pods`` needs it up. Without a name, both.
"""

from __future__ import annotations

import sys

from bench import pods, stack


def main(arguments: list[str]) -> int:
    measures = {"stack": stack.measure, "pods": pods.measure}
    name, *chosen = arguments
    if unknown := [word for word in chosen if word not in measures]:
        print(
            f"bench: {unknown[0]!r} is unknown; there are: {', '.join(measures)}", file=sys.stderr
        )
        return 64
    for measure in chosen or measures:
        for figure, value in measures[measure](name):
            print(f"{figure:<60} {value}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
