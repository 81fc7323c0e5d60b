"""remote.Command and remote.CopyToRemote against a real sshd."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import asyncssh
import pytest

from lab.plugins.command.guard import MARK, guarded, split_mark
from tests.control_plane import free_port
from tests.plugins.project import Project, alive, wait_for
from tests.plugins.sshd import SshServer, ssh_server

REMOTE = "from pulumi_command import remote\n"


def test_a_remote_command_is_created_updated_and_deleted_over_one_connection(
    project: Project, ssh: SshServer, tmp_path: Path
):
    file = tmp_path / "file"
    before = ssh.logins()

    def program(word: str) -> str:
        return (
            REMOTE
            + f"""
connection = {ssh.connection()}
made = [
    remote.Command(
        f"run-{{number}}",
        connection=connection,
        create="cat >> {file}; echo on $SSH_CONNECTION | cut -d' ' -f1,2",
        delete="echo gone >> {file}",
        stdin="{word}\\n",
        add_previous_output_in_env=False,
    )
    for number in range(4)
]
pulumi.export("stdout", made[0].stdout)
"""
        )

    project.up(program("one"))
    assert file.read_text() == "one\n" * 4
    assert project.output("stdout") == "on 127.0.0.1"
    assert ssh.logins() == before + 1

    assert project.up(program("one")).changes() == {"unchanged": 5}
    assert ssh.logins() == before + 1

    project.up(program("two"))
    project.destroy()
    assert file.read_text() == "one\n" * 4 + "two\n" * 4 + "gone\n" * 4


def test_a_preview_never_connects(project: Project, ssh: SshServer):
    before = ssh.logins()
    project.preview(
        REMOTE + f'remote.Command("run", connection={ssh.connection()}, create="touch /no/way")'
    )
    assert ssh.logins() == before


def test_a_failing_remote_command_shows_its_output_but_not_its_stdin(
    project: Project, ssh: SshServer
):
    result = project.up(
        REMOTE
        + f"""
remote.Command(
    "run", connection={ssh.connection()}, create="bash -s",
    stdin="echo begun; echo trouble >&2; exit 7 # swordfish",
)
""",
        fails=True,
    )
    assert 'Process exited with status 7: running "bash -s"' in result.output
    assert "begun" in result.output
    assert "trouble" in result.output
    assert MARK not in result.output
    assert "swordfish" not in result.output


def test_the_connection_is_secret_everywhere(project: Project, ssh: SshServer):
    project.up(REMOTE + f'remote.Command("run", connection={ssh.connection()}, create="true")')
    body = ssh.key.read_text().splitlines()[1]
    assert body not in project.everything_written()


# `timeout` makes a process group of its own.
@pytest.mark.parametrize("shell", ["bash -s", "timeout 600 bash -s"])
def test_an_interrupt_ends_the_command_on_its_host(
    project: Project, ssh: SshServer, tmp_path: Path, shell: str
):
    file = tmp_path / "pid"
    project.write(
        REMOTE
        + f"""
remote.Command(
    "run", connection={ssh.connection()}, create="{shell}",
    stdin="sleep 300 & echo $! > {file}; wait",
)
"""
    )
    child = project.start("up", "--yes", "--skip-preview")
    wait_for(lambda: file.exists() and file.read_text(), what="start of the command")
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=30)
    assert child.returncode != 0, output
    assert not alive(file.read_text())


def test_a_killed_engine_ends_the_command_on_its_host(
    project: Project, ssh: SshServer, tmp_path: Path
):
    file = tmp_path / "pid"
    project.write(
        REMOTE
        + f"""
remote.Command(
    "run", connection={ssh.connection()}, create="sleep 300 & echo $! > {file}; wait",
)
"""
    )
    child = project.start("up", "--yes", "--skip-preview")
    wait_for(lambda: file.exists() and file.read_text(), what="start of the command")
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate()
    wait_for(lambda: not alive(file.read_text()), 15, "end of the command")


async def test_a_lost_connection_ends_the_command_on_its_host(ssh: SshServer, tmp_path: Path):
    file = tmp_path / "pid"
    connection = await asyncssh.connect(
        "127.0.0.1",
        ssh.port,
        username="root",
        client_keys=[str(ssh.key)],
        known_hosts=None,
        config=None,
    )
    await connection.create_process(
        guarded(f"timeout 600 sh -c 'sleep 300 & echo $! > {file}; wait'")
    )
    wait_for(lambda: file.exists() and file.read_text(), what="start of the command")
    connection.abort()
    await connection.wait_closed()
    wait_for(lambda: not alive(file.read_text()), 15, "end of the command")


def test_what_a_command_left_running_on_purpose_goes_on(
    project: Project, ssh: SshServer, tmp_path: Path
):
    file = tmp_path / "pid"
    project.up(
        REMOTE
        + f"""
remote.Command(
    "run", connection={ssh.connection()},
    create="nohup sleep 30 </dev/null >/dev/null 2>&1 & echo $! > {file}",
)
"""
    )
    time.sleep(1.5)
    assert alive(file.read_text())
    os.kill(int(file.read_text()), signal.SIGKILL)


def test_a_custom_timeout_ends_the_remote_command(project: Project, ssh: SshServer, tmp_path: Path):
    file = tmp_path / "pid"
    result = project.up(
        REMOTE
        + f"""
remote.Command(
    "run", connection={ssh.connection()}, create="echo $$ > {file}; sleep 300",
    opts=ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="2s")),
)
""",
        fails=True,
    )
    assert "no end after 2 s" in result.output
    assert not alive(file.read_text())


def test_a_host_that_does_not_answer_is_one_clear_message(project: Project):
    result = project.up(
        REMOTE
        + f"""
remote.Command("run", create="true", connection=remote.ConnectionArgs(
    host="127.0.0.1", port={free_port()}, password="x", dial_error_limit=1))
""",
        fails=True,
    )
    message = one_line(result.output)
    assert "host 127.0.0.1 (port" in message
    assert "cannot be reached" in message
    assert "after 2 attempts" in message
    assert "See that it is up" in message


def test_a_wrong_key_is_one_clear_message(project: Project, ssh: SshServer):
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    program = (
        f'remote.Command("run", connection={ssh.connection(private_key=other)}, create="true")'
    )
    message = one_line(project.up(REMOTE + program, fails=True).output)
    assert f"host 127.0.0.1 (port {ssh.port}, user root) does not accept the SSH key" in message
    assert "authorized_keys" in message


def test_a_changed_host_key_is_refused_at_once_and_nothing_is_run(
    project: Project, ssh: SshServer, tmp_path: Path
):
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    connection = ssh.connection(host_key=other, dial_error_limit=10)
    program = f'remote.Command("run", connection={connection}, create="touch {tmp_path}/file")'
    began = time.monotonic()
    message = one_line(project.up(REMOTE + program, fails=True).output)
    assert "shows another host key than the pinned one: expected ssh-ed25519 SHA256:" in message
    actual = asyncssh.import_public_key(ssh.host_key).get_fingerprint()
    assert f"got ssh-ed25519 {actual}" in message
    assert time.monotonic() - began < 10
    assert not (tmp_path / "file").exists()


def test_a_private_key_that_is_none_is_named(project: Project, ssh: SshServer):
    program = f'remote.Command("r", connection={ssh.connection(private_key="no")}, create="true")'
    assert "the private key cannot be used" in project.up(REMOTE + program, fails=True).output


def test_deleting_on_a_host_that_is_gone_fails_and_keeps_the_resource(
    project: Project, ssh: SshServer, tmp_path: Path
):
    (tmp_path / "sshd").mkdir()
    program = 'remote.Command("run", connection={}, create="true", delete="{}")'
    with ssh_server(tmp_path / "sshd") as leaving:
        connection = leaving.connection(dial_error_limit=1)
        project.up(REMOTE + program.format(connection, "true"))
    assert "cannot be reached" in one_line(project.destroy(fails=True).output)
    assert "run" in project.resources()
    # The way out that keeps the state honest: a new address for the host, then the deletion.
    project.up(REMOTE + program.format(ssh.connection(), "true"))
    project.destroy()


def test_environment_needs_the_servers_consent(project: Project, ssh: SshServer):
    result = project.up(
        REMOTE
        + f"""
one = remote.Command("one", connection={ssh.connection()}, create="echo $GREETING",
    environment={{"GREETING": "hello"}})
remote.Command("two", connection={ssh.connection()}, create="true", environment={{"OTHER": "x"}},
    opts=ResourceOptions(depends_on=[one]))
pulumi.export("stdout", one.stdout)
""",
        fails=True,
    )
    assert "AcceptEnv" in one_line(result.output)
    assert project.resources()["one"]["outputs"]["stdout"] == "hello"


def test_a_bastion_leads_to_the_host(project: Project, ssh: SshServer):
    proxy = ssh.connection().replace("ConnectionArgs", "ProxyConnectionArgs")
    connection = ssh.connection().replace("})", f", 'proxy': {proxy}}})")
    project.up(
        REMOTE
        + f"""
run = remote.Command("run", connection={connection}, create="echo there")
pulumi.export("stdout", run.stdout)
"""
    )
    assert project.output("stdout") == "there"


def test_files_texts_and_trees_are_copied(project: Project, ssh: SshServer, tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("deep")
    (source / "top").write_text("flat")

    def program(text: str) -> str:
        return (
            REMOTE
            + f"""
connection = {ssh.connection()}
remote.CopyToRemote("text", connection=connection, remote_path="{target}/a/text",
    source=pulumi.StringAsset("{text}"))
remote.CopyToRemote("file", connection=connection, remote_path="{target}/b/file",
    source=pulumi.FileAsset("{source}/top"))
remote.CopyToRemote("tree", connection=connection, remote_path="{target}/c",
    source=pulumi.FileArchive("{source}"))
"""
        )

    project.up(program("first"))
    assert (target / "a" / "text").read_text() == "first"
    assert (target / "b" / "file").read_text() == "flat"
    assert (target / "c" / "source" / "sub" / "file").read_text() == "deep"
    assert project.up(program("second")).changes()["updated"] == 1
    assert (target / "a" / "text").read_text() == "second"


def test_a_connection_without_a_host_is_refused_before_anything_runs(project: Project):
    result = project.preview(
        REMOTE + 'remote.Command("run", connection={"user": "root", "host": ""}, create="true")',
        fails=True,
    )
    assert "connection.host" in result.output


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(f"{MARK} 12\nrest".encode(), (12, b"rest"), id="marked"),
        pytest.param(b"something else\n", (None, b"something else\n"), id="not ours"),
        pytest.param(b"", (None, b""), id="empty"),
    ],
)
def test_the_guards_line_is_taken_off(data: bytes, expected: tuple[int | None, bytes]):
    assert split_mark(data) == expected


def one_line(text: str) -> str:
    """The display's indented lines as one."""
    return " ".join(text.split())
