"""A stack file as Pulumi reads it: YAML 1.2, in which ``on`` is a word and no truth value."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """PyYAML without YAML 1.1's yes, no, on and off."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def load(text: str) -> Any:
    """Read the file's data."""
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


def nodes(text: str) -> yaml.Node | None:
    """Read the file's structure, with places in the text."""
    return yaml.compose(text, _Loader)
