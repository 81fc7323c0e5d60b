"""RecordIO, the framing of event streams: a length in decimal, a newline, so many bytes; repeated.

The rules: https://mesos.apache.org/documentation/latest/scheduler-http-api/#recordio-response-format
"""

from __future__ import annotations

from km.mesos.errors import MalformedStreamError

MAX_RECORD = 256 * 1024 * 1024
"""Bytes. Offers of ten thousand agents in one event are about 20 MB."""

MAX_HEADER = 20
"""Digits of the largest length (2^64 - 1): a longer header is not RecordIO."""


class Decoder:
    """Turns chunks, cut anywhere, into whole records. Does no I/O."""

    def __init__(self, *, max_record: int = MAX_RECORD) -> None:
        self._buffer = bytearray()
        self._wanted: int | None = None  # None while the length is being read
        self._max_record = max_record

    def feed(self, data: bytes) -> list[bytes]:
        """Return the records completed by `data`; keep the rest for the next call.

        Raises:
            MalformedStreamError: the bytes are not RecordIO. The decoder is of no use afterwards.
        """
        self._buffer += data
        records: list[bytes] = []
        while True:
            if self._wanted is None:
                self._wanted = self._take_length()
            if self._wanted is None or len(self._buffer) < self._wanted:
                return records
            records.append(bytes(self._buffer[: self._wanted]))
            del self._buffer[: self._wanted]
            self._wanted = None

    def close(self) -> None:
        """Say that the stream has ended.

        Raises:
            MalformedStreamError: it ended inside a record.
        """
        if self._wanted is not None:
            raise MalformedStreamError(
                f"the stream ended inside a record: {len(self._buffer)} of {self._wanted} bytes"
            )
        if self._buffer:
            raise MalformedStreamError(f"the stream ended inside a record's length: {self._head()}")

    def _take_length(self) -> int | None:
        end = self._buffer.find(b"\n", 0, MAX_HEADER + 1)
        if end < 0:
            if len(self._buffer) > MAX_HEADER or not self._digits(len(self._buffer)):
                raise MalformedStreamError(f"expected a record's length, got {self._head()}")
            return None
        if end == 0 or not self._digits(end):
            raise MalformedStreamError(f"expected a record's length, got {self._head()}")
        length = int(self._buffer[:end])
        if length > self._max_record:
            raise MalformedStreamError(
                f"a record of {length} bytes is announced; at most {self._max_record} are accepted"
            )
        del self._buffer[: end + 1]
        return length

    def _digits(self, end: int) -> bool:
        # bytes.isdigit() knows ASCII digits only; int() alone would also take " 7", "+7" and "1_0".
        return end == 0 or self._buffer[:end].isdigit()

    def _head(self) -> str:
        return repr(bytes(self._buffer[:40]))


def encode(record: bytes) -> bytes:
    """Frame one record, as a master does."""
    return b"%d\n%b" % (len(record), record)
