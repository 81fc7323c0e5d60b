"""The lab's build of Mesos as one file."""

import os
import subprocess

import pytest

from tools import install
from tools.commands import main
from tools.mesos import archive
from tools.programs import Program, named


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Mesos as the lab builds it, with a word in each file."""
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "cache"))
    program = named("mesos")
    program.directory.mkdir(parents=True)
    for name in program.files:
        (program.directory / name).write_text(f"{name}\n")
    (program.directory / "mesos-agent").unlink()
    (program.directory / "mesos-agent").symlink_to("mesos")
    (program.directory / ".source.json").write_text("{}")
    return program


def test_it_holds_the_programs_and_nothing_of_this_machine(program: Program, tmp_path):
    path, _ = archive.pack(program)

    subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True)
    (top,) = [one for one in tmp_path.iterdir() if one.name.startswith("mesos-")]
    assert {one.name for one in top.iterdir()} == set(program.files)
    assert (top / "mesos-agent").read_text() == "mesos\n"
    assert (top / "mesos").stat().st_mode & 0o777 == 0o755
    assert (top / "mesos").stat().st_mtime == 0


def test_the_same_files_give_the_same_bytes(program: Program):
    _, first = archive.pack(program)
    for name in program.files:
        (program.directory / name).touch()

    assert archive.pack(program)[1] == first
    (program.directory / "mesos").write_text("another\n")
    assert archive.pack(program)[1] != first


def test_the_command_prints_what_a_stack_file_says(program: Program, monkeypatch, capfd):
    monkeypatch.setattr(install, "install", lambda _: os.write(1, b"installing\n"))

    assert main(["mesos-archive"]) == 0

    path, sha256 = archive.pack(program)
    out, err = capfd.readouterr()
    assert f"url: {path}\n      sha256: {sha256}\n" in out
    assert out.startswith("mesos:\n")
    assert "installing" in err
