"""Property values as plain Python, and how two of them differ. Pure.

A value is JSON-like: dict, list, str, int, float, bool or None. What the engine does not know yet
during a preview is the string UNKNOWN; assets and archives are dicts with a SIGNATURE key. Secrets
are unwrapped: the providers declare that they do not accept them, and the engine marks every output
as secret whose input of the same name was.
"""

from __future__ import annotations

import json
import re
from typing import Any

Properties = dict[str, Any]

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 -- a signature, not a password
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"


def decode(value: Any) -> Any:
    """A protobuf Struct or Value as plain Python; whole numbers become int."""
    if hasattr(value, "fields"):
        found = {key: decode(item) for key, item in value.fields.items()}
        return found["value"] if found.get(SIGNATURE) == SECRET else found
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return decode(value.struct_value)
    if kind == "list_value":
        return [decode(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return None if kind in ("null_value", None) else getattr(value, kind)


def has_unknown(value: Any) -> bool:
    """Whether any part of the value is still to be computed."""
    if isinstance(value, dict):
        return any(map(has_unknown, value.values()))
    if isinstance(value, list):
        return any(map(has_unknown, value))
    return bool(value == UNKNOWN)


def compare(old: Any, new: Any, path: str = "") -> dict[str, str]:
    """Map each changed property path to "add", "delete" or "update"."""
    if old == new:
        return {}
    if isinstance(old, dict) and isinstance(new, dict) and SIGNATURE not in old:
        pairs = [(child_path(path, key), old.get(key), new.get(key)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list):
        pairs = [
            (f"{path}[{at}]", item_at(old, at), item_at(new, at))
            for at in range(max(len(old), len(new)))
        ]
    else:
        return {path: "add" if old is None else "delete" if new is None else "update"}
    return {
        key: kind
        for child, before, after in pairs
        for key, kind in compare(before, after, child).items()
    }


def item_at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else None


def child_path(path: str, key: str) -> str:
    """The path of a property below `path`, in the engine's notation."""
    if not re.fullmatch(r"\w+", key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key
