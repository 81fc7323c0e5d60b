"""run_recipe: how a script and its values get to a host."""

from __future__ import annotations

import re
import subprocess

import pulumi
import pytest

from components.recipe import (
    ENDS,
    RECIPES,
    only_used,
    render,
    rendered,
    run_recipe,
    script,
    sections,
)
from tests.components.machines import host, variables

RECIPE_FILES = sorted(path.name for path in RECIPES.glob("*.sh"))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("plain", id="plain"),
        pytest.param("two words", id="blank"),
        pytest.param("it's", id="quote"),
        pytest.param("$(touch /tmp/harm) `id` $HOME", id="substitution"),
        pytest.param("line one\nline two\n\nlast", id="lines"),
        pytest.param("", id="empty"),
        pytest.param("'; exit 3; '", id="escape"),
    ],
)
def test_a_value_arrives_as_it_is_and_cannot_break_out(value):
    script = render('printf %s "$VALUE"', {"VALUE": value, "OTHER": "x"})

    done = subprocess.run(["bash", "-s"], input=script, capture_output=True, text=True, check=True)

    assert done.stdout == value


def test_equal_values_give_equal_text_whatever_their_order():
    assert render("body", {"A": "1", "B": "2"}) == render("body", {"B": "2", "A": "1"})


def test_values_are_not_passed_on_to_what_the_script_starts():
    script = render("env", {"SECRET_VALUE": "s3cret"})

    done = subprocess.run(["bash", "-s"], input=script, capture_output=True, text=True, check=True)

    assert "s3cret" not in done.stdout


def test_what_is_known_is_rendered_at_once_and_the_rest_when_it_is(recorder, run):
    later = {"A": "1", "B": pulumi.Output.from_input("2")}

    assert rendered("body", {"A": "1", "B": "2"}) == "A=1\nB=2\nbody"
    assert run(lambda: rendered("body", later)) == "A=1\nB=2\nbody"


def make(**more):
    return run_recipe(
        "zookeeper-control-1",
        "zookeeper",
        host("control-1", **more),
        {"ZOOKEEPER_SERVERS": pulumi.Output.from_input("10.90.7.10")},
        pulumi.ResourceOptions(),
    ).id


def test_the_script_travels_on_stdin_and_nothing_else_holds_it(recorder, run):
    run(make)

    inputs = recorder["zookeeper-control-1"].inputs
    assert inputs["create"] == "timeout --kill-after=10 900 bash -s -- up"
    assert inputs["delete"] == "timeout --kill-after=10 900 bash -s -- down"
    assert variables(inputs["stdin"])["ZOOKEEPER_SERVERS"] == "10.90.7.10"
    assert inputs["connection"]["hostKey"] == "control-1 KEY"
    assert inputs["addPreviousOutputInEnv"] is False
    assert "triggers" not in inputs
    assert "environment" not in inputs


def test_a_user_other_than_root_needs_sudo_that_asks_nothing(recorder, run):
    run(lambda: make(user="ops"))

    inputs = recorder["zookeeper-control-1"].inputs
    assert inputs["create"].startswith("sudo -n timeout ")
    assert inputs["delete"].startswith("sudo -n timeout ")


def test_nothing_runs_on_a_host_whose_machine_goes(recorder, run):
    def program():
        machine = pulumi.ComponentResource("test:index:Machine", "machine")
        return make(machine=machine)

    run(program)

    assert recorder["zookeeper-control-1"].deleted_with == "machine"


@pytest.mark.parametrize("name", RECIPE_FILES)
def test_a_recipe_is_valid_bash(name):
    subprocess.run(["bash", "-n", RECIPES / name], check=True)


def functions(text: str) -> list[str]:
    return [name for name, _ in sections(text) if name]


def source(name: str) -> str:
    """A recipe as it is written, behind what all have in common."""
    return "".join((RECIPES / file).read_text() for file in ("common.sh", name))


def test_a_recipe_travels_with_what_it_uses_and_no_more():
    common = (RECIPES / "common.sh").read_text()
    own = "# keep\nup() {\n  link a b\n}\ndown() { give_back a; }\nmain\n"

    shared = ["remember", "ours_alone", "main"]
    for ends, named in (
        (ENDS, ["note", "record", "give_back", "link", *shared, "up", "down"]),
        (("up",), ["note", "record", "link", *shared, "up"]),
        (("down",), ["give_back", *shared, "down"]),
    ):
        alone = only_used(common + own, ends)
        assert functions(alone) == named
        assert alone.startswith("set -euo pipefail\n")
        assert alone.endswith("\nmain\n")
        assert not re.search(r"^ *#", alone, re.MULTILINE)


def test_what_is_not_sent_ends_where_the_function_does():
    text = """first=1 # stays

# goes
one() {
  cat <<END
{
  # stays
}

END
  # goes

  echo <<<"}"
}
two() { :; }
last=1
"""

    assert sections(text) == [
        ("", "first=1 # stays\n"),
        ("one", 'one() {\n  cat <<END\n{\n  # stays\n}\n\nEND\n\n  echo <<<"}"\n}\n'),
        ("two", "two() { :; }\n"),
        ("", "last=1\n"),
    ]


RECIPE_NAMES = [name for name in RECIPE_FILES if name != "common.sh"]


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_a_recipe_means_the_same_without_what_is_not_sent(name):
    """Bash prints a script as it understands it, and blank lines as they are."""

    def understood(text: str) -> list[str]:
        printed = subprocess.run(
            ["bash", "--pretty-print", "/dev/stdin"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return [line for line in printed.splitlines() if line]

    parts = sections(source(name))

    assert understood("".join(body for _, body in parts)) == understood(source(name))


@pytest.mark.parametrize("ends", [(), ("up",), ("down",)], ids=["both", "up", "down"])
@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_a_recipe_has_all_that_it_uses(name, ends):
    """For shellcheck, a command that nobody defines is one of the system's."""
    text = script(name.removesuffix(".sh"), *ends)
    there = set(functions(text))

    used = set(functions(source(name))) & set(re.findall(r"\w+", text))
    assert used - there <= set(ENDS)
    assert there & set(ENDS) == set(ends or ENDS)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param("true", False, id="as it was left"),
        pytest.param("echo more >>{file}", True, id="content"),
        pytest.param("printf 'two\nlines' >{file}", True, id="last line's end"),
        pytest.param("chmod 0666 {file}", True, id="mode"),
        pytest.param("rm {file}", True, id="missing"),
        pytest.param("mv {file} {file}.old && ln -s {file}.old {file}", True, id="link"),
    ],
)
def test_a_file_is_written_where_it_differs_and_only_there(tmp_path, spoil, said):
    file, me = tmp_path / "etc" / "file", tmp_path.owner()
    values = {"RECIPE": "demo"}
    up = f"STARTED={tmp_path}\numask 027\nwrite_file {file} 0640 {me} $'two\\nlines'\numask\n"
    script = render(only_used((RECIPES / "common.sh").read_text() + up, ()), values)

    def run() -> str:
        return subprocess.run(
            ["bash", "-s"], input=script, capture_output=True, text=True, check=True
        ).stdout

    first = run()
    subprocess.run(["bash", "-c", spoil.format(file=file)], check=True)
    again = run()

    assert first == f"wrote {file}\n0027\n"
    assert again == (first if said else "0027\n")
    assert file.read_text() == "two\nlines\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert not file.is_symlink()
    assert {path.name for path in file.parent.iterdir()} <= {"file", "file.old"}


def test_recipes_are_clean_for_shellcheck():
    done = subprocess.run(
        ["shellcheck", "--severity=style", *RECIPE_FILES],
        cwd=RECIPES,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == ""


@pytest.mark.parametrize("name", [name for name in RECIPE_FILES if name != "common.sh"])
def test_a_recipe_says_what_it_reads(name):
    text = (RECIPES / name).read_text()
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    prefix = {
        "zookeeper.sh": "ZOOKEEPER_",
        "etcd.sh": "ETCD_",
        "kube-apiserver.sh": "API_",
        "kube-controller-manager.sh": "CONTROLLERS_",
        "km-scheduler.sh": "KM_",
        "node-version.sh": "KM_",
        "node-runtime.sh": "NODE_",
        "mesos-master.sh": "MESOS_",
        "mesos-agent.sh": "MESOS_",
        "departure.sh": "DEPARTURE_",
        "smoke-test.sh": "SMOKE_",
        "mesos-sharing.sh": "SHARING_",
        "mesos-framework.sh": "FRAMEWORK_",
        "teardown.sh": "FRAMEWORK_",
    }.get(name)
    if prefix is None:
        pytest.skip("not one of the recipes with a prefix of its own")

    used = set(re.findall(rf"\$\{{?({prefix}[A-Z_]+)", text))
    said = set(re.findall(rf"\b({prefix}[A-Z_]+)\b", comments))
    assert used <= said
