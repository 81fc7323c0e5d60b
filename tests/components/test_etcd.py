"""etcd's recipe on lab hosts: three members, one of which loses its data."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.programs import program_versions
from components.recipe import render, script
from tests.lab.conftest import Lab, lab, new_lab
from tests.throwaway_pki import Pki

__all__ = ["lab", "new_lab"]  # fixtures

pytestmark = pytest.mark.lab

NAMES = ("control-1", "control-2", "control-3")


@dataclass(frozen=True)
class Ensemble:
    """Control hosts with etcd alone."""

    lab: Lab
    addresses: dict[str, str]
    certificate: str
    key: str
    authority: str

    def bash(self, name: str, text: str, words: str = "bash -s") -> str:
        sent = base64.b64encode(text.encode()).decode()
        return self.lab.ssh(name, self.addresses[name], f"base64 -d <<<{sent} | {words}")

    def members(self, names: tuple[str, ...] = NAMES) -> str:
        return ",".join(f"{name}=https://{self.addresses[name]}:2380" for name in names)

    def etcd(self, name: str, action: str = "up", names: tuple[str, ...] = NAMES) -> str:
        values = {
            "RECIPE": "etcd",
            "ETCD_VERSION": program_versions()["etcd"],
            "ETCD_NAME": name,
            "ETCD_ADDRESS": self.addresses[name],
            "ETCD_MEMBERS": self.members(names),
            "ETCD_AUTHORITY": self.authority,
            "ETCD_CERTIFICATE": self.certificate,
            "ETCD_KEY": self.key,
        }
        return self.bash(name, render(script("etcd"), values), f"bash -s -- {action}")

    def ctl(self, name: str, words: str) -> str:
        pki = "/etc/kubernetes-mesos/etcd"
        flags = f"--cacert={pki}/ca.crt --cert={pki}/etcd.crt --key={pki}/etcd.key"
        return self.bash(name, f"/opt/kubernetes-mesos/bin/etcdctl {flags} {words}")


@pytest.fixture
def ensemble(lab: Lab, tmp_path: Path) -> Ensemble:
    lab.network_up()
    addresses = {name: lab.host_up(name, index) for index, name in enumerate(NAMES, start=11)}
    pki = Pki(tmp_path / "pki")
    pki.issue("etcd", "etcd", addresses=tuple(addresses.values()))

    def text(file: str) -> str:
        return Path(pki.path(file)).read_text().strip()

    return Ensemble(lab, addresses, text("etcd.crt"), text("etcd.key"), text("ca.crt"))


@pytest.mark.skipif(os.geteuid() != 0, reason="lab hosts need root")
def test_a_member_that_has_lost_its_data_takes_its_place_again(ensemble: Ensemble) -> None:
    for name in NAMES:
        ensemble.etcd(name)
    ensemble.ctl("control-1", "put /kept yes")
    before = ensemble.ctl("control-1", "member list")
    units = "grep -c initial-cluster-state /etc/systemd/system/etcd.service || true"
    assert [ensemble.bash(name, units) for name in NAMES] == ["0", "0", "0"], "nobody was lost yet"

    # Installed anew: nothing of ours is on it, not even the data.
    ensemble.etcd("control-3", "down")
    said = ensemble.etcd("control-3")
    again = ensemble.etcd("control-3")

    after = ensemble.ctl("control-1", "member list").splitlines()
    assert "started etcd" in said
    assert again == "", "a second run changes nothing"
    assert [
        line.split(", ")[1:3] for line in sorted(after, key=lambda line: line.split(", ")[2])
    ] == [["started", name] for name in NAMES]
    assert set(after) - set(before.splitlines()), "it is another member than before"
    assert ensemble.ctl("control-3", "get /kept --print-value-only --consistency=s") == "yes"
    # And the ensemble bears the loss of another one.
    ensemble.bash("control-1", "systemctl stop etcd")
    ensemble.ctl("control-2", "put /kept still")
    assert ensemble.ctl("control-3", "get /kept --print-value-only") == "still"

    with pytest.raises(AssertionError, match="members cannot be changed"):
        ensemble.etcd("control-2", names=NAMES[:2])
    assert ensemble.bash("control-2", "systemctl is-active etcd") == "active"
