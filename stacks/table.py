"""The settings as a Markdown table, for the README."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from stacks.problems import kind_of, models_in

KINDS = {
    "dict": "mapping",
    "frozenset": "list",
    "tuple": "list",
    "bool | str": "true, false or a file",
    "bool": "true or false",
    "Literal[1": "whole number",
    "int |": "whole number",
    "str |": "text",
    "typing.Optional[typing.Annotated[str": "text",
    "typing.Optional[typing.Annotated[int": "whole number",
    "IPv4Network": "network",
    "IPv4Address": "address",
    "'int'": "whole number",
    "float": "number",
    "'str'": "text",
}
"""What stands in an annotation, and its name in a reader's words; the first that fits."""


def settings_table(model: type[BaseModel]) -> str:
    """List every setting below a model: its path, kind, default and meaning."""
    rows = [("setting", "kind", "default", "meaning"), ("---",) * 4, *rows_of(model, "")]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def rows_of(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        inner = list(models_in(field.annotation))
        path = f"{prefix}{name}"
        if inner:
            several = "tuple[" in str(field.annotation)
            shape = "list of mappings" if several else "mapping"
            yield f"`{path}`", shape, "", field.description or ""
            for one in inner:
                # Where there is a choice, each kind's settings follow under its name.
                choice = f"({kind_of(one)})" if len(inner) > 1 else ""
                yield from rows_of(one, f"{path}{choice}{'[]' if several else ''}.")
        else:
            yield f"`{path}`", kind(field.annotation), default(field), field.description or ""


def kind(annotation: Any) -> str:
    """Name a type in a reader's words."""
    if choices := [choice for choice in get_args(annotation) if isinstance(choice, str)]:
        return " or ".join(f"`{choice}`" for choice in choices)
    mentioned = str(annotation)
    return next((name for text, name in KINDS.items() if text in mentioned), "mapping")


def default(field: FieldInfo) -> str:
    """Write a default the way the stack file would."""
    if field.is_required():
        return "(required)"
    value = field.get_default(call_default_factory=True)
    if value in (None, {}, ()):
        return ""
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    return f"`{value}`"
