r"""Mesos' event stream: records of ``<length>\n<that many bytes>`` (RecordIO)."""

from __future__ import annotations

LONGEST_LENGTH = 20
LARGEST_RECORD = 64 * 2**20


class MalformedStreamError(Exception):
    """The other side does not speak RecordIO: the connection is of no further use."""


class RecordDecoder:
    """Cuts a byte stream that arrives in arbitrary pieces into records."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take some bytes, return the records that are complete now.

        Raises:
            MalformedStreamError: where a length should be there is something else.
        """
        self._buffer += data
        records = []
        while (record := self._next()) is not None:
            records.append(record)
        return records

    def _next(self) -> bytes | None:
        end = self._buffer.find(b"\n", 0, LONGEST_LENGTH + 1)
        if end < 0:
            if len(self._buffer) > LONGEST_LENGTH:
                raise MalformedStreamError(f"no record length in {bytes(self._buffer[:40])!r}")
            return None
        digits = bytes(self._buffer[:end])
        if not digits.isdigit() or int(digits) > LARGEST_RECORD:
            raise MalformedStreamError(f"{digits!r} is no record length")
        size = int(digits)
        if len(self._buffer) < end + 1 + size:
            return None
        record = bytes(self._buffer[end + 1 : end + 1 + size])
        del self._buffer[: end + 1 + size]
        return record
