"""``python -m km.simulate``: the very core that runs in production, against a simulated world."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import fields

from km.rules import EVERY_AGENT, ON_DEMAND
from km.simulate.master import InvariantError
from km.simulate.report import report, text
from km.simulate.scenario import Plan, Scenario


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="km simulate", description=__doc__)
    for field in fields(Plan):
        flag = "--" + field.name.replace("_", "-")
        kind = {"int": int, "float": float}.get(str(field.type), str)
        choices = {"nodes": (EVERY_AGENT, ON_DEMAND), "kinds": ("all", "harmless")}.get(field.name)
        parser.add_argument(
            flag, type=kind, default=field.default, choices=choices, help="default %(default)s"
        )
    parser.add_argument("--seeds", type=int, default=1, help="so many runs, from --seed upwards")
    parser.add_argument("--json", action="store_true", help="figures as JSON, a line per run")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Play, report; 1 when an invariant broke."""
    given = arguments(sys.argv[1:] if argv is None else argv)
    names = {field.name for field in fields(Plan)}
    for seed in range(given.seed, given.seed + given.seeds):
        values = {name: value for name, value in vars(given).items() if name in names}
        scenario = Scenario(Plan(**{**values, "seed": seed}))
        began, began_cpu = time.perf_counter(), time.process_time()
        try:
            scenario.play()
        except InvariantError as broken:
            where = f"seed {seed}, after {scenario.clock.now:.3f} s"
            print(f"invariant broken: {broken} ({where})", file=sys.stderr)
            return 1
        figures = report(scenario, time.perf_counter() - began, time.process_time() - began_cpu)
        print(json.dumps(figures) if given.json else text(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
