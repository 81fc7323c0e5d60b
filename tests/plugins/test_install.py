"""Installing the stand-ins, and the small pure parts of the language host."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab.plugins.install import (
    HOST,
    MARK,
    PROVIDERS,
    InstallError,
    Place,
    default_cache,
    inspect,
    install,
    uninstall,
)
from lab.plugins.language.environment import semver
from lab.plugins.values import UNKNOWN, compare, has_unknown
from tests.plugins.project import Project

ALL = (*PROVIDERS, HOST)


@pytest.fixture
def place(tmp_path: Path, pulumi: Path) -> Place:
    python = Path(getattr(sys, "_base_executable", sys.executable))
    home = tmp_path / "home"
    return Place(pulumi_home=home, pulumi=pulumi, python=python, cache=default_cache())


def test_installing_twice_changes_nothing_and_uninstalling_leaves_nothing(place: Place):
    assert install(place, offline=True) == dict.fromkeys(ALL, "stand-in")
    before = {path: path.read_bytes() for path in place.pulumi_home.rglob("*") if path.is_file()}
    install(place, offline=True)
    after = {path: path.read_bytes() for path in place.pulumi_home.rglob("*") if path.is_file()}
    assert after == before
    assert len(uninstall(place)) == 3
    assert inspect(place) == dict.fromkeys(ALL, "missing")
    assert [path for path in place.pulumi_home.rglob("*") if path.is_file()] == []


def test_what_is_installed_does_not_lead_into_this_clone(place: Place):
    install(place, offline=True)
    clone = str(Path(__file__).parents[2])
    for path in place.pulumi_home.rglob("pulumi-*"):
        assert clone not in path.read_text()


def test_a_real_plugin_is_left_alone(place: Place):
    real = place.plugin("command") / "pulumi-resource-command"
    real.parent.mkdir(parents=True)
    real.write_text("real")
    assert install(place, offline=True)["command"] == "real"
    assert real.read_text() == "real"
    assert not (real.parent / MARK).exists()
    assert real.parent not in uninstall(place)


def test_a_language_host_on_path_is_left_in_charge(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    host = tmp_path / "bin" / "pulumi-language-python"
    host.parent.mkdir()
    host.write_text("#!/bin/sh\n")
    host.chmod(0o755)
    monkeypatch.setenv("PATH", str(host.parent), prepend=":")
    assert install(place, offline=True)[HOST] == "real"
    assert not place.plugin(HOST).exists()


def test_a_pulumi_without_its_own_script_is_named(place: Place, tmp_path: Path):
    alone = replace(place, pulumi=tmp_path / "pulumi")
    with pytest.raises(InstallError, match=rf"{tmp_path}/pulumi-language-python-exec is missing"):
        install(alone, offline=True)


def test_an_interpreter_that_is_not_there_is_named(place: Place):
    bad = Place(
        pulumi_home=place.pulumi_home,
        pulumi=place.pulumi,
        python=Path("/no/python"),
        cache=place.cache,
    )
    with pytest.raises(InstallError, match="/no/python: No such file"):
        install(bad, offline=True)


def test_a_program_that_raises_shows_its_own_lines_only(project: Project):
    result = project.up("def fail():\n    raise ValueError('no good')\nfail()", fails=True)
    assert "ValueError: no good" in result.output
    assert "runpy" not in result.output


def test_a_run_error_is_one_message_without_a_traceback(project: Project):
    result = project.up("raise pulumi.RunError('say it plainly')", fails=True)
    assert "say it plainly" in result.output
    assert "Traceback" not in result.output


def test_a_program_that_exits_fails_the_update(project: Project):
    result = project.up("import sys\nprint('last words')\nsys.exit(7)", fails=True)
    assert "last words" in result.output
    assert "exit" in result.output


def test_a_missing_virtual_environment_is_named_with_the_remedy(project: Project):
    file = project.directory / "Pulumi.yaml"
    file.write_text(file.read_text().replace(sys.prefix, "/no/venv"))
    assert "/no/venv" in project.run("preview").output


def test_config_and_its_secrets_reach_the_program(project: Project):
    assert project.run("config", "set", "size", "3").code == 0
    assert project.run("config", "set", "--secret", "word", "swordfish").code == 0
    result = project.up(
        """
config = pulumi.Config()
pulumi.export("size", config.require_int("size"))
pulumi.export("word", config.require_secret("word"))
"""
    )
    assert "swordfish" not in result.output
    assert (project.output("size"), project.output("word")) == (3, "swordfish")
    assert "swordfish" not in project.everything_written()


def test_about_knows_the_language_and_the_interpreter(project: Project):
    about = project.run("about").output
    assert f"executable='{sys.prefix}/bin/python'" in about
    assert "using pulumi-language-python" not in about


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.2.3", "v1.2.3"), ("1.2.3a4", "v1.2.3-alpha.4"), ("4.0.0rc1", "v4.0.0-rc.1"), ("x", "")],
)
def test_python_versions_become_semantic_ones(version: str, expected: str):
    assert semver(version) == expected


def test_differences_are_paths_in_the_engines_notation():
    old = {"a": 1, "b": {"c": [1, 2], "d.e": 1}, "gone": True}
    new = {"a": 1, "b": {"c": [1, 3, 4], "d.e": 2}, "new": {}}
    assert compare(old, new) == {
        "b.c[1]": "update",
        "b.c[2]": "add",
        'b["d.e"]': "update",
        "gone": "delete",
        "new": "add",
    }
    assert compare(old, old) == {}


def test_unknowns_are_found_at_any_depth():
    assert has_unknown({"a": [{"b": UNKNOWN}]})
    assert not has_unknown({"a": [{"b": "c"}]})
