"""What the tools read of a stack file, against what YAML says that it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from preflight import stack_file as yaml
from tools import stack_file

CLUSTER = "config:\n  kubernetes-mesos:cluster:\n"

UNDERSTOOD = {
    "block": CLUSTER + "    hosts:\n      on: metal\n",
    "flow": CLUSTER + "    hosts: {on: metal, user: ops}\n",
    "flow over lines": CLUSTER + "    hosts: {user: ops,\n      key: a,\n      on: metal}\n",
    "all flow": "config:\n  kubernetes-mesos:cluster: {dns: {replicas: 1}, hosts: {on: metal}}\n",
    "all in braces": "config: {kubernetes-mesos:cluster: {hosts: {on: metal}}}\n",
    "quoted": CLUSTER + "    'hosts':\n      \"on\": 'metal'\n",
    "quoted in flow": CLUSTER + "    hosts: {'on': \"metal\"}\n",
    "quoted cluster": "config:\n  'kubernetes-mesos:cluster':\n    hosts:\n      on: metal\n",
    "comments": CLUSTER + "    hosts: # on: lab\n# on: lab\n      on: metal   # not lab\n",
    "on elsewhere before": "config:\n  other:\n    on: lab\n  kubernetes-mesos:cluster:\n"
    "    frameworks:\n      - name: a\n        environment:\n          on: lab\n"
    "    hosts:\n      machines:\n      - name: a\n        labels:\n          on: lab\n"
    "      on: metal\n",
    "on in a text": CLUSTER + "    frameworks:\n      - command: |\n          hosts:\n"
    "            on: lab\n    hosts:\n      on: metal\n",
    "on in a flow's text": CLUSTER + "    hosts: {user: 'on: lab, x', on: metal}\n",
    "below its key": CLUSTER + "    hosts:\n      on:\n        metal\n",
    "an apostrophe": CLUSTER + "    hosts:\n      owner: it's # on: lab\n      on: metal\n",
    "before the cluster": "encryptionsalt: v1:a=:b\n" + CLUSTER + "    hosts:\n      on: metal\n",
}


@pytest.mark.parametrize("text", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_plain_ways_to_write_it_are_understood_as_yaml_does(text: str) -> None:
    assert yaml.load(text)["config"]["kubernetes-mesos:cluster"]["hosts"]["on"] == "metal"
    assert stack_file.kind_of_hosts(text) == "metal"


UNREADABLE = {
    "empty": "",
    "no cluster": "config:\n  x: 1\n",
    "no hosts": CLUSTER + "    dns:\n      on: lab\n",
    "no on": CLUSTER + "    hosts:\n      agents: 2\n",
    "hosts is text": CLUSTER + "    hosts: lab\n",
    "unknown kind": CLUSTER + "    hosts:\n      on: gcp\n",
    "an anchor": CLUSTER + "    hosts: &h\n      on: metal\n",
    "an alias": "x: &h\n  on: metal\n" + CLUSTER + "    hosts: *h\n",
    "a merge": "x: &h\n  on: metal\n" + CLUSTER + "    hosts:\n      <<: *h\n",
    "a tag": CLUSTER + "    hosts:\n      on: !!str metal\n",
    "twice": CLUSTER + "    hosts:\n      on: lab\n      on: metal\n",
    "deeper": CLUSTER + "    hosts:\n      agents:\n        on: lab\n",
    "an open brace": CLUSTER + "    hosts: {on: lab\n",
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_not_said_plainly_is_not_guessed(text: str) -> None:
    assert stack_file.kind_of_hosts(text) is None


STACKS = sorted((Path(__file__).parents[2] / "stacks").glob("Pulumi.*.yaml"))


@pytest.mark.parametrize("path", STACKS, ids=lambda path: path.name)
def test_our_own_stack_files_are_understood(path: Path) -> None:
    text = path.read_text()
    told = yaml.load(text)["config"]["kubernetes-mesos:cluster"]["hosts"]["on"]

    assert stack_file.kind_of_hosts(text) == told


@pytest.mark.parametrize(
    ("hosts", "path"),
    [
        ("    hosts:\n      on: metal\n      bundle: /srv/b.tar # carried\n", "/srv/b.tar"),
        ("    hosts: {on: metal, bundle: '~/b.tar'}\n", "~/b.tar"),
        ("    hosts:\n      bundle: true\n", None),
        ("    hosts:\n      bundle: false\n", None),
        ("    hosts:\n      bundle: b.tar\n", None),
        ("    hosts:\n      on: metal\n", None),
        ("    hosts:\n      bundle: /a.tar\n      bundle: /b.tar\n", None),
        ("    hosts:\n      machines:\n      - bundle: /a.tar\n", None),
    ],
)
def test_the_file_of_a_bundle_is_told_only_where_one_is_named(hosts: str, path: str | None) -> None:
    assert stack_file.bundle(CLUSTER + hosts) == path
