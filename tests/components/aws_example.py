"""All that the example `stacks/Pulumi.aws.yaml` asks of AWS, down to the last input, as text.

``python3 -m tests.components.aws_example`` writes the file that the test compares with; what has
changed in it is to be read like a change of a stack.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi

from components import provision
from stacks.settings import parse_settings
from tests.components.aws_case import VERSIONS, AwsMocks, asking, build_from, stack_file

FILE = Path(__file__).with_name("aws_example.json")


def example(**changed: Any) -> AwsMocks:
    """Run the component with what the example says, and these of its keys changed."""
    given = stack_file("aws")
    settings = parse_settings("aws", {**given, "hosts": {**given["hosts"], **changed}})
    with (
        mock.patch.object(provision, "private_key", return_value="PRIVATE"),
        mock.patch.object(pulumi, "get_stack", return_value="aws"),
        mock.patch.object(pulumi, "get_project", return_value="kubernetes-mesos"),
    ):
        return build_from(provision.aws_args(settings.hosts, asking([]), VERSIONS))[0]


def asked(mocks: AwsMocks) -> dict[str, Any]:
    """By name: what kind of resource, with which inputs, after which others of AWS'."""
    made = {name: kind for name, (kind, _) in mocks.made.items()}
    return {
        name: {
            "type": kind,
            "inputs": whole(mocks.inputs(name)),
            "after": sorted(other for other in mocks.before(name) if other in made),
        }
        for name, kind in sorted(made.items())
        if kind.startswith(("aws:", "pulumi:providers:aws"))
    }


def whole(value: Any) -> Any:
    """Write 40.0, as numbers travel between Pulumi and its plugins, as 40."""
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def everything() -> dict[str, Any]:
    plain, guarded = asked(example()), asked(example(bastion=True))
    return {
        "example": plain,
        "with a bastion": {name: one for name, one in guarded.items() if plain.get(name) != one},
        "gone with a bastion": sorted(plain.keys() - guarded.keys()),
    }


def text(everything: dict[str, Any]) -> str:
    """One resource a line, so that a difference shows which."""
    parts = []
    for title, content in everything.items():
        named = content.items() if isinstance(content, dict) else []
        body = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in named)
        shown = f"{{\n{body}\n }}" if named else json.dumps(content)
        parts.append(f" {json.dumps(title)}: {shown}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(text(everything()))
