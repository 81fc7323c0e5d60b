"""Stack `metal` where nobody reaches the internet: the machines do not, nor does the operator's.

One checkout packs a bundle. Another one, with an empty cache and an empty home, in a network that
has nothing but the machines in it, brings the stack up from that file.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.network import bridge_name
from tests.integration.checkout import Checkout, Run, fresh_checkout
from tests.integration.plain_machines import plain_machines
from tests.lab.conftest import Lab

pytestmark = [pytest.mark.lab, pytest.mark.integration, pytest.mark.slow]

NAMES = ("rack1", "rack2", "rack3")
BUNDLE = re.compile(r"^(/\S+\.tar): [0-9.]+ MB$", re.MULTILINE)
STEPS = re.compile(r"^\[\d+/\d+\] (.*?):", re.MULTILINE)
CHANGES = re.compile(r"\d+ (?:to )?(?:create|update|delete|replace)")
OPERATOR = 250
"""The last byte of the operator's address."""


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Somebody at a machine that reaches the others, and nothing else."""

    checkout: Checkout
    network: str
    directory: Path

    @property
    def settings(self) -> Path:
        return self.checkout.directory / "stacks" / "Pulumi.metal.yaml"

    def run(self, command: str, *, check: bool = True) -> Run:
        places = f"HOME={self.directory}/home KUBERNETES_MESOS_CACHE={self.directory}/cache"
        inside = f"ip netns exec {self.network} env {places} {command}"
        return self.checkout.run(inside, check=check)


@contextmanager
def network_of(lab: Lab) -> Iterator[str]:
    """A network namespace whose only way leads to the machines' bridge."""
    name = f"op{secrets.token_hex(3)}"
    address = f"{lab.network['network'].rpartition('.')[0]}.{OPERATOR}/24"

    def ip(words: str) -> None:
        subprocess.run(["ip", *words.split()], check=True)

    ip(f"netns add {name}")
    try:
        ip(f"link add {name} type veth peer name eth0 netns {name}")
        ip(f"link set {name} master {bridge_name(lab.name)} up")
        ip(f"-netns {name} address add {address} dev eth0")
        ip(f"-netns {name} link set eth0 up")
        ip(f"-netns {name} link set lo up")
        yield name
    finally:
        ip(f"link delete {name}")
        ip(f"netns delete {name}")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a machine with the internet has packed, carried somewhere else."""
    if os.geteuid() != 0:
        pytest.skip("lab hosts need root")
    packed = fresh_checkout(tmp_path_factory.mktemp("packing")).run("make bundle RELEASE=bookworm")
    (path,) = BUNDLE.findall(packed.output)
    carried = Path(shutil.move(path, tmp_path_factory.mktemp("carried")))
    yield carried
    carried.unlink()  # it and the cache are too large to be kept with other tests' directories


@pytest.fixture(scope="module")
def operator(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    directory = tmp_path_factory.mktemp("operator")
    (directory / "home").mkdir()
    checkout = fresh_checkout(directory)
    with (
        plain_machines(tmp_path_factory.mktemp("machines"), NAMES) as machines,
        network_of(machines.lab) as network,
    ):
        made = Operator(checkout=checkout, network=network, directory=directory)
        filled = machines.stack_file(made.settings.read_text())
        made.settings.write_text(filled.replace("bundle: true", f"bundle: {bundle}"))
        yield made
    shutil.rmtree(directory / "cache", ignore_errors=True)


def test_there_is_no_internet(operator):
    route = operator.run("ip route get 192.0.2.1", check=False)

    assert "Network is unreachable" in route.output


def test_a_damaged_bundle_is_refused_and_leaves_no_cache(operator, bundle):
    with bundle.open("r+b") as file:
        file.seek(-(10**6), os.SEEK_END)
        kept = file.read(1)
        file.seek(-(10**6), os.SEEK_END)
        file.write(bytes([kept[0] ^ 1]))

    refused = operator.run("make setup STACK=metal", check=False)

    with bundle.open("r+b") as file:
        file.seek(-(10**6), os.SEEK_END)
        file.write(kept)
    assert refused.code != 0
    assert re.search(r"has another sha256 than its index says.*nothing was changed", refused.output)
    assert not (operator.directory / "cache/programs").exists()


def test_up_ends_with_the_answer_and_nothing_is_built(operator):
    trusted = operator.run("make trust STACK=metal")
    up = operator.run("make up STACK=metal")

    assert STEPS.findall(trusted.output) == ["virtual environment .venv"]
    assert STEPS.findall(up.output) == []
    assert "Server:\t\t10.10.10.10" in up.output
    assert "Address: 10.10.10.1\n" in up.output
    assert not CHANGES.search(operator.run("make preview STACK=metal").output)


def test_it_can_be_taken_away_again(operator):
    down = operator.run("make down STACK=metal")

    assert "Stack metal is down" in down.output
