"""Every recipe of a stack, twice on real lab hosts: the second time changes nothing.

The program runs under mocks that do make the keys and the hosts; what it would have sent to the
hosts is then sent by this test, in the program's order.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import runpy
import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pulumi
import pytest
from pulumi.runtime.mocks import MockResourceArgs

from components.programs import cache, program_versions
from components.recipe import render, script
from tests.components.conftest import Machines, Made, Recorder

ROOT = Path(__file__).resolve().parents[2]
STACK = f"recipes-{os.getpid()}"
SIZE = {"cpus": 1, "memory_mb": 1536, "disk_gb": 10}


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "0" * 64


SUBSCRIBE = (
    '{"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "nobody", "name": "Sleeper", '
    '"roles": ["\'$MESOS_ROLE\'"], "failover_timeout": 600, '
    '"capabilities": [{"type": "MULTI_ROLE"}]}}}'
)
PROGRAM = f"programs/mesos/{program_versions()['mesos']}/mesos-executor"
SLEEPER = (
    "test -x mesos-executor; exec curl --silent --no-buffer --output /dev/null "
    f"--header 'Content-Type: application/json' --data '{SUBSCRIBE}' "
    "http://$LIBPROCESS_IP:5050/api/v1/scheduler"
)
"""A framework in one line: it registers when its file is there, and wants nothing."""

CLUSTER = {
    "hosts": {"on": "lab", "control": {**SIZE, "count": 1}, "agents": {**SIZE, "count": 1}},
    "mesos": {"roles": [{"name": "batch", "weight": 2, "limits": {"cpus": 1}}]},
    "frameworks": [
        {
            "name": "sleeper",
            "registers_as": "Sleeper",
            "role": "batch",
            "command": SLEEPER,
            # In the host's store, which is this machine's cache.
            "uris": [
                {
                    "url": f"file:///var/cache/kubernetes-mesos/{PROGRAM}",
                    "sha256": digest(cache() / PROGRAM),
                }
            ],
        }
    ],
}
UNITS = {
    "control-1": (
        "zookeeper",
        "mesos-master",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "km-scheduler",
        "framework-sleeper",
    ),
    "agent-1": ("containerd", "mesos-agent"),
}

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="lab hosts need root"),
]


class RealMachines(Machines):
    """Runs what runs on this machine, and remembers how to undo it."""

    def __init__(self) -> None:
        self.undo: list[tuple[str, str]] = []

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        if args.typ != "command:local:Command":
            return f"{args.name}-id", {**args.inputs, "stdout": ""}
        if "delete" in args.inputs:
            self.undo.append((args.inputs["delete"], args.inputs["stdin"]))
        return args.name, {
            **args.inputs,
            "stdout": shell(args.inputs["create"], args.inputs["stdin"]),
        }


def shell(command: str, stdin: str) -> str:
    done = subprocess.run(
        command, shell=True, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def machines():
    made = RealMachines()
    yield made
    for command, stdin in reversed(made.undo):
        shell(command, stdin)


@pytest.fixture(scope="module")
def commands(machines):
    return commands_of(machines, STACK, CLUSTER)


def commands_of(machines: RealMachines, stack: str, cluster: dict[str, Any]) -> list[Made]:
    """Every command on hosts that the program has for a stack file."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    recorder = Recorder(machines)
    pulumi.runtime.set_mocks(machines, project="kubernetes-mesos", stack=stack, monitor=recorder)
    pulumi.runtime.set_all_config({"kubernetes-mesos:cluster": json.dumps(cluster)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulumi, "get_stack", lambda: stack)
        patch.setattr(pulumi, "get_project", lambda: "kubernetes-mesos")
        patch.setattr(pulumi, "export", lambda *_: None)
        patch.setattr(pulumi, "run", lambda _: None)
        pulumi.runtime.test(lambda: runpy.run_path(str(ROOT / "__main__.py")) and None)()
    pulumi.runtime.set_all_config({})
    loop.close()
    asyncio.set_event_loop(None)
    return [made for made in recorder.made if made.type == "command:remote:Command"]


@pytest.fixture(scope="module")
def recipes(commands):
    """The commands that the program would have run on its hosts."""
    return [
        made
        for made in commands
        if "create" in made.inputs
        # It asks in a pod, and there is none without the Kubernetes provider.
        and not made.name.startswith("smoke-test")
    ]


async def run(made: Made, command: str, stdin: str) -> tuple[int, str, str]:
    """Run a command where a resource would; its status, stdout and stderr."""
    connection = made.inputs["connection"]
    known = ([asyncssh.import_public_key(connection["hostKey"])], [], [])
    async with asyncssh.connect(
        connection["host"],
        username=connection["user"],
        client_keys=[asyncssh.import_private_key(connection["privateKey"])],
        known_hosts=known,
        agent_path=None,
        config=None,
    ) as session:
        done = await session.run(command, input=stdin)
        return int(done.exit_status or 0), str(done.stdout), str(done.stderr)


async def run_all(recipes: list[Made]) -> dict[str, tuple[int, str, str]]:
    """Run everything as the engine does: at once, but after what it depends on."""
    running: dict[str, asyncio.Task[tuple[int, str, str]]] = {}

    async def one(made: Made) -> tuple[int, str, str]:
        before = [running[name] for name in made.depends_on if name in running]
        await asyncio.gather(*before)
        return await run(made, made.inputs["create"], made.inputs["stdin"])

    for made in recipes:
        running[made.name] = asyncio.create_task(one(made))
    return dict(zip(running, await asyncio.gather(*running.values()), strict=True))


def on(host: str, recipes: list[Made], command: str) -> str:
    """What a command says on a host."""
    made = next(made for made in recipes if made.name.endswith(host))
    return asyncio.run(run(made, command, ""))[1]


@pytest.fixture(scope="module")
def first(recipes):
    """Everything run once; what each said."""
    return asyncio.run(run_all(recipes))


def test_every_recipe_succeeds_on_a_new_host(first):
    failed = {name: said for name, said in first.items() if said[0] != 0}

    assert failed == {}
    silent = {name for name, said in first.items() if not said[1]}
    assert silent == {"node-version-control-1"}, "a new km begins with it; all others change things"


def test_every_unit_runs_and_none_had_to_be_restarted(first, recipes):
    for host, units in UNITS.items():
        command = f"systemctl show --property=Id,ActiveState,NRestarts --value {' '.join(units)}"
        blocks = on(host, recipes, command).strip().split("\n\n")

        states = {frozenset(block.split()) for block in blocks}
        assert states == {frozenset({f"{unit}.service", "active", "0"}) for unit in units}


def test_a_second_run_changes_nothing(first, recipes):
    second = asyncio.run(run_all(recipes))

    assert {name: said[:2] for name, said in second.items()} == dict.fromkeys(first, (0, ""))


@pytest.mark.parametrize(("host", "unit"), [("control-1", "etcd"), ("agent-1", "mesos-agent")])
def test_a_host_is_back_when_all_of_it_takes_part_again(first, recipes, host, unit):
    made = next(made for made in recipes if made.name == f"{unit}-{host}")
    address = made.inputs["connection"]["host"]
    values = {"RECIPE": "returned", "RETURNED_ADDRESS": address}
    body = render(script("returned"), values).replace("LIMIT=300", "LIMIT=2")

    assert asyncio.run(run(made, "bash -s -- up", body)) == (0, "", "")
    on(host, recipes, f"systemctl stop {unit}")
    status, _, errors = asyncio.run(run(made, "bash -s -- up", body))
    assert (status, f"{unit} is not ready after 2 s" in errors) == (1, True)
    on(host, recipes, f"systemctl start {unit}")
    body = body.replace("LIMIT=2", "LIMIT=60")
    assert asyncio.run(run(made, "bash -s -- up", body))[0] == 0


@pytest.mark.parametrize("host", UNITS)
def test_keys_are_readable_by_their_owners_only(first, recipes, host):
    command = (
        "find /etc/kubernetes-mesos -type f -perm /077 "
        "| xargs grep --files-with-matches 'PRIVATE KEY\\|client-key-data' || true"
    )

    assert on(host, recipes, command) == ""


def test_a_stopped_unit_is_started_again(first, recipes):
    made = next(made for made in recipes if made.name == "etcd-control-1")
    on("control-1", recipes, "systemctl stop etcd")

    status, said, _ = asyncio.run(run(made, made.inputs["create"], made.inputs["stdin"]))

    assert (status, said) == (0, "started etcd\n")


def asked(recipes: list[Made], kind: str) -> dict[str, Any]:
    """What the master on the control host answers."""
    command = (
        "curl --silent --fail --header 'Content-Type: application/json' "
        f"--header 'Accept: application/json' --data '{{\"type\": \"{kind}\"}}' "
        "http://$(hostname --all-ip-addresses | cut -d' ' -f1):5050/api/v1"
    )
    return json.loads(on("control-1", recipes, command))[kind.lower()]


def test_roles_have_what_is_said_and_a_framework_that_leaves_is_torn_down(first, recipes, commands):
    assert asked(recipes, "GET_WEIGHTS")["weight_infos"] == [{"role": "batch", "weight": 2.0}]
    assert [config["role"] for config in asked(recipes, "GET_QUOTA")["status"]["configs"]] == [
        "batch"
    ]
    by_name = {made.name: made for made in commands}

    said = {}
    # As the engine deletes them: what depends on another goes first.
    for name in ("framework-sleeper-control-1", "teardown-Sleeper", "mesos-sharing-control-1"):
        made = by_name[name]
        said[name] = asyncio.run(run(made, made.inputs["delete"], made.inputs["stdin"]))

    assert {name: (status, errors) for name, (status, _, errors) in said.items()} == dict.fromkeys(
        said, (0, "")
    )
    assert said["teardown-Sleeper"][1].startswith("tore down Sleeper (")
    assert "batch: weight 2 -> 1" in said["mesos-sharing-control-1"][1]
    # A role that is back at the default stays listed, with nothing said of it.
    assert asked(recipes, "GET_QUOTA")["status"]["configs"] == [{"role": "batch"}]
    assert asked(recipes, "GET_WEIGHTS")["weight_infos"] == [{"role": "batch", "weight": 1.0}]
    left = on("control-1", recipes, "find / -xdev -path '*sleeper*' -not -path '/proc/*'")
    assert left == ""
