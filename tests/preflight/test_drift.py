"""Drift: found by the facts script on real files, worded so that it is repaired once."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from preflight import drift
from preflight.facts import Facts
from tests.preflight import script
from tests.preflight.test_judge import GOOD


def read(tmp_path: Path, manifest: str) -> Facts:
    """Run the script with our directory in place of the host's."""
    directory = tmp_path / "manifest"
    directory.mkdir(exist_ok=True)
    (directory / "demo").write_text(manifest)
    return script.told({"/etc/kubernetes-mesos/manifest": directory})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "zoo.cfg"
    path.write_text("tickTime=2000\n")
    path.chmod(0o644)
    return path


def line(path: Path) -> str:
    return f"file 644:{path.owner()} {hashlib.sha256(path.read_bytes()).hexdigest()} {path}\n"


def test_a_host_as_it_was_left_has_no_drift(tmp_path: Path, file: Path) -> None:
    (tmp_path / "link").symlink_to("zoo.cfg")
    manifest = (
        f"{line(file)}link - zoo.cfg {tmp_path}/link\nprogram 14 - {file}\n"
        f"sysctl {Path('/proc/sys/kernel/ostype').read_text().strip()} - kernel.ostype\n"
        "mount proc - /proc\n"
    )

    facts = read(tmp_path, manifest)

    assert facts.recipes == {"demo"}
    assert facts.drift == {}
    assert drift.repairs(facts) == {}


def test_changed_content_mode_link_size_and_absence_are_each_named(
    tmp_path: Path, file: Path
) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    manifest = (
        f"{line(file)}link - zoo.cfg {tmp_path}/link\nprogram 99 - {file}\n"
        f"file 644 0 {tmp_path}/nothing\nsysctl Windows - kernel.ostype\n"
        f"mount ext4 - {tmp_path}\nunit enabled active no-such.service\n"
    )
    file.write_text("tickTime=2\n")
    file.chmod(0o600)

    found = read(tmp_path, manifest).drift["demo"]

    assert found[0] == f"{file} has mode 600, not 644"
    assert found[1] == f"{file} has another content"
    assert found[2] == f"{tmp_path}/link leads to 'elsewhere', not 'zoo.cfg'"
    assert found[3] == f"{file} has 11 bytes, not 99"
    assert found[4] == f"{tmp_path}/nothing is missing"
    assert found[5] == "sysctl kernel.ostype is 'Linux', not 'Windows'"
    assert found[6] == f"{tmp_path} is not mounted"
    assert found[7].startswith("no-such.service is ")


@pytest.mark.parametrize(
    ("line_number", "other", "said"),
    [
        pytest.param(0, "file 600:{owner} {sum} {file}", "has mode 644, not 600", id="mode"),
        pytest.param(
            0, "file 644:nobody {sum} {file}", "belongs to {owner}, not nobody", id="owner"
        ),
        pytest.param(0, "file 644:{owner} 0 {file}", "has another content", id="content"),
        pytest.param(0, "file 644:{owner} {sum} {file}.gone", "is missing", id="file"),
        pytest.param(
            1, "link - other.cfg {link}", "leads to 'zoo.cfg', not 'other.cfg'", id="link"
        ),
        pytest.param(1, "link - zoo.cfg {file}", "leads to '', not 'zoo.cfg'", id="no link"),
        pytest.param(2, "program 15 - {file}", "has 14 bytes, not 15", id="program"),
        pytest.param(3, "sysctl Windows - kernel.ostype", "is 'Linux', not 'Windows'", id="sysctl"),
        pytest.param(4, "mount tmpfs - /proc", "/proc is not mounted", id="mount"),
        pytest.param(5, "package - - no-such-package", "no-such-package is missing", id="package"),
        pytest.param(6, "unit disabled active one.service", "enabled, not disabled", id="enabled"),
        pytest.param(6, "unit enabled failed one.service", "active, not failed", id="active"),
    ],
)
@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs dpkg")
def test_one_difference_among_much_that_is_right_is_found(
    tmp_path: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    line_number: int,
    other: str,
    said: str,
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    systemctl = programs / "systemctl"
    systemctl.write_text(
        "#!/bin/sh\nverb=$1\nshift\n"
        "for unit; do case $verb in is-enabled) echo enabled ;; *) echo active ;; esac; done\n"
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    link = tmp_path / "link"
    link.symlink_to("zoo.cfg")
    right = [
        line(file).strip(),
        f"link - zoo.cfg {link}",
        f"program 14 - {file}",
        "sysctl Linux - kernel.ostype",
        "mount proc - /proc",
        "package - - dpkg",
        "unit enabled active one.service",
    ]
    words = {"owner": file.owner(), "sum": line(file).split()[2], "file": file, "link": link}
    wrong = [*right, "unit enabled active other.service"]
    wrong[line_number] = other.format(**words)

    assert read(tmp_path, "\n".join(right) + "\n").drift == {}
    (found,) = read(tmp_path, "\n".join(wrong) + "\n").drift["demo"]
    assert found.endswith(said.format(**words))


def test_another_owner_is_a_difference_and_a_manifest_without_owners_none(
    tmp_path: Path, file: Path
) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    found = read(tmp_path, f"file 644:etcd {digest} {file}\nfile 644 {digest} {file}\n")

    assert found.drift == {"demo": (f"{file} belongs to {file.owner()}, not etcd",)}


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs dpkg")
def test_a_package_that_was_removed_is_a_difference(tmp_path: Path) -> None:
    manifest = "package - - dpkg\npackage - - no-such-package\npackage - - coreutils\n"

    found = read(tmp_path, manifest)

    assert found.drift == {"demo": ("package no-such-package is missing",)}


def facts(**changed: object) -> Facts:
    return dataclasses.replace(GOOD, recipes=frozenset({"zookeeper"}), **changed)


def test_a_first_difference_is_repair_number_one() -> None:
    found = facts(drift={"zookeeper": ("/a is missing", "/b has mode 600, not 644")})

    assert drift.repairs(found) == {
        "zookeeper": "repair 1: /a is missing; /b has mode 600, not 644"
    }


def test_after_the_repair_the_words_stay_so_that_the_preview_is_clean() -> None:
    repaired = facts(repaired={"zookeeper": "repair 1: /a is missing"})

    assert drift.repairs(repaired) == {"zookeeper": "repair 1: /a is missing"}
    assert drift.found(repaired) == []


def test_the_same_difference_a_second_time_is_a_new_repair() -> None:
    again = facts(
        drift={"zookeeper": ("/a is missing",)},
        repaired={"zookeeper": "repair 1: /a is missing"},
    )

    assert drift.repairs(again) == {"zookeeper": "repair 2: /a is missing"}


def test_a_host_that_lost_everything_does_not_list_everything() -> None:
    many = facts(drift={"zookeeper": tuple(f"/file-{n} is missing" for n in range(100))})

    words = drift.repairs(many)["zookeeper"]

    assert len(words) < 500
    assert words.endswith("(100 differences)")


EXPECTED = ("zookeeper", "etcd")


def test_a_host_that_lost_a_manifest_runs_that_recipe_again() -> None:
    lost = facts(cluster="metal-1", time=1763845380.5)

    assert drift.found(lost, EXPECTED) == ["etcd: everything is missing"]
    assert drift.repairs(lost, EXPECTED) == {
        "etcd": "repair 1, 2025-11-22 21:03 UTC: everything is missing"
    }


def test_a_manifest_lost_again_is_a_new_repair() -> None:
    words = "repair 1, 2025-11-22 21:03 UTC: everything is missing"
    again = facts(cluster="metal-1", repaired={"etcd": words}, time=1763849000.0)

    assert drift.repairs(again, EXPECTED)["etcd"].startswith("repair 2, 2025-11-22 22:03 UTC")


def test_a_host_installed_anew_gets_everything_again_without_a_word_of_repair() -> None:
    bare = dataclasses.replace(GOOD, recipes=frozenset(), time=1763845380.5)

    assert drift.found(bare, EXPECTED) == []
    assert set(drift.repairs(bare, EXPECTED).values()) == {"joins, 2025-11-22 21:03 UTC"}


def test_after_it_joined_the_words_stay_so_that_the_preview_is_clean() -> None:
    joined = facts(cluster="metal-1", repaired={"zookeeper": "joins, 2025-11-22 21:03 UTC"})

    assert drift.repairs(joined, ("zookeeper",)) == {"zookeeper": "joins, 2025-11-22 21:03 UTC"}


@pytest.mark.parametrize(
    ("difference", "outlook"),
    [
        ("node-runtime: haproxy.service is disabled, not enabled", "`up` repairs it"),
        ("etcd: /etc/is masked, is missing", "`up` repairs it"),
        (
            "node-runtime: containerd.service is masked, not enabled",
            "`up` fails until it is unmasked",
        ),
    ],
)
def test_what_somebody_has_masked_is_not_promised_to_be_repaired(
    difference: str, outlook: str
) -> None:
    assert drift.outlook(difference) == outlook


def test_what_a_stack_has_chosen_is_missed_with_what_every_stack_has() -> None:
    """A framework that the file names since today is nothing that a host has lost."""
    chosen = ("mesos-framework-one", "mesos-sharing")

    def told(*left: str, **remembered: object) -> dict[str, str]:
        facts = dataclasses.replace(GOOD, recipes=frozenset(left), time=0.0, **remembered)
        return drift.repairs(facts, ("etcd", "zookeeper"), chosen)

    joins = "joins, 1970-01-01 00:00 UTC"
    lost = "repair 1, 1970-01-01 00:00 UTC: everything is missing"
    assert told("etcd", "zookeeper", cluster="a") == {}
    assert told() == dict.fromkeys(("etcd", "zookeeper", *chosen), joins)
    assert told("etcd", "mesos-framework-one", cluster="a") == {
        "zookeeper": lost,
        "mesos-sharing": lost,
    }
    back = told("etcd", "zookeeper", "mesos-framework-one", cluster="a", repaired={chosen[1]: lost})
    assert back == {"mesos-sharing": lost}
