"""A large answer is read item by item, however it is cut into pieces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from km.mesos.errors import MalformedStreamError
from km.mesos.items import LONGEST, Items

ANSWER = {
    "type": "GET_STATE",
    "get_state": {
        "get_tasks": {"tasks": [{"id": {"value": "a"}}, {"id": {"value": "ä"}}], "empty": []},
        "get_agents": {},
        "numbers": [1, 22, 333],
        "deep": {"one": {"two": {"three": [1]}}},
    },
}

LEAVES = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def read(data: bytes, size: int) -> tuple[list[tuple[tuple[str, ...], Any]], Items]:
    items = Items()
    found = []
    for start in range(0, len(data), size):
        found += items.feed(data[start : start + size])
    found += items.close()
    return found, items


def walk(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """What is to come of a whole answer: the plain, recursive way."""
    if isinstance(value, Mapping) and len(path) < 3:
        return [found for key, inner in value.items() for found in walk(inner, (*path, key))]
    if isinstance(value, list):
        return [(path, item) for item in value]
    return [(path, value)]


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_items_come_with_the_path_of_their_list(size: int) -> None:
    data = json.dumps(ANSWER, ensure_ascii=False, indent=1).encode()
    found, items = read(data, size)

    assert found == [
        (("type",), "GET_STATE"),
        (("get_state", "get_tasks", "tasks"), {"id": {"value": "a"}}),
        (("get_state", "get_tasks", "tasks"), {"id": {"value": "ä"}}),
        (("get_state", "numbers"), 1),
        (("get_state", "numbers"), 22),
        (("get_state", "numbers"), 333),
        (("get_state", "deep", "one"), {"two": {"three": [1]}}),
    ]
    assert ("get_state", "get_agents") in items.walked


@given(JSON, st.integers(1, 50))
def test_any_answer_comes_as_if_it_was_read_as_a_whole(answer: Any, size: int) -> None:
    found, _ = read(json.dumps(answer).encode(), size)

    assert found == walk(answer)


@given(JSON, st.integers(1, 50), st.data())
def test_an_answer_that_is_cut_off_is_refused(answer: Any, size: int, data: Any) -> None:
    whole = json.dumps({"get_state": answer}).encode()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]

    with pytest.raises(MalformedStreamError):
        read(cut, size)


@given(st.binary(max_size=60), st.integers(1, 20))
def test_any_bytes_are_read_or_refused(noise: bytes, size: int) -> None:
    try:
        read(noise, size)
    except MalformedStreamError as error:
        assert str(error)  # noqa: PT017 - or no error at all


@pytest.mark.parametrize("text", ["[1,]", '{"a":1,}', '{"a" 1}', "[1 2]", "{1:2}", "[}", "1 2", ""])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(MalformedStreamError):
        read(text.encode(), 3)


def test_an_item_without_end_is_not_waited_for() -> None:
    endless = b'["' + b"x" * (LONGEST + 2**17)

    with pytest.raises(MalformedStreamError, match="more than"):
        read(endless, 2**16)
