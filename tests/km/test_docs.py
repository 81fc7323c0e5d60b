"""What docs/km.md and km/README.md name is what there is, and nothing is left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from km.status.metrics import Metrics
from km.status.view import ORDER

ROOT = Path(__file__).parents[2]
KM = (ROOT / "docs" / "km.md").read_text()
README = (ROOT / "km" / "README.md").read_text()


def section(text: str, title: str) -> str:
    """What stands below a heading, up to the next."""
    return text.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def first_cells(text: str) -> set[str]:
    """Everything in backticks in the first column of the tables."""
    cells = (line.split("|")[1] for line in text.splitlines() if line.startswith("|"))
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def code() -> Iterator[ast.AST]:
    """All of the core's syntax."""
    for path in sorted((ROOT / "km").glob("*.py")):
        yield from ast.walk(ast.parse(path.read_text()))


def constants(node: ast.AST) -> set[str]:
    return {
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }


def metrics() -> set[str]:
    """Names as Prometheus reads them, without the suffixes of histograms."""
    lines = Metrics().text().decode().splitlines()
    families = {line.split()[2] for line in lines if line.startswith("# TYPE km_")}
    return {name for name in families if not name.endswith("_created")}


@pytest.mark.parametrize("text", [KM, README], ids=["docs/km.md", "km/README.md"])
def test_every_metric_is_described_and_no_other(text: str) -> None:
    listed = {name.split("{")[0] for name in first_cells(section(text, "Metrics"))}
    named = {name for name in listed if name.startswith("km_")}

    if text is README:
        named.add("km_build_info")
    assert named == metrics()


def test_every_counter_is_described_and_no_other() -> None:
    found = set()
    for node in code():
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(".counters"):
            if isinstance(node.slice, ast.JoinedStr):
                found.add(next(iter(constants(node.slice))))
            else:
                found |= {name for name in constants(node.slice) if "." in name or name == "nudges"}
    listed = {re.sub("<.*>", "", name) for name in first_cells(section(KM, "Metrics"))}
    listed = {name for name in listed if not name.startswith("km_")}

    assert listed == found - {"action."}, "actions have a metric of their own"


def test_every_event_is_described_and_no_other() -> None:
    found = set()
    for node in code():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "world.tell":
            found |= constants(node.args[1])

    assert first_cells(section(KM, "Events")) == found


def test_every_state_of_a_node_is_described_and_no_other() -> None:
    assert first_cells(section(KM, "States of a node")) == {*ORDER, "disconnected"}


def test_every_stage_of_a_bind_is_described_and_no_other() -> None:
    found = set()
    for node in code():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith(".stage"):
            found |= constants(node.value)

    assert first_cells(section(KM, "States of a pod")) == found


@pytest.mark.parametrize("path", ["docs/km.md", "km/README.md"])
def test_what_is_linked_is_there(path: str) -> None:
    file = ROOT / path
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text()):
        assert target.startswith("https://") or (file.parent / target).exists(), target
