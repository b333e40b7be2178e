"""The fields of a request's body: a JSON object, each field with what is accepted of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from tokenswarm.engine.server.errors import ApiError, invalid

Fits = Callable[[Any], bool]
Rule = tuple[str, Fits, str]  # a field's name, what it may hold, and that in words

COUNT = "an integer of at least 1"
FLAG = "true or false"


def json_object(body: bytes) -> dict[str, Any]:
    """Raises ApiError (400)."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    return fields


def check(fields: dict[str, Any], required: Iterable[Rule], optional: Iterable[Rule]) -> None:
    """An optional field may be absent or null. Raises ApiError (400) that names the field."""
    for name, fits, accepted in required:
        if not fits(fields.get(name)):
            raise invalid(name, fields.get(name), accepted)
    for name, fits, accepted in optional:
        if (value := fields.get(name)) is not None and not fits(value):
            raise invalid(name, value, accepted)


def of_type(kind: type) -> Fits:
    return lambda value: isinstance(value, kind)


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def at_least(least: int) -> Fits:
    return lambda value: whole(value) and value >= least


def between(least: float, most: float) -> Fits:
    return lambda value: (whole(value) or isinstance(value, float)) and least <= value <= most


def one_of(*accepted: object) -> Fits:
    """Of the same type, too: True is no 1."""
    return lambda value: any(type(value) is type(fit) and value == fit for fit in accepted)


def filled_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0


def objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def named(value: Any) -> bool:
    return isinstance(value, str) and value != ""


MODEL: Rule = ("model", named, "the name of a model")
NO_PROBABILITIES = "0: the text is filler and has no probabilities"
