"""Stacks: Pulumi's environment, the salt, locks of killed updates, labs that are gone."""

import json
import os
import socket
import subprocess

import pytest

from components import lab_hosts, provision
from tools import engine, labs, places, plugins, progress, salt, settling, setup, stack, state
from tools.errors import ToolsError

SETTINGS = "config:\n  kubernetes-mesos:cluster:   # ours\n    hosts:\n      on: lab\n"
SALTED = SETTINGS.replace("   #", " #") + "encryptionsalt: v1:a=:b\n"


@pytest.fixture
def operator(tmp_path, monkeypatch):
    """A machine of its own: home, cache, state and a checkout with one stack."""
    for name in [n for n in os.environ if n.startswith(("PULUMI_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBERNETES_MESOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBERNETES_MESOS_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(places, "ROOT", tmp_path / "checkout")
    monkeypatch.setattr(plugins, "decided", lambda: {"command": "real"})
    (tmp_path / "checkout/stacks").mkdir(parents=True)
    (tmp_path / "checkout/stacks/Pulumi.local.yaml").write_text(SETTINGS)
    return tmp_path


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"KUBERNETES_MESOS_CACHE": "/c"}, "/c"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/kubernetes-mesos"),
        ({"KUBERNETES_MESOS_CACHE": "/c", "XDG_CACHE_HOME": "/x"}, "/c"),
        ({"HOME": "/h"}, None),
    ],
)
def test_the_cache_is_where_the_operator_wants_it(environment, expected, operator):
    expected = expected or str(operator / ".cache/kubernetes-mesos")

    assert str(places.cache(environment)) == expected


def test_two_checkouts_have_states_of_their_own(tmp_path):
    assert places.clone_id(tmp_path / "a") != places.clone_id(tmp_path / "b")


def test_without_a_backend_of_their_own_the_operator_gets_a_local_one(operator):
    added = engine.additions("local")

    assert added["PULUMI_BACKEND_URL"] == f"file://{places.backend()}"
    assert places.backend().is_dir()
    passphrase = operator / "state/passphrase"
    assert added["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(passphrase)
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert len(passphrase.read_text()) > 30
    assert "PULUMI_HOME" not in added


def test_as_many_steps_run_at_once_as_the_operator_says(operator, monkeypatch):
    assert engine.additions("local")["PULUMI_PARALLEL"] == engine.PARALLEL

    monkeypatch.setenv("PULUMI_PARALLEL", "3")

    assert engine.additions("local")["PULUMI_PARALLEL"] == "3"


def test_kubectl_keeps_what_it_notes_in_our_cache(operator):
    assert engine.additions("local")["KUBECACHEDIR"] == str(operator / "cache/kubectl")


def test_the_passphrase_is_made_once(operator):
    first = engine.passphrase_file().read_text()

    assert engine.passphrase_file().read_text() == first


def test_a_passphrase_of_the_operators_own_is_respected(operator, monkeypatch):
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")

    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in engine.additions("local")


@pytest.mark.parametrize("how", ["named", "logged in"])
def test_a_backend_of_the_operators_own_is_respected(operator, monkeypatch, how):
    if how == "named":
        monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://bucket")
    else:
        (operator / ".pulumi").mkdir()
        credentials = {"current": "https://api.pulumi.com", "accounts": {}}
        (operator / ".pulumi/credentials.json").write_text(json.dumps(credentials))

    added = engine.additions("local")

    ours = ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_HOME")
    assert not [name for name in ours if name in added]


@pytest.mark.parametrize("how", ["named", "logged in"])
def test_the_backend_of_another_checkout_is_nobodys_own(operator, monkeypatch, how):
    other = f"file://{places.backends()}/0123abcd"
    if how == "named":  # as in a shell that has read the other's `make env`
        monkeypatch.setenv("PULUMI_BACKEND_URL", other)
    else:
        (operator / ".pulumi").mkdir()
        (operator / ".pulumi/credentials.json").write_text(json.dumps({"current": other}))

    assert engine.own_backend() is None
    assert engine.additions("local")["PULUMI_BACKEND_URL"] == f"file://{places.backend()}"


@pytest.mark.parametrize("path", ["/srv/pulumi", "{state}/backend-of-mine", "~"])
def test_a_directory_of_the_operators_own_is_a_backend_of_their_own(operator, path):
    url = "file://" + path.format(state=places.state())

    assert engine.own_backend({"PULUMI_BACKEND_URL": url}) == url


def test_the_pulumi_home_of_another_checkout_is_nobodys_own(operator, monkeypatch):
    other = operator / "other/.venv/pulumi"
    installed = other / "plugins/resource-command-v1.2.1/pulumi-resource-command"
    installed.parent.mkdir(parents=True)
    installed.touch()
    (other / "decided.json").write_text("{}")
    monkeypatch.setenv("PULUMI_HOME", str(other))
    monkeypatch.setattr(plugins.release, "reachable", lambda _: False)

    assert engine.pulumi_home() == operator / ".pulumi"
    assert not plugins._is_real("command", "1.2.1")
    (other / "decided.json").unlink()
    assert plugins._is_real("command", "1.2.1")


def test_stand_ins_keep_out_of_the_operators_pulumi_home(operator, monkeypatch):
    monkeypatch.setattr(plugins, "decided", lambda: {"command": "stand-in"})
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://bucket")

    added = engine.additions("local")

    assert added["PULUMI_HOME"] == str(plugins.HOME)
    assert added["PULUMI_CREDENTIALS_PATH"] == str(operator / ".pulumi")


def test_the_environment_may_be_asked_for_inside_itself(operator, monkeypatch):
    first = engine.additions("local")
    for name, value in first.items():
        monkeypatch.setenv(name, value)

    assert engine.additions("local") == first


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        (SETTINGS, SALTED, SETTINGS),
        (SETTINGS, SETTINGS, None),
        (SETTINGS, SALTED.replace("lab", "aws"), SALTED.replace("lab", "aws").rpartition("enc")[0]),
        (SETTINGS, SALTED + "  x:\n    secure: v1:c\n", None),
        (SALTED, SALTED, SALTED.rpartition("enc")[0]),
    ],
    ids=["salted", "untouched", "edited meanwhile", "with a secret", "salted before"],
)
def test_the_salt_stays_out_of_settings_that_need_none(before, after, left):
    assert salt.without_salt(before, after) == left


def lock(pid, hostname=None):
    return {
        "pid": pid,
        "username": "root",
        "hostname": hostname or socket.gethostname(),
        "timestamp": "2026-01-02T03:04:05.678Z",
    }


def process(proc, pid, name, state="S"):
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {state} 1 {pid} {pid} 0 -1\n")


def test_a_lock_is_dead_when_its_process_is(tmp_path):
    process(tmp_path, 10, "pulumi")
    process(tmp_path, 11, "bash")
    process(tmp_path, 13, "pulumi", "Z")

    assert state.is_alive(lock(10), tmp_path)
    assert not state.is_alive(lock(13), tmp_path)  # it has ended, nobody has asked yet
    assert not state.is_alive(lock(11), tmp_path)  # the number went to another program
    assert not state.is_alive(lock(12), tmp_path)


def test_nobody_can_tell_whether_a_lock_of_another_machine_is_dead(tmp_path):
    assert state.is_alive(lock(12, "elsewhere"), tmp_path)


@pytest.fixture
def locks(operator, monkeypatch):
    """The directory of the locks of stack local, and the commands that pulumi was given."""
    directory = places.backend() / ".pulumi/locks/organization/kubernetes-mesos/local"
    directory.mkdir(parents=True)
    ran = []
    monkeypatch.setattr(state, "pulumi", lambda stack, *words, **_: ran.append(words))
    return directory, ran


def test_the_lock_of_a_killed_update_is_released(locks, capsys):
    directory, ran = locks
    state.release_dead_locks("local")
    assert ran == []

    (directory / "a.json").write_text(json.dumps(lock(2**22 + 1)))
    state.release_dead_locks("local")
    assert ran == [("cancel", "--yes")]
    assert "was killed; its lock is released" in capsys.readouterr().err


def test_the_lock_of_a_running_update_is_not_touched(locks, monkeypatch):
    directory, ran = locks
    monkeypatch.setattr(state, "is_alive", lambda _: True)
    (directory / "a.json").write_text(json.dumps(lock(77)))

    with pytest.raises(ToolsError, match="being updated by process 77 of root on"):
        state.release_dead_locks("local")
    assert ran == []


def test_a_stack_without_settings_is_answered_with_those_there_are(operator):
    with pytest.raises(ToolsError, match=r"STACK=lokal: there is no .*\nThere is: local"):
        state.settings_file("lokal")


@pytest.mark.parametrize("kind", ["lab", "metal", "aws"])
def test_the_settings_say_what_the_hosts_are(operator, kind):
    (operator / "checkout/stacks/Pulumi.x.yaml").write_text(SETTINGS.replace("lab", kind))

    assert state.hosts_are_on("x") == kind


def test_settings_that_do_not_tell_what_the_hosts_are_are_refused(operator):
    (operator / "checkout/stacks/Pulumi.x.yaml").write_text(SETTINGS.replace("lab", "*kind"))

    with pytest.raises(ToolsError, match=r"Pulumi\.x\.yaml: cluster\.hosts\.on .* lab, metal, aws"):
        state.hosts_are_on("x")


@pytest.mark.parametrize(
    ("latest", "expected"),
    [
        (None, False),
        ({}, False),
        ({"resources": []}, False),
        ({"resources": [{"urn": "a"}]}, True),
        ({"pending_operations": [{"type": "creating"}]}, True),
    ],
)
def test_a_state_is_empty_when_nothing_is_or_may_be_in_it(operator, latest, expected):
    path = engine.state_file("local")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"checkpoint": {"latest": latest}}))

    assert state.has_resources("local") is expected


@pytest.mark.parametrize(
    ("marks", "expected"),
    [([], []), ([False, False], []), ([True, False, True], ["host-0", "host-2"])],
)
def test_what_is_protected_stands_in_the_state(operator, marks, expected):
    urn = "urn:pulumi:local::p::aws:ec2/instance:Instance::host"
    made = [{"urn": f"{urn}-{number}", "protect": mark} for number, mark in enumerate(marks)]
    path = engine.state_file("local")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": made}}}))

    assert state.protected("local") == expected


@pytest.fixture
def lab(operator, monkeypatch):
    """A stack's lab as told to be: `lab(listed, in_state, fails)`; gives what is done to it.

    `fails` is how often starting it does before it goes well.
    """
    done = []

    def tell(listed, *, in_state, fails=0):
        def run(*words):
            done.append(words[0])
            return words[0] != "up" or done.count("up") > fails

        monkeypatch.setattr(labs, "of", lambda _: listed)
        monkeypatch.setattr(labs, "run", run)
        monkeypatch.setattr(state, "resources", lambda _: [KEYS, claim()] if in_state else [])
        monkeypatch.setattr(state, "forget", lambda _: done.append("forget"))
        return done

    return tell


def claim(**said):
    """What a state keeps of a lab's network."""
    spec = {"lab": "ab12", "owner": labs.owner("local"), "machine": places.machine_id()} | said
    create = ".venv/bin/python -m lab network up"
    return {"inputs": {"create": create, "stdin": json.dumps(spec)}}


OTHER_CLONE, OTHER_MACHINE = {"owner": "/home/b/clone:local"}, {"machine": "4711"}
KEYS = {"inputs": {"create": ".venv/bin/python -m components.keys ssh", "stdin": "{}"}}


@pytest.mark.parametrize(
    ("backend", "claimed", "refused"),
    [
        (None, None, None),
        (None, {}, None),
        (None, OTHER_MACHINE, None),
        (None, OTHER_CLONE, "has the lab of /home/b/clone:local"),
        ("s3://b", {}, None),
        ("s3://b", {"machine": None}, None),
        ("s3://b", OTHER_CLONE, "has the lab of /home/b/clone:local"),
        ("s3://b", OTHER_MACHINE, r"has the lab of .*checkout:local \(machine 4711\)"),
        ("s3://b", None, None),
    ],
)
def test_only_the_state_of_ones_own_lab_is_forgotten(
    operator, monkeypatch, backend, claimed, refused
):
    forgotten = []
    resources = [{}, KEYS, *([] if claimed is None else [claim(**claimed)])]
    monkeypatch.setattr(engine, "own_backend", lambda *_: backend)
    monkeypatch.setattr(state, "resources", lambda _: resources)
    monkeypatch.setattr(state, "forget", forgotten.append)
    monkeypatch.setattr(labs, "of", lambda _: None)

    if refused is None:
        assert labs.is_dead("local") is (claimed is not None)
        labs.revive("local")
        assert forgotten == ([] if claimed is None else ["local"])
        return
    with pytest.raises(ToolsError, match=refused):
        labs.is_dead("local")
    with pytest.raises(ToolsError, match=refused) as error:
        labs.revive("local")
    assert "Nothing was changed" in str(error.value)
    assert forgotten == []


@pytest.mark.parametrize("command", [stack.up, stack.down])
def test_a_stack_whose_state_is_another_checkouts_is_not_touched(lab, monkeypatch, command):
    done = lab(None, in_state=True)
    monkeypatch.setattr(state, "ensure", lambda _: None)
    monkeypatch.setattr(state, "resources", lambda _: [claim(**OTHER_CLONE)])
    monkeypatch.setattr(stack, "_run", lambda *words: done.append(words[1]))

    with pytest.raises(ToolsError, match="has the lab of /home/b/clone:local"):
        command("local")
    assert done == []


def test_a_host_is_entered_in_the_lab_of_its_stack(lab, monkeypatch):
    lab(ALIVE, in_state=True)
    became = []
    monkeypatch.setattr(labs.os, "execv", lambda program, words: became.append(words))
    monkeypatch.setattr(labs.os, "chdir", lambda _: None)
    entering = ["-m", "lab", "enter", "--lab", "ab12", "host-1"]
    labs.enter("local", "host-1", "cd /etc; ls")
    labs.enter("local", "host-1", "")

    assert became[0][1:] == [*entering, "bash", "-c", "cd /etc; ls"]
    assert became[1][1:] == entering
    with pytest.raises(ToolsError, match="There are: host-1 host-2"):
        labs.enter("local", "", "")
    lab(None, in_state=False)
    with pytest.raises(ToolsError, match="Stack local has no lab on this machine"):
        labs.enter("local", "host-1", "")


@pytest.mark.parametrize(
    "command", ["rm one; rm two", "echo \"$HOME\" '$(id)' | wc", "printf '%s\\n' `id`", ""]
)
def test_a_command_for_a_host_is_touched_by_nobody_before(command):
    """Half of it, run here, might remove something here."""
    done = subprocess.run(
        ["make", "-s", "enter", "HOST=one", f"COMMAND={command}", "TOOLS=printf '<%s>'"],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"<enter><local><one><{command}>"


def test_tools_and_program_name_owner_and_machine_alike(tmp_path):
    made = tmp_path / "machine-id"
    for text in ("0123abcd\n", "", None):
        made.write_text(text) if text is not None else made.unlink()
        assert places.machine_id(made) == provision.machine_id(made)
    assert provision.ROOT == places.ROOT


def hosts(*alive):
    """A lab with a host for each, as `lab list` shows it."""
    shown = [{"name": f"host-{i}", "lives": yes, "pid": i} for i, yes in enumerate(alive, start=1)]
    return {"lab": "ab12", "lives": any(alive), "hosts": shown, "damages": []}


ALIVE, MAIMED, DEAD = hosts(True, True), hosts(True, False), hosts(False, False)
TO_COME = {"name": "host-3", "lives": False, "pid": None}
BEING_MADE = {**ALIVE, "hosts": [*ALIVE["hosts"], TO_COME]}


@pytest.mark.parametrize(
    ("listed", "in_state", "fails", "expected"),
    [
        (None, False, 0, []),
        (ALIVE, True, 0, []),
        (BEING_MADE, False, 0, []),
        (MAIMED, True, 0, ["up"]),
        (DEAD, True, 0, ["up"]),
        (DEAD, True, 1, ["up", "up"]),
        (DEAD, False, 0, ["up"]),
        (None, True, 0, ["forget"]),
    ],
    ids=[
        "first",
        "running",
        "a host to come",
        "a host died",
        "restarted",
        "at the second try",
        "half made",
        "removed by hand",
    ],
)
def test_a_lab_is_brought_back_to_life(lab, listed, in_state, fails, expected):
    done = lab(listed, in_state=in_state, fails=fails)
    revived = labs.revive("local")

    assert done == expected
    assert revived is ("up" in expected)


def test_a_lab_with_damaged_records_is_found_by_its_id(operator, monkeypatch):
    damaged = {"lab": labs.lab_id("local"), "owner": None, "damages": ["host.json is damaged"]}
    stranger = {**damaged, "lab": "0123abcd"}
    said = json.dumps([stranger, damaged])
    done = subprocess.CompletedProcess([], 0, said, "")
    monkeypatch.setattr(labs.subprocess, "run", lambda *_, **__: done)

    assert labs.of("local") == damaged
    assert labs.of("other") is None
    assert labs.lab_id("local") == lab_hosts.lab_id(places.ROOT, "local")


def test_a_lab_with_damaged_records_is_given_up_only_by_the_operator(lab, monkeypatch):
    done = lab({**ALIVE, "damages": ["host.json is damaged"]}, in_state=True)
    with pytest.raises(ToolsError, match=r"^host\.json is damaged\n.* all its data: make down$"):
        labs.revive("local")
    assert done == []
    monkeypatch.setattr(stack, "_run", lambda *words: done.append(words[1]))
    stack.down("local")

    assert done == ["forget", "down"]


@pytest.mark.parametrize("in_state", [True, False])
@pytest.mark.parametrize("name", ["local", "other"])
def test_a_lab_that_does_not_start_keeps_its_data(lab, in_state, name):
    done = lab(DEAD, in_state=in_state, fails=2)

    with pytest.raises(ToolsError) as error:
        labs.revive(name)
    assert done == ["up", "up"]
    option = {"local": "", "other": " STACK=other"}[name]
    assert f"make up{option}. To give the lab up with all its data: make down{option}" in str(
        error.value
    )


POD = {"type": settling.POD, "id": "default/busybox", "outputs": {"metadata": {"uid": "1"}}}
THERE = {"metadata": {"name": "busybox", "uid": "1"}, "spec": {}}


@pytest.mark.parametrize(
    ("listed", "pods", "again"),
    [
        pytest.param(ALIVE, [THERE], False, id="nothing was lost"),
        pytest.param(ALIVE, [], True, id="a pod was lost"),
        pytest.param(MAIMED, [THERE], True, id="a host had died"),
        pytest.param(DEAD, [THERE], True, id="all hosts had died"),
    ],
)
def test_what_was_lost_is_made_again_after_an_up(lab, monkeypatch, listed, pods, again):
    done = lab(listed, in_state=True)
    things = {"nodes": [], "leases": [], "pods": pods}
    monkeypatch.setattr(state, "resources", lambda _: [POD])
    monkeypatch.setattr(stack.settling, "read_things", lambda _: things)
    monkeypatch.setattr(state, "release_dead_locks", lambda _: None)
    monkeypatch.setattr(state, "ensure", lambda _: None)
    monkeypatch.setattr(state, "hosts_are_on", lambda _: "lab")
    monkeypatch.setattr(stack, "_run", lambda *words: done.append(" ".join(words[1:3])))
    monkeypatch.setattr(stack, "write_kubeconfig", lambda _: done.append("kubeconfig"))
    monkeypatch.setattr(stack.settling, "settle", lambda *_, **__: done.append("settle"))
    monkeypatch.setattr(stack, "_show", lambda *_: None)
    stack.up("local")

    begun = [] if listed is ALIVE else ["up"]
    lost = ["settle", "up --refresh"] if again else []
    assert done == [*begun, "up --yes", "kubeconfig", *lost]


@pytest.mark.parametrize("listed", [MAIMED, DEAD], ids=["one host", "all hosts"])
def test_a_lab_with_dead_hosts_is_taken_down_without_asking_them(lab, monkeypatch, listed):
    done = lab(listed, in_state=True)
    monkeypatch.setattr(stack, "_run", lambda *words: done.append(words[1]))
    stack.down("local")

    assert done == ["forget", "down"]


def test_a_living_lab_is_destroyed_by_the_program(lab, monkeypatch):
    done = lab(ALIVE, in_state=True)
    monkeypatch.setattr(stack, "_run", lambda *words: done.append(words[1]))
    stack.down("local")

    assert done == ["destroy", "down"]


def test_a_protected_stack_is_not_taken_down_by_half(lab, monkeypatch):
    done = lab(ALIVE, in_state=True)
    monkeypatch.setattr(state, "release_dead_locks", lambda _: None)
    monkeypatch.setattr(state, "protected", lambda _: ["control-1", "control-2"])
    monkeypatch.setattr(stack, "_run", lambda *words: done.append(words[1]))

    with pytest.raises(ToolsError, match=r"control-1, control-2; nothing .*\n.*protect: false"):
        stack.down("local")
    assert done == []


def test_a_kubeconfig_is_for_nobody_else_to_read(operator, monkeypatch):
    monkeypatch.setattr(state, "has_resources", lambda _: True)
    monkeypatch.setattr(state, "outputs", lambda _: {"kubeconfig": "apiVersion: v1\n"})
    path = stack.write_kubeconfig("local")

    assert path.read_text() == "apiVersion: v1\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_stack_that_is_not_up_has_no_kubeconfig(operator):
    with pytest.raises(ToolsError, match="Stack local has no kubeconfig yet"):
        stack.write_kubeconfig("local")


def test_kubectl_writes_the_kubeconfig_when_the_stack_has_changed(tmp_path):
    root = tmp_path / "checkout"
    (root / "tools/bin").mkdir(parents=True)
    kubectl = root / "tools/bin/kubectl"
    kubectl.write_bytes((engine.BIN / "kubectl").read_bytes())
    kubectl.chmod(0o755)
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho written >>"$KUBECONFIG"\n')
    fake.chmod(0o755)
    config, changed = tmp_path / "config", tmp_path / "local.json"
    changed.touch()
    environment = {
        **os.environ,
        "PYTHON": str(fake),
        "KUBECONFIG": str(config),
        "KUBERNETES_MESOS_KUBECONFIG": str(config),
        "KUBERNETES_MESOS_STACK": "local",
        "KUBERNETES_MESOS_STACK_FILE": str(changed),
        "KUBERNETES_MESOS_KUBECTL": "/bin/cat",
    }

    def run():
        done = subprocess.run(
            [kubectl, config], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.count("written")

    assert run() == 1
    assert run() == 1
    future = config.stat().st_mtime + 10
    os.utime(changed, (future, future))
    assert run() == 2


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_steps_say_what_they_do_how_long_it_took_and_what_is_left(capsys):
    clock = Clock()
    steps = progress.Steps({"a": 600, "b": 60}, clock=clock)
    with steps.step("a", "a 1.0: installing it"):
        clock.now = 65.0
        assert steps.left("a", 65.0) == 595
    with steps.step("b", "b 2.0: installing it"):
        clock.now = 66.0

    assert capsys.readouterr().err.splitlines() == [
        "[1/2] a 1.0: installing it, about 10 min; about 11 min left in all",
        "      done in 1 min 5 s",
        "[2/2] b 2.0: installing it, about 1 min; about 1 min left in all",
        "      done in 1 s",
    ]


def test_a_long_step_is_told_of_while_it_runs(capsys):
    steps = progress.Steps({"a": 600}, tick=0.01)
    with steps.step("a", "a"):
        deadline = 200
        while "so far" not in capsys.readouterr().err and deadline:
            deadline -= 1
            steps.say("")
            progress.time.sleep(0.01)

    assert deadline


def test_set_up_needs_compilers_only_while_something_is_built(monkeypatch):
    monkeypatch.setattr(setup.install, "lacking", lambda _: [])
    assert list(setup._purposes(on_lab=True, tests=False)) == ["set-up", "lab"]
    monkeypatch.setattr(setup.install, "lacking", lambda _: ["km"])
    assert list(setup._purposes(on_lab=False, tests=True)) == ["set-up", "building", "tests"]
