"""Labels made of an agent's attributes: what Kubernetes takes, whatever operators wrote."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from km import actions as do
from km.objects import attribute_label, labels_of_agent
from tests.km.core.stage import Stage, of, offer

KEY = re.compile(r"k8s\.mesosphere\.io/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("rack", "rack"),
        ("a b", "a_b"),
        ("n" * 53, "n" * 53),
        ("n" * 54, "n" * 44 + "-"),
        ("n" * 100, "n" * 44 + "-"),
    ],
)
def test_a_name_is_kept_as_far_as_it_can_be(name, label) -> None:
    assert attribute_label(name).startswith(f"k8s.mesosphere.io/attribute-{label}")


def test_long_names_that_begin_alike_stay_different_and_always_the_same() -> None:
    one, other = (attribute_label("n" * 60 + end) for end in "ab")
    assert one != other
    assert one == attribute_label("n" * 60 + "a")


def test_a_name_without_any_letter_or_digit_is_no_label() -> None:
    assert attribute_label("__") == ""
    assert not [key for key in labels_of_agent("a", {"__": "x"}, "", "") if "attribute" in key]


@given(st.dictionaries(st.text(min_size=1, max_size=80), st.text(max_size=80)))
def test_every_attribute_makes_a_legal_label_or_none(attributes) -> None:
    for key, value in labels_of_agent("a", attributes, "", "").items():
        if "attribute" in key:
            assert KEY.fullmatch(key)
        assert VALUE.fullmatch(value)


def test_the_log_says_which_label_an_attribute_became() -> None:
    stage = Stage(agents=("a",))
    stage.sync()
    name = "x" * 60
    attributes = [
        {"name": name, "type": "TEXT", "text": {"value": "1"}},
        {"name": "rack", "type": "TEXT", "text": {"value": "r1"}},
    ]
    actions = stage.offers(offer("1", "a", attributes=attributes)) + stage.wait(1)

    (accept,) = of(actions, do.Accept)
    assert accept.reason.endswith(f"; attribute {name} is label {attribute_label(name)}")
