"""What is written into cgroups."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from km.minion.limits import (
    BREATH,
    SMALLEST_MEMORY,
    cpu_files,
    cpu_max,
    cpu_shares,
    cpu_weight,
    held,
    memory_limit,
    next_limit,
    unreclaimable,
)
from km.minion.tasks import MEBIBYTE, Share


@pytest.mark.parametrize(
    ("cpus", "shares", "weight"),
    [
        (0, 2, 1),
        (0.001, 2, 1),
        (0.1, 102, 4),
        (1, 1024, 39),
        (64, 65536, 2500),
        (1000, 262144, 10000),
    ],
)
def test_cpu_shares_and_weights_are_in_proportion(cpus: float, shares: int, weight: int) -> None:
    assert cpu_shares(cpus) == shares
    assert cpu_weight(cpus) == weight


@pytest.mark.parametrize(
    ("limit", "text"),
    [(math.inf, "max 100000"), (0, "max 100000"), (1.5, "150000 100000"), (0.001, "1000 100000")],
)
def test_cpu_quota(limit: float, text: str) -> None:
    assert cpu_max(limit) == text


def test_version_1_gets_no_quota() -> None:
    share = Share(cpus=1, cpu_limit=2)

    assert cpu_files(1, share, quota=True) == {"cpu.shares": "1024"}
    assert cpu_files(2, share, quota=True) == {"cpu.weight": "39", "cpu.max": "200000 100000"}
    assert cpu_files(2, share, quota=False) == {"cpu.weight": "39"}


def pod(request: float, limit: float = math.inf) -> Share:
    return Share(memory=request * MEBIBYTE, memory_limit=limit * MEBIBYTE)


@pytest.mark.parametrize(
    ("pods", "ceiling", "together"),
    [
        pytest.param([], None, 0, id="no pods"),
        pytest.param([pod(64, 100), pod(10, 10)], None, 110, id="limits are summed"),
        pytest.param([pod(64, 100), pod(32)], None, 132, id="without a limit the request counts"),
        pytest.param([pod(64, 100), pod(32)], 500, 500, id="or all that the node has"),
        pytest.param([pod(64, 100)], 500, 100, id="a ceiling is for those without limits"),
        pytest.param([pod(600), pod(10, 10)], 500, 610, id="never less than what was granted"),
    ],
)
def test_what_pods_may_use_together(
    pods: list[Share], ceiling: float | None, together: float
) -> None:
    bytes_ceiling = None if ceiling is None else ceiling * MEBIBYTE

    assert held(pods, ceiling=bytes_ceiling).memory_limit == together * MEBIBYTE


@given(st.lists(st.tuples(st.integers(1, 4096), st.integers(0, 4096) | st.none())))
def test_pods_together_never_get_more_than_their_tasks(pods: list[tuple[int, int | None]]) -> None:
    shares = [pod(request, math.inf if more is None else request + more) for request, more in pods]
    granted = sum(request + (more or 0) for request, more in pods) * MEBIBYTE

    assert held(shares, ceiling=None).memory_limit == granted


def test_an_empty_node_has_room_for_empty_cgroups_only() -> None:
    assert memory_limit(Share()) == SMALLEST_MEMORY
    assert memory_limit(Share(memory_limit=math.inf)) is None


def test_file_cache_can_be_given_back_and_program_memory_not() -> None:
    statistics = "anon 1000\nfile 500\nactive_file 200\ninactive_file 250\nslab_reclaimable 50\n"

    assert unreclaimable(2000, statistics) == 1500


@pytest.mark.parametrize(
    ("wanted", "held_now", "limit"),
    [(100, 50, 100), (100, 100, 100), (100, 300, 300 + BREATH)],
)
def test_a_limit_never_goes_below_what_is_in_use(wanted: int, held_now: int, limit: int) -> None:
    assert next_limit(wanted, held_now) == limit
