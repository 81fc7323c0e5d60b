"""Amounts: exact, and never lost or made."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from km.resources import (
    Resources,
    intersect_ranges,
    number,
    ports,
    ranges,
    subtract_ranges,
    thousandths,
)

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=6).map(ranges)
amounts = st.builds(Resources, *(st.integers(0, 10**7) for _ in range(4)), st.just(()))


def members(given_ranges) -> set[int]:
    return {port for low, high in given_ranges for port in range(low, high + 1)}


@given(spans, spans)
def test_ranges_behave_as_sets_of_ports(left, right) -> None:
    assert members(ranges(left + right)) == members(left) | members(right)
    assert members(subtract_ranges(left, right)) == members(left) - members(right)
    assert members(intersect_ranges(left, right)) == members(left) & members(right)


@given(spans)
def test_ranges_are_sorted_disjoint_and_not_touching(given_ranges) -> None:
    for (_, last), (first, _) in pairwise(given_ranges):
        assert first > last + 1


@given(amounts, amounts)
def test_what_is_added_can_be_subtracted_again(left, right) -> None:
    assert left + right - right == left


@given(amounts, amounts)
def test_covers_says_whether_nothing_is_short(have, need) -> None:
    assert have.covers(need) == (have.shortfall(need) == "")


@given(amounts, amounts.filter(bool), st.integers(0, 50))
def test_times_is_the_largest_number_that_fits(have, need, most) -> None:
    count = have.times(need, most)

    assert have.covers(need.scaled(count))
    assert count == most or not have.covers(need.scaled(count + 1))


def test_a_thousand_tenths_of_a_cpu_are_a_hundred_cpus() -> None:
    total = Resources()
    for _ in range(1000):
        total = total + Resources.of(cpus=0.1)

    assert total == Resources.of(cpus=100)


def test_what_is_not_needed_may_be_below_zero() -> None:
    assert Resources(cpus=1000, mem=-5).covers(Resources(cpus=1000))


@pytest.mark.parametrize(
    ("have", "need", "words"),
    [
        (Resources.of(cpus=0.5), Resources.of(cpus=1), "0.5 of 1 cpus"),
        (
            Resources.of(cpus=2, mem=64),
            Resources.of(cpus=1, mem=128),
            "64 of 128 MiB memory",
        ),
        (Resources(cpus=-100), Resources.of(cpus=1), "0 of 1 cpus"),
        (Resources(), Resources(ports=ports([80])), "not port 80"),
        (Resources.of(cpus=1), Resources.of(cpus=1), ""),
    ],
)
def test_a_shortfall_is_told_in_words(have, need, words) -> None:
    assert have.shortfall(need) == words


@pytest.mark.parametrize(("value", "text"), [(1500, "1.5"), (2000, "2"), (1, "0.001"), (0, "0")])
def test_numbers_are_written_without_needless_digits(value, text) -> None:
    assert number(value) == text


def test_scalars_are_rounded_as_mesos_rounds_them() -> None:
    assert thousandths(0.1 + 0.2) == 300
