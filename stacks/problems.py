"""Mistakes in a stack file, each as: where, what was given, what is allowed, what to do."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pulumi
from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError

ROOT = "cluster"
"""The name of the one key that all settings lie under."""

OWN_KIND = "setting"
"""The error type of the checks that bring their own wording (see `wrong`)."""


class SettingsError(pulumi.RunError):
    """Mistakes in a stack file: shown as one message, without a stack trace."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mistake."""

    place: str
    """Dotted path of the setting, such as ``cluster.hosts.control.count``."""

    given: str
    """What the file says there, as YAML would write it."""

    allowed: str
    """What may stand there."""

    remedy: str
    """What to do about it."""

    def __str__(self) -> str:
        return (
            f"{self.place}: {self.given}\n    allowed: {self.allowed}\n    do this: {self.remedy}"
        )


def wrong(allowed: str, remedy: str) -> PydanticCustomError:
    """Return what a validator raises when it knows better than pydantic what to say."""
    return PydanticCustomError(
        OWN_KIND, "{allowed}; {remedy}", {"allowed": allowed, "remedy": remedy}
    )


def report(stack: str, problems: Sequence[Problem]) -> SettingsError:
    """Put all mistakes of a stack file into one error."""
    count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    lines = "".join(f"\n  {problem}" for problem in problems)
    return SettingsError(f"stacks/Pulumi.{stack}.yaml has {count}; nothing was changed.{lines}")


def from_pydantic(model: type[BaseModel], errors: Sequence[ErrorDetails]) -> list[Problem]:
    """Say pydantic's findings in our words, in the order of the file's keys."""
    return [explain(model, error) for error in errors]


def explain(model: type[BaseModel], error: ErrorDetails) -> Problem:
    """Turn one finding of pydantic into a `Problem`."""
    location = error["loc"]
    given = shown(error["input"])
    context: Mapping[str, Any] = error.get("ctx", {})
    place = dotted(without_kind(model, location))
    kind = error["type"]
    if kind == OWN_KIND:
        return Problem(
            place=place, given=given, allowed=context["allowed"], remedy=context["remedy"]
        )
    if kind == "extra_forbidden":
        return unknown_key(model, location)
    if kind == "missing":
        return Problem(
            place=place,
            given="missing",
            allowed=described(model, location),
            remedy=f"add the key {location[-1]!r}",
        )
    if kind.startswith("union_tag"):
        return Problem(
            place=f"{place}.on",
            given=shown(context.get("tag", "missing")),
            allowed=", ".join(repr(kind) for kind in kinds(model, location)),
            remedy="say which kind of hosts these are",
        )
    # pydantic's own words are no template: a pattern in them may have braces.
    allowed = ALLOWED[kind].format(**context) if kind in ALLOWED else error["msg"]
    return Problem(
        place=place,
        given=given,
        allowed=allowed,
        remedy=f"correct the value of {place}; it means: {described(model, location)}",
    )


ALLOWED = {
    "int_type": "a whole number, without quotes",
    "int_from_float": "a whole number",
    "float_type": "a number, without quotes",
    "bool_type": "true or false",
    "string_type": "text; put a number in quotes",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_too_short": "at least {min_length} characters",
}
"""What is allowed, by pydantic's name for the error."""


def unknown_key(model: type[BaseModel], location: Sequence[int | str]) -> Problem:
    """Refuse a key that means nothing, and name the one that was probably meant."""
    owner = model_at(model, location[:-1])
    known = list(owner.model_fields) if owner else []
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return Problem(
        place=dotted(without_kind(model, location)),
        given="unknown key",
        allowed=", ".join(known),
        remedy=f"did you mean {near[0]!r}?" if near else "remove it",
    )


def dotted(location: Sequence[int | str]) -> str:
    """Join a location the way the messages write it."""
    return ".".join((ROOT, *(str(part) for part in location)))


def without_kind(model: type[BaseModel], location: Sequence[int | str]) -> tuple[int | str, ...]:
    """Drop the kind of hosts: pydantic puts it behind ``hosts``, where no file has it."""
    return tuple(
        part for index, part in enumerate(location) if part not in kinds(model, location[:index])
    )


def kinds(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Name the kinds that the mapping at a location may be of; none, where it is of one alone."""
    models = models_at(model, location)
    return [kind_of(one) for one in models] if len(models) > 1 else []


def shown(value: object) -> str:
    """Write a value the way the stack file would."""
    return json.dumps(value, ensure_ascii=False, default=str)


def described(model: type[BaseModel], location: Sequence[int | str]) -> str:
    """Say what the setting at a location is for, in the words of its own description."""
    while location and isinstance(location[-1], int):
        location = location[:-1]
    owner = model_at(model, location[:-1])
    field = owner.model_fields.get(str(location[-1])) if owner and location else None
    return (field.description or "") if field else "the cluster's settings"


def model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel] | None:
    """Find the model that describes the mapping at a location."""
    return next(iter(models_at(model, location)), None)


def models_at(model: type[BaseModel], location: Sequence[int | str]) -> list[type[BaseModel]]:
    """Find the models of which one describes the mapping at a location."""
    candidates = [model]
    for part in location:
        if isinstance(part, int):
            continue
        if len(candidates) > 1:
            candidates = [one for one in candidates if kind_of(one) == part]
            continue
        field = candidates[0].model_fields.get(part) if candidates else None
        candidates = list(models_in(field.annotation)) if field else []
    return candidates


def kind_of(model: type[BaseModel]) -> str:
    """Name a kind of hosts: the one value that its key ``on`` may have."""
    field = model.model_fields.get("on")
    return str(get_args(field.annotation)[0]) if field else ""


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Give the settings models that an annotation mentions, in lists and choices too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)
