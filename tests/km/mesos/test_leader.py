"""Where the leading master is."""

from __future__ import annotations

import pytest

from km.mesos.errors import UnavailableError
from km.mesos.leader import FixedMasters, MasterUrl, address_of, lowest, parse_master


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:5050", MasterUrl(hosts=("10.0.0.1:5050",))),
        ("master", MasterUrl(hosts=("master:5050",))),
        ("a:1,b:2,c", MasterUrl(hosts=("a:1", "b:2", "c:5050"))),
        ("http://master:5050/", MasterUrl(hosts=("master:5050",))),
        ("[fd00::1]:5050", MasterUrl(hosts=("[fd00::1]:5050",))),
        ("[fd00::1]", MasterUrl(hosts=("[fd00::1]:5050",))),
        ("zk://a:2181,b:2182/mesos", MasterUrl(hosts=("a:2181", "b:2182"), path="/mesos")),
        ("zk://a/mesos/one/", MasterUrl(hosts=("a:2181",), path="/mesos/one")),
        ("zk://u:p@a:1/m", MasterUrl(hosts=("a:1",), path="/m", user="u:p")),
        ("zk://u:p@ss@a:1/m", MasterUrl(hosts=("a:1",), path="/m", user="u:p@ss")),
    ],
)
def test_urls_of_masters_are_read(text: str, expected: MasterUrl) -> None:
    assert parse_master(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no host:port"),
        ("a:b", "'a:b' is no host:port"),
        ("a:0", "0 is no port"),
        ("a:70000", "70000 is no port"),
        ("a:1,,b:2", "'' is no host:port"),
        ("a b:5050", "is no host:port"),
        ("https://a:5050", "is no host:port"),
        ("zk://a:2181", "has no path"),
        ("zk://a:2181/", "has no path"),
        ("zk:///mesos", "'' is no host:port"),
        ("zk://user@a:2181/mesos", "names no user:password"),
    ],
)
def test_a_url_that_is_none_says_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"allowed: ") as caught:
        parse_master(text)
    assert words in str(caught.value)


def test_the_secret_of_a_url_is_not_shown() -> None:
    assert str(parse_master("zk://u:secret@a:1/m")) == "zk://a:1/m"


def test_the_lowest_candidate_leads() -> None:
    names = ["json.info_0000000012", "info_0000000001", "json.info_0000000003", "log_replicas"]
    assert lowest(names) == "json.info_0000000003"
    assert lowest(["log_replicas"]) is None


def test_a_masters_address_is_the_one_it_bound() -> None:
    data = b'{"address":{"hostname":"control-1","ip":"10.0.0.1","port":5050},"port":5050}'
    assert address_of(data) == "10.0.0.1:5050"


@pytest.mark.parametrize("data", [b"", b"\x80abc", b"[]", b'{"address":{}}', b'{"address":null}'])
def test_a_candidate_that_holds_no_master_is_named(data: bytes) -> None:
    with pytest.raises(UnavailableError, match="no MasterInfo"):
        address_of(data)


async def test_fixed_masters_are_tried_in_turn() -> None:
    masters = FixedMasters(("a:1", "b:2"))
    assert [await masters.leader() for _ in range(3)] == ["a:1", "b:2", "a:1"]
