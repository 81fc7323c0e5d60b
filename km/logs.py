"""Log lines for people and machines: logfmt (`level=info msg="…" key=value`) or JSON lines."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime, timezone
from typing import Any

OWN = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
"""What every record has; the rest was given by `extra`."""

PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f]+")


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """A record's content in the order in which it is written."""
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    found: dict[str, Any] = {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "from": record.name,
        "msg": record.getMessage(),
    }
    found.update((key, value) for key, value in vars(record).items() if key not in OWN)
    if record.exc_info:
        found["trace"] = logging.Formatter().formatException(record.exc_info)
    return found


def quoted(value: Any) -> str:
    """A value in logfmt: bare if it is one plain word, else a JSON string."""
    text = value if isinstance(value, str) else str(value)
    return text if PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class Logfmt(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return " ".join(f"{key}={quoted(value)}" for key, value in fields_of(record).items())


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(fields_of(record), default=str, ensure_ascii=False)


def set_up_logging(form: str, level: str) -> None:
    """Send everything to stderr, where systemd's journal picks it up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Logfmt())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
