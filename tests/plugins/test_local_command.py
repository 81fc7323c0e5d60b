"""local.Command, by scenario, through Pulumi's own program."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from lab.plugins.command.files import matching
from tests.plugins.project import Project, alive, wait_for

LOCAL = "from pulumi_command import local\n"


def test_a_command_is_created_updated_left_alone_and_deleted(project: Project, tmp_path: Path):
    file = tmp_path / "file"

    def program(word: str) -> str:
        return (
            LOCAL
            + f"""
run = local.Command(
    "run",
    create='printf "%s\\\\n" "$WORD" >> {file}; echo made $WORD; echo careful >&2',
    update='echo "$WORD after $PULUMI_COMMAND_STDOUT" >> {file}; echo changed',
    delete="rm {file}",
    environment={{"WORD": "{word}"}},
)
pulumi.export("stdout", run.stdout)
pulumi.export("stderr", run.stderr)
"""
        )

    project.up(program("one"))
    assert file.read_text() == "one\n"
    assert (project.output("stdout"), project.output("stderr")) == ("made one", "careful")

    assert project.up(program("one")).changes() == {"unchanged": 2}

    assert project.up(program("two")).changes()["updated"] == 1
    assert file.read_text() == "one\ntwo after made one\n"
    assert project.output("stdout") == "changed"

    project.destroy()
    assert not file.exists()
    assert project.resources() == {}


def test_without_update_the_create_command_runs_again(project: Project, tmp_path: Path):
    log = tmp_path / "log"
    program = LOCAL + 'local.Command("run", create="cat >> {log}", stdin="{text}\\n")'
    project.up(program.format(log=log, text="first"))
    project.up(program.format(log=log, text="second"))
    assert log.read_text() == "first\nsecond\n"


def test_with_update_alone_nothing_runs_before_the_first_change(project: Project, tmp_path: Path):
    log = tmp_path / "log"
    program = LOCAL + 'local.Command("run", update="cat >> {log}", stdin="{text}\\n")'
    project.up(program.format(log=log, text="first"))
    assert not log.exists()
    project.up(program.format(log=log, text="second"))
    assert log.read_text() == "second\n"


def test_changed_triggers_replace_and_the_old_delete_runs_after_the_new_create(
    project: Project, tmp_path: Path
):
    log = tmp_path / "log"
    program = LOCAL + (
        'local.Command("run", create="echo create {n} >> {log}", '
        'delete="echo delete {n} >> {log}", triggers=[{n}])'
    )
    project.up(program.format(log=log, n=1))
    assert project.up(program.format(log=log, n=2)).changes()["replaced"] == 1
    assert log.read_text().splitlines() == ["create 1", "create 2", "delete 1"]


def test_a_preview_runs_nothing_and_knows_no_output(project: Project, tmp_path: Path):
    file = tmp_path / "file"
    result = project.preview(
        LOCAL
        + f"""
first = local.Command("first", create="touch {file}; echo out")
local.Command("second", create=first.stdout)
"""
    )
    assert result.changes()["create"] == 3
    assert not file.exists()


def test_a_failing_command_shows_its_output_and_leaves_nothing_in_the_state(project: Project):
    result = project.up(
        LOCAL + 'local.Command("run", create="echo this happened; exit 3")', fails=True
    )
    assert 'exit status 3: running "echo this happened; exit 3":\nthis happened' in (
        result.output.replace("\n      ", "\n").replace("\n    ", "\n")
    )
    assert "run" not in project.resources()


def test_a_failing_update_keeps_the_old_state(project: Project):
    project.up(LOCAL + 'local.Command("run", create="echo good", update="true", stdin="1")')
    project.up(
        LOCAL + 'local.Command("run", create="echo good", update="exit 1", stdin="2")', fails=True
    )
    kept = project.resources()["run"]
    assert (kept["outputs"]["stdout"], kept["inputs"]["stdin"]) == ("good", "1")


def test_secrets_are_written_nowhere_in_the_clear(project: Project):
    result = project.up(
        LOCAL
        + """
run = local.Command(
    "run",
    create='read word; echo "got $word"',
    stdin=pulumi.Output.secret("swordfish-1"),
    environment=pulumi.Output.secret({"WORD": "swordfish-2"}),
    logging=local.Logging.NONE,
    opts=ResourceOptions(additional_secret_outputs=["stdout"]),
)
pulumi.export("stdout", run.stdout)
"""
    )
    assert "swordfish" not in result.output
    assert "swordfish" not in project.everything_written()
    assert project.output("stdout") == "got swordfish-1"


def test_logging_shows_only_what_was_asked_for(project: Project):
    program = LOCAL + "\n".join(
        f'local.Command("{mode}", create="echo {mode}-out; echo {mode}-err >&2", logging="{mode}")'
        for mode in ("none", "stdout", "stderr", "stdoutAndStderr")
    )
    project.write(program)
    shown = project.run("up", "--yes", "--skip-preview", "--json").output
    lines = {
        f"{mode}-{stream}"
        for mode in ("none", "stdout", "stderr", "stdoutAndStderr")
        for stream in ("out", "err")
        if f'"message":"{mode}-{stream}' in shown.replace('"message": "', '"message":"')
    }
    assert lines == {"stdout-out", "stderr-err", "stdoutAndStderr-out", "stdoutAndStderr-err"}


def test_lines_of_any_length_pass(project: Project):
    project.up(
        LOCAL
        + """
run = local.Command("run", create="head -c 5000000 /dev/zero | tr '\\\\0' x; echo; echo end")
pulumi.export("length", run.stdout.apply(len))
"""
    )
    assert project.output("length") == 5_000_004


def test_an_interrupt_ends_the_command_with_all_it_started(project: Project, tmp_path: Path):
    file = tmp_path / "pids"
    project.write(LOCAL + f'local.Command("run", create="sleep 300 & echo $! > {file}; sleep 300")')
    child = project.start("up", "--yes", "--skip-preview")
    wait_for(lambda: file.exists() and file.read_text(), what="start of the command")
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=30)
    assert child.returncode != 0, output
    assert not alive(file.read_text())


def test_a_killed_engine_leaves_no_command_behind(project: Project, tmp_path: Path):
    file = tmp_path / "pids"
    project.write(LOCAL + f'local.Command("run", create="sleep 300 & echo $! > {file}; sleep 300")')
    child = project.start("up", "--yes", "--skip-preview")
    wait_for(lambda: file.exists() and file.read_text(), what="start of the command")
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    wait_for(lambda: not alive(file.read_text()), 10, "end of the command")
    assert project.run("cancel", "--yes").code == 0


def test_a_custom_timeout_ends_the_command(project: Project):
    result = project.up(
        LOCAL
        + """
local.Command("run", create="sleep 300", opts=ResourceOptions(
    custom_timeouts=pulumi.CustomTimeouts(create="1s")))
""",
        fails=True,
    )
    assert 'no end after 1 s: running "sleep 300"' in result.output


def test_a_directory_or_interpreter_that_is_not_there_is_named(project: Project):
    result = project.up(
        LOCAL
        + """
local.Command("directory", create="true", dir="/no/such/place")
local.Command("interpreter", create="true", interpreter=["no-such-shell", "-c"])
""",
        "--continue-on-error",
        fails=True,
    )
    assert "dir: /no/such/place is not a directory" in result.output
    assert "interpreter: no-such-shell is not a program" in result.output


def test_files_become_assets_and_archives(project: Project, tmp_path: Path):
    made = tmp_path / "made"
    made.mkdir()
    project.up(
        LOCAL
        + f"""
run = local.Command(
    "run", create="echo a > a.txt; echo b > b.log", dir="{made}",
    asset_paths=["*.txt"], archive_paths=["**"],
)
pulumi.export("assets", run.assets.apply(lambda found: sorted(found)))
pulumi.export("archive", run.archive.apply(lambda found: sorted(found.assets)))
"""
    )
    assert project.output("assets") == ["a.txt"]
    assert project.output("archive") == ["a.txt", "b.log"]


def test_the_function_runs_a_command_at_once(project: Project):
    project.up(
        LOCAL + 'pulumi.export("stdout", local.run_output(command="echo $((20 + 22))").stdout)'
    )
    assert project.output("stdout") == "42"


def test_later_patterns_win_and_single_stars_stay_in_their_directory(tmp_path: Path):
    for name in ("a.txt", "b.log", "sub/c.txt", "sub/d.log"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert matching(tmp_path, ["*.txt"]) == ["a.txt"]
    assert matching(tmp_path, ["**", "!**.log", "sub/d.*"]) == ["a.txt", "sub/c.txt", "sub/d.log"]
    assert matching(tmp_path, ["[!a].{log,txt}"]) == ["b.log"]
