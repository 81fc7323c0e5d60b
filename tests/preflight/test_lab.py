"""What the lab is asked about is what the program makes."""

from __future__ import annotations

import pulumi
import pytest

import preflight
from preflight import lab
from stacks.settings import LabHosts, parse_settings


def hosts(**given: object) -> LabHosts:
    found = parse_settings("test", {"hosts": {"on": "lab", **given}}).hosts
    assert isinstance(found, LabHosts)
    return found


def test_every_host_is_asked_about_with_its_size() -> None:
    asked = lab.question(hosts(agents={"count": 2, "cpus": 1}, network="10.90.7.0/24"), "test")

    assert asked["network"] == "10.90.7.0/24"
    agent = {"cpus": 1, "memory_mb": 4096, "disk_gb": 12}
    assert asked["hosts"] == [
        {"name": "control-1", "cpus": 2, "memory_mb": 2560, "disk_gb": 8},
        {"name": "agent-1", **agent},
        {"name": "agent-2", **agent},
    ]


def test_a_lab_that_fits_is_not_refused() -> None:
    small = {"cpus": 1, "memory_mb": 1536, "disk_gb": 10}
    assert lab.refusal(hosts(agents={**small, "count": 1}, control=small), "test") is None


def test_a_lab_that_does_not_fit_is_refused_with_what_the_lab_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulumi, "get_stack", lambda: "test")
    huge = hosts(agents={"memory_mb": 9_000_000, "cpus": 512})

    with pytest.raises(preflight.PreflightError) as error:
        preflight.require(huge, "kubernetes-mesos/test", images=[])
    said = str(error.value)
    assert "The lab of stack test cannot be made on this machine; nothing was changed." in said
    assert "memory_mb: 18002560 MB asked, this machine has" in said
    assert "host agent-1: cpus: 512 asked" in said
