"""Stack files, read as Pulumi reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

STACKS = Path(__file__).resolve().parents[2] / "stacks"
BOOL = "tag:yaml.org,2002:bool"


class Loader(yaml.SafeLoader):
    """YAML 1.2's booleans: to Pulumi, ``on`` is a word."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(BOOL, re.compile("^(true|false)$"), list("tf"))


def stack_files() -> dict[str, Any]:
    """What each stack file says under ``kubernetes-mesos:cluster``, by the stack's name."""
    return {
        path.name.split(".")[1]: yaml.load(path.read_text(), Loader)["config"][
            "kubernetes-mesos:cluster"
        ]
        for path in sorted(STACKS.glob("Pulumi.*.yaml"))
    }
