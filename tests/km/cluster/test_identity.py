"""Who a process is in a Lease, and whose successor need not wait."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from km.cluster import identity

HERE = identity.place()


def ended() -> int:
    """The number of a process that is no more."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_process_is_unique_and_readable() -> None:
    assert identity.own() != identity.own()
    assert identity.own().rsplit("_", 3)[1:3] == [str(os.getpid()), HERE]


def test_a_process_that_ended_here_is_known_to_be_dead() -> None:
    assert identity.ended_here(f"a_host_{ended()}_{HERE}_0123abcd")


@pytest.mark.parametrize(
    "holder",
    [
        pytest.param(identity.own(), id="it lives"),
        pytest.param(f"host_1_{HERE}_0123abcd", id="its number is another's by now"),
        pytest.param("host_{ended}_0000beef_0123abcd", id="another host, boot or namespace"),
        pytest.param("host_{ended}_0123abcd", id="of an older km"),
        pytest.param("host_x_{here}_0123abcd", id="no number"),
        pytest.param("somebody", id="somebody else's"),
    ],
)
def test_nobody_else_is_taken_for_dead(holder: str) -> None:
    assert not identity.ended_here(holder.format(ended=ended(), here=HERE))


def test_where_the_place_cannot_be_told_nobody_is_taken_for_dead(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(identity, "PLACE", (tmp_path / "absent",))

    assert identity.place() != identity.place()
    assert not identity.ended_here(f"host_{ended()}_{identity.place()}_0123abcd")
