"""What goes to a stack's machines from here, as `make bundle` asks for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from preflight import __main__ as command
from tests.stacks.test_mesos_source_settings import PACKAGES

HOSTS = {
    "on": "metal",
    "machines": [{"name": "rack1", "address": "10.0.0.11", "roles": ["control", "agent"]}],
}


@pytest.fixture
def sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Ask for a stack with these settings; what was printed, and the exit status."""

    def asked(**settings: Any) -> tuple[int, str, str]:
        (tmp_path / "stacks").mkdir()
        cluster = {"hosts": HOSTS, **settings}
        text = yaml.safe_dump({"config": {"kubernetes-mesos:cluster": cluster}})
        (tmp_path / "stacks/Pulumi.rack.yaml").write_text(text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["preflight", "sends", "--stack", "rack"])
        return command.main(), *capsys.readouterr()

    return asked


def test_it_is_packages_of_all_roles_and_the_images_of_public_registries(sends):
    code, printed, _ = sends(images={"busybox": "registry.lan/busybox:1.36"})

    told: Mapping[str, Any] = json.loads(printed)
    assert code == 0
    assert {"containerd", "default-jre-headless"} <= set(told["packages"])
    assert "registry.k8s.io/pause:3.10" in told["images"]
    assert not [image for image in told["images"] if "busybox" in image]
    assert told["mesos"] is None


def test_mesos_from_a_repository_cannot_be_packed(sends):
    code, printed, said = sends(mesos={"source": {"packages": PACKAGES}})

    assert (code, printed) == (1, "")
    assert "fetch Mesos from a repository (mesos.source.packages), which no bundle has" in said
