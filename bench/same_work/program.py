"""The work that is compared, as a Pulumi program of ours: it asks all hosts first."""

import gc
import json
import os
import sys
from importlib import import_module
from pathlib import Path

import pulumi
from pulumi_command import remote

gc.disable()  # as __main__.py does
spec = json.loads(Path(os.environ["SAME_WORK"]).read_text())
sys.path.insert(0, spec["checkout"])

import preflight  # noqa: E402 - the path comes first
from components import recipe  # noqa: E402
from components.hosts import Host, Role  # noqa: E402
from components.ssh import Login  # noqa: E402
from preflight.targets import Target  # noqa: E402

import_module("preflight.ask").SCRIPT = Path(spec["facts"])
recipe.RECIPES = Path(spec["recipes"])

key = Path(spec["key"])
targets = [
    Target(
        name=name,
        login=Login(
            address=host["address"],
            port=spec["port"],
            user="root",
            key=key,
            host_key=spec["host_key"],
        ),
        recipes=("same",),
    )
    for name, host in spec["hosts"].items()
]
findings = {answer.target.name: preflight.finding(answer) for answer in preflight.asked(targets)}

for target in targets:
    machine = Host(
        name=target.name,
        roles=frozenset({Role.AGENT}),
        address=pulumi.Output.from_input(target.login.address),
        connection=remote.ConnectionArgs(
            host=target.login.address,
            port=target.login.port,
            user=target.login.user,
            private_key=key.read_text(),
            host_key=target.login.host_key,
        ),
        repairs=findings[target.name].repairs,
    )
    values = {"SAME_ROOT": spec["hosts"][target.name]["root"]}
    recipe.run_recipe(f"same-{target.name}", "same", machine, values, pulumi.ResourceOptions())
