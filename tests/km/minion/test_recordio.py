"""Streams of records, cut anywhere and broken anyhow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from km.minion.recordio import MalformedStreamError, RecordDecoder


@given(records=st.lists(st.binary(max_size=50)), size=st.integers(1, 20))
def test_records_are_the_same_however_the_stream_is_cut(records: list[bytes], size: int) -> None:
    stream = b"".join(b"%d\n%s" % (len(record), record) for record in records)
    decoder = RecordDecoder()

    found = [
        record
        for start in range(0, len(stream), size)
        for record in decoder.feed(stream[start : start + size])
    ]

    assert found == records


@pytest.mark.parametrize(
    "stream",
    [b"x\n{}", b"\n{}", b"-2\n{}", b"+2\n{}", b" 2\n{}", b"1" * 21, b"99999999999\n", b"2.0\n{}"],
)
def test_what_is_no_length_is_refused(stream: bytes) -> None:
    with pytest.raises(MalformedStreamError):
        RecordDecoder().feed(stream)


@given(st.binary(max_size=200))
def test_any_bytes_give_records_or_one_known_error(stream: bytes) -> None:
    try:
        records = RecordDecoder().feed(stream)
    except MalformedStreamError:
        return
    assert sum(map(len, records)) <= len(stream)
