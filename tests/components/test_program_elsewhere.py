"""The whole program on machines people own and on AWS: the same components, other hosts."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

import preflight
from components.aws_hosts import AwsHosts
from preflight.hosts import recipes, targets
from stacks.settings import parse_settings
from tests.components.test_program import COMPONENTS, STACKS, program

__all__ = ["program"]

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHG8rSCkeRc+L9nVWVYj0gIaY2eVeyC636bntrN0WLEP"


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "id"
    path.write_text("PRIVATE KEY")
    return str(path)


@pytest.fixture
def metal(key: str) -> dict[str, Any]:
    cluster = copy.deepcopy(STACKS["metal"])
    cluster["hosts"]["key"] = key
    for machine in cluster["hosts"]["machines"]:
        machine["host_key"] = HOST_KEY
    return cluster


def components(recorder: Any) -> set[str]:
    kinds = {made.type for made in recorder.made}
    return {kind.rpartition(":")[2] for kind in kinds if kind.startswith("kubernetes-mesos:")}


def test_a_metal_stack_differs_from_the_lab_in_its_hosts_only(
    recorder: Any, program: Any, metal: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = {machine["name"]: preflight.Finding() for machine in metal["hosts"]["machines"]}
    monkeypatch.setattr(preflight, "require", lambda *_: findings)

    program(metal)

    assert components(recorder) == {*COMPONENTS.values(), "MetalHosts"} - {"LabHosts"}


def test_what_preflight_expects_on_each_machine_is_what_the_program_runs_there(
    recorder: Any, program: Any, metal: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {"command": "run", "uris": []}
    metal["frameworks"] = [{"name": "one", **job}, {"name": "all", "runs_on": "every", **job}]
    metal["mesos"] = {"roles": [{"name": "analytics", "weight": 2}]}
    settings = parse_settings("metal", metal)
    more = preflight.chosen(settings.frameworks, settings.mesos.roles)
    asked = targets(settings.hosts, more)
    expected = {target.name: {*target.recipes, *target.chosen} for target in asked}
    findings = {name: preflight.Finding() for name in expected}
    monkeypatch.setattr(preflight, "require", lambda *_: findings)

    program(metal)

    on = {made.name: made.inputs for made in recorder.made if "stdin" in made.inputs}
    assert {name for name, on_it in expected.items() if "mesos-framework-one" in on_it} == {
        next(target.name for target in asked if target.control)
    }
    for name, on_it in expected.items():
        assert "RECIPE=machine\n" in json.loads(on[name]["stdin"])["script"]
        for recipe in on_it - {"machine"}:
            made_as = recipe.removeprefix("mesos-") if "-framework-" in recipe else recipe
            assert f"RECIPE={recipe}\n" in on[f"{made_as}-{name}"]["stdin"]


def test_preflight_stops_the_program_before_anything_is_made(
    recorder: Any, program: Any, metal: dict[str, Any]
) -> None:
    for machine in metal["hosts"]["machines"]:
        del machine["host_key"]

    with pytest.raises(preflight.PreflightError, match="3 problems on 3 of 3 hosts"):
        program(metal)

    assert [made.type for made in recorder.made if made.type != "pulumi:pulumi:Stack"] == []


def test_of_a_lab_that_does_not_fit_nothing_is_asked_for(
    recorder: Any, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight.lab, "refusal", lambda *_: "too large")
    with pytest.raises(preflight.PreflightError, match="too large"):
        program({"hosts": {"on": "lab"}})

    assert [made.type for made in recorder.made if made.type != "pulumi:pulumi:Stack"] == []


def test_an_aws_stack_makes_its_hosts_and_says_what_they_cost(
    recorder: Any, program: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = copy.deepcopy(STACKS["aws"])
    cluster["hosts"]["key"] = key

    image = "ami-0123456789abcdef0"
    monkeypatch.setattr(AwsHosts, "_find_image", lambda _: pulumi.Output.from_input(image))

    expected: dict[str, tuple[str, ...]] = {}

    async def ask(self: preflight.Asker, name: str, roles: Any, way: Any) -> dict[str, str]:
        expected[name] = recipes(roles)
        return {"mesos-agent": "repair 1: it"} if name == "general-1" else {}

    monkeypatch.setattr(preflight.Asker, "ask", ask)

    exports = program(cluster)

    assert len(expected) == 9
    made_names = {made.name for made in recorder.made}
    for name, on_it in expected.items():
        assert {f"{recipe}-{name}" for recipe in on_it if recipe != "machine"} <= made_names
        assert f"{name}-join" in made_names
    repairing = [made for made in recorder.made if "repair 1" in made.inputs.get("create", "")]
    assert [made.name for made in repairing] == ["mesos-agent-general-1"]
    assert repairing[0].inputs["create"].endswith("bash -s -- up 'repair 1: it'")
    assert components(recorder) == {*(*COMPONENTS.values(), "AwsHosts", "AwsNetwork", "AwsApi")} - {
        "LabHosts"
    }
    assert exports["estimated_monthly_cost_usd"] == pytest.approx(1106.43)
