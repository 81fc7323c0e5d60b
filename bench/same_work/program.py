"""The work that is compared, as a Pulumi program of ours."""

import json
import os
import sys
from pathlib import Path

import pulumi
from pulumi_command import remote

spec = json.loads(Path(os.environ["SAME_WORK"]).read_text())
sys.path.insert(0, spec["checkout"])

from components import recipe  # noqa: E402 - the path comes first
from components.hosts import Host, Role  # noqa: E402

recipe.RECIPES = Path(spec["recipes"])
for name, host in spec["hosts"].items():
    address = host["address"]
    where = remote.ConnectionArgs(
        host=address,
        port=spec["port"],
        user="root",
        private_key=Path(spec["key"]).read_text(),
        host_key=spec["host_key"],
    )
    machine = Host(
        name=name,
        roles=frozenset({Role.AGENT}),
        address=pulumi.Output.from_input(address),
        connection=where,
    )
    values = {"SAME_ROOT": host["root"]}
    recipe.run_recipe(f"same-{name}", "same", machine, values, pulumi.ResourceOptions())
