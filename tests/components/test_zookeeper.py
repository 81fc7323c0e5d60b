"""ZooKeeper: one server a host, each knowing all."""

from __future__ import annotations

import subprocess

import pytest

from components.zookeeper import ZooKeeper, ZooKeeperArgs, zookeeper_url
from tests.components.machines import host, hosts, variables


def test_each_host_gets_one_server_one_after_another(recorder, run):
    url = run(lambda: ZooKeeper("zk", ZooKeeperArgs(hosts=hosts(control=3).control)).url)

    assert url == "zk://10.90.7.10:2181,10.90.7.11:2181,10.90.7.12:2181/mesos"
    assert recorder.children("zk") == [
        (f"zk-control-{number}", "command:remote:Command") for number in (1, 2, 3)
    ]
    assert recorder["zk-control-1"].depends_on == ()
    assert recorder["zk-control-2"].depends_on == ("zk-control-1",)
    assert recorder["zk-control-3"].depends_on == ("zk-control-2",)


def test_a_server_knows_the_ensemble_and_itself(recorder, run):
    run(lambda: ZooKeeper("zk", ZooKeeperArgs(hosts=hosts(control=3).control)).url)

    assert variables(recorder["zk-control-2"].inputs["stdin"]) == {
        "RECIPE": "zookeeper",
        "ZOOKEEPER_SERVERS": "10.90.7.10 10.90.7.11 10.90.7.12",
        "ZOOKEEPER_ADDRESS": "10.90.7.11",
    }


@pytest.mark.parametrize(
    ("control", "servers"),
    [
        (1, []),
        (3, [f"server.{number}=10.90.7.{9 + number}:2888:3888" for number in (1, 2, 3)]),
    ],
)
def test_the_configuration_is_one_that_zookeeper_3_4_and_3_8_understand(
    recorder, run, control, servers
):
    run(lambda: ZooKeeper("zk", ZooKeeperArgs(hosts=hosts(control=control).control)).url)

    stdin = recorder["zk-control-1"].inputs["stdin"].replace('\nmain "$@"', "\nzoo_cfg")
    lines = subprocess.run(
        ["bash", "-s"], input=stdin, capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert "clientPort=2181" in lines
    assert [line for line in lines if line.startswith("server.")] == servers


def test_an_even_number_of_hosts_is_refused(recorder):
    with pytest.raises(ValueError, match=r"odd number of hosts, got 2: .*control-1.*control-2"):
        ZooKeeperArgs(hosts=[host("control-1"), host("control-2")])


def test_the_url_keeps_the_ensembles_order():
    assert zookeeper_url(["10.0.0.9", "10.0.0.10"]) == "zk://10.0.0.9:2181,10.0.0.10:2181/mesos"
