"""Fields of a trace's objects, checked: what is wrong is named with its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from workload.traces.turns import TraceError

Fields = Mapping[str, Any]


def integer(where: str, fields: Fields, key: str) -> int:
    """Raises TraceError where it is missing or no whole number."""
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _refused(where, key, value, "a whole number")
    return value


def number(where: str, fields: Fields, key: str) -> float:
    """Raises TraceError where it is missing or no finite number."""
    value = optional_number(where, fields, key)
    if value is None:
        raise _refused(where, key, value, "a number")
    return value


def optional_number(where: str, fields: Fields, key: str) -> float | None:
    """None where it is missing or null. Raises TraceError for anything but a finite number."""
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise _refused(where, key, value, "a number")
    return float(value)


def text(where: str, fields: Fields, key: str) -> str:
    """Raises TraceError where it is missing or empty."""
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise _refused(where, key, value, "a name")
    return value


def integers(where: str, fields: Fields, key: str) -> list[int]:
    """Raises TraceError where it is missing or no list of whole numbers that fit 64 bits."""
    value = fields.get(key)
    if not isinstance(value, list):
        raise _refused(where, key, value, "a list of whole numbers")
    for each in value:
        if type(each) is not int or not -(2**63) <= each < 2**63:
            raise _refused(where, key, each, "whole numbers of 64 bits")
    return value


def items(where: str, fields: Fields, key: str) -> list[Fields]:
    """Raises TraceError where it is missing or no list of objects."""
    value = fields.get(key)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _refused(where, key, value, "a list of objects")
    return value


def _refused(where: str, key: str, value: object, accepted: str) -> TraceError:
    said = "missing" if value is None else repr(value)
    shown = said if len(said) <= 60 else f"{said[:60]}..."
    return TraceError(f"{where}: {key} = {shown}; accepted: {accepted}")
