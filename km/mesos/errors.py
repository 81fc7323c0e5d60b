"""What can go wrong between km and a Mesos master.

MesosError
├── UnavailableError          nobody answered, or the master is still electing: try again
│   └── NotLeadingError       this master follows another one (`leader` says which, if it knows)
├── CallRefusedError          the master answered that it will not do this (400, 401, 403, …)
└── StreamBrokenError         the event stream ended, was cut, went silent
    └── MalformedStreamError  what came is not RecordIO or not JSON
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class MesosError(Exception):
    """The base of every error of this package."""


class UnavailableError(MesosError):
    """The master cannot be reached or is not ready; the same call may work later."""


class NotLeadingError(UnavailableError):
    """A master that is not the leader was asked."""

    def __init__(self, message: str, *, leader: str | None) -> None:
        super().__init__(message)
        self.leader = leader


class CallRefusedError(MesosError):
    """The master understood the call and refuses it; repeating it will not help."""

    def __init__(self, call: str, *, status: int, message: str) -> None:
        super().__init__(f"Mesos refused {call}: {status} {message}")
        self.call = call
        self.status = status
        self.message = message


class StreamBrokenError(MesosError):
    """The stream of events is over; subscribe again."""


class MalformedStreamError(StreamBrokenError):
    """Bytes on the stream that no Mesos master sends."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn what goes wrong while JSON is read that lacks what it should have into one known error.

    Raises:
        MalformedStreamError: naming `what` could not be read.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise MalformedStreamError(f"{what} that cannot be read: {problem}") from error
