"""RecordIO: any cut is fine, anything else is said clearly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from km.mesos.errors import MalformedStreamError
from km.mesos.recordio import Decoder, encode


@settings(deadline=None)  # machines that run tests are busy
@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_records_survive_being_cut_anywhere(records: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(encode, records))
    decoder = Decoder()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += decoder.feed(stream[:size])
        stream = stream[size:]
    decoder.close()

    assert records == found


@settings(deadline=None)  # machines that run tests are busy
@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_a_clear_error(noise: bytes) -> None:
    decoder = Decoder(max_record=1000)
    try:
        found = decoder.feed(noise)
        decoder.close()
    except MalformedStreamError as error:
        assert str(error)  # noqa: PT017 - or no error at all
    else:
        assert noise == b"".join(map(encode, found)) or b"0" in noise  # leading zeros are allowed


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"\nabc", "expected a record's length", id="empty length"),
        pytest.param(b"-5\nabc", "expected a record's length, got b'-5", id="negative"),
        pytest.param(b"+5\nabc", "expected a record's length", id="sign"),
        pytest.param(b"1_0\nabc", "expected a record's length", id="underscore"),
        pytest.param(b" 5\nabc", "expected a record's length", id="space"),
        pytest.param("٣\nabc".encode(), "expected a record's length", id="other digits"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", "expected a record's length, got b'HTTP", id="http"),
        pytest.param(b"<html>", "expected a record's length", id="page of a proxy"),
        pytest.param(b"9" * 21, "expected a record's length", id="endless digits"),
        pytest.param(b"1001\n", "a record of 1001 bytes is announced; at most 1000", id="too long"),
    ],
)
def test_what_is_no_recordio_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(MalformedStreamError, match=words):
        Decoder(max_record=1000).feed(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"5\nabc", "inside a record: 3 of 5 bytes"),
        (b"5\n", "inside a record: 0 of 5 bytes"),
        (b"12", "inside a record's length: b'12'"),
    ],
)
def test_a_truncated_stream_says_where_it_ended(data: bytes, words: str) -> None:
    decoder = Decoder()
    assert decoder.feed(data) == []

    with pytest.raises(MalformedStreamError, match=words):
        decoder.close()
