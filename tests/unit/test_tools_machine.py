"""What a machine has to bring itself, and how it is told."""

import pytest

from tools import machine
from tools.errors import ToolsError

TWO = [
    machine.Need(package="gcc", purpose="building", command="gcc"),
    machine.Need(package="libsvn1", purpose="tests", file="usr/lib/*/libsvn_delta-1.so.1"),
]
COMMAND = "apt-get install --yes --no-install-recommends gcc libsvn1"


BROWSER = machine.Need(package="chromium", purpose="tests", command="chromium", optional=True)


class Finder:
    """Finds what is missing, until apt-get has run."""

    def __init__(self, *, installs=True, lacks=TWO):
        self.installs, self.lacks, self.ran = installs, lacks, []

    def __call__(self, purposes):
        return [] if self.ran and self.installs else self.lacks

    def run(self, command, **_):
        self.ran.append(command)


def ensure(finder, *, root=True, debian=True, booted=True, **environment):
    machine.ensure(
        ["building", "tests"],
        environment=environment,
        is_root=root,
        debian=debian,
        booted=booted,
        run=finder.run,
        find=finder,
    )


def test_root_on_debian_sees_the_command_and_has_it_run(capsys):
    finder = Finder()
    ensure(finder)

    told = capsys.readouterr().err
    assert "Missing on this machine: gcc (building), libsvn1 (tests)." in told
    assert f"+ {COMMAND}" in told
    assert [command[1] for command in finder.ran] == ["update", "install"]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"root": False}, f"Install them: sudo {COMMAND}"),
        ({"KUBERNETES_MESOS_INSTALL": "no"}, f"Install them: {COMMAND}"),
        ({"debian": False}, f"Install them; on Debian: {COMMAND}"),
    ],
    ids=["not root", "not wanted", "not Debian"],
)
def test_anyone_else_is_told_everything_at_once(how, told):
    finder = Finder()

    with pytest.raises(ToolsError) as error:
        ensure(finder, **how)
    assert str(error.value).endswith(told)
    assert str(error.value).startswith("Missing on this machine: gcc (building), libsvn1")
    assert finder.ran == []


def test_what_apt_get_does_not_bring_is_named():
    with pytest.raises(ToolsError, match="Still missing: gcc"):
        ensure(Finder(installs=False))


def test_what_is_optional_is_installed_apart_and_stops_nothing(capsys):
    finder = Finder(lacks=[*TWO, BROWSER])
    ensure(finder)
    assert [command[4:-1] for command in finder.ran[1:]] == [["gcc", "libsvn1"], ["chromium"]]

    ensure(Finder(installs=False, lacks=[BROWSER]))
    assert "Left out: chromium (tests); what needs it is skipped." in capsys.readouterr().err
    ensure(Finder(lacks=[BROWSER]), root=False)
    ensure(Finder(lacks=[BROWSER]), KUBERNETES_MESOS_INSTALL="no")


def test_a_service_that_comes_with_a_program_is_not_left_running():
    server = machine.Need(package="openssh-server", purpose="tests", command="sshd", service="ssh")
    finder = Finder(lacks=[server])
    ensure(finder)

    assert finder.ran[-1] == ["systemctl", "--quiet", "disable", "--now", "ssh"]

    offline = Finder(lacks=[server])
    ensure(offline, booted=False)
    assert offline.ran[-1] == ["systemctl", "--quiet", "disable", "ssh"]


def test_needs_are_found_by_command_and_by_file(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "NEEDS", TWO)
    monkeypatch.setattr(machine, "SYSTEM_PATH", "/nowhere")
    both = ["building", "tests"]
    assert machine.missing(both, root=tmp_path, path="/nowhere") == TWO
    assert machine.missing(["tests"], root=tmp_path, path="/nowhere") == TWO[1:]

    (tmp_path / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (tmp_path / "usr/lib/x86_64-linux-gnu/libsvn_delta-1.so.1").touch()
    (tmp_path / "gcc").touch(0o755)
    assert machine.missing(both, root=tmp_path, path=str(tmp_path)) == []


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ('NAME="Debian"\nID=debian\n', True),
        ("ID=ubuntu\nID_LIKE=debian\n", True),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True),
        ("ID=fedora\n", False),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', False),
    ],
)
def test_debian_and_its_children_are_known(tmp_path, release, expected):
    (tmp_path / "os-release").write_text(release)

    assert machine.is_debian(tmp_path / "os-release") is expected
    assert machine.is_debian(tmp_path / "absent") is False


def test_an_old_python_is_refused_with_the_one_that_is_needed():
    machine.refuse_old_python((3, 11))
    with pytest.raises(ToolsError, match=r"This is Python 3\.9 .*3\.11 or later"):
        machine.refuse_old_python((3, 9))


def test_a_stack_on_this_machine_without_root_is_one_clear_message(monkeypatch):
    monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)

    with pytest.raises(ToolsError, match=r"Stack local makes its hosts .* only root"):
        machine.refuse_without_root("local")
