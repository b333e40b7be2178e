"""Schema: dataclasses built from JSON objects, their types checked."""

from __future__ import annotations

from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class Schema(Generic[T]):
    """Builds dataclasses from JSON objects and checks their types.

    A ledger has a million lines but a handful of type combinations, so only a combination not
    seen before is checked field by field. The kinds are frozen: their own __init__ sets each field
    by object.__setattr__, which took a third of all reading, so their slots are set directly.
    """

    def __init__(self, kind: type[T], name: str) -> None:
        self._kind = kind
        self._name = name
        hints = get_type_hints(kind)
        stored = fields(kind)  # type: ignore[arg-type]
        self._accepted = {field.name: _json_types(hints[field.name]) for field in stored}
        self._required = {field.name for field in stored if field.default is MISSING}
        self._put = {field.name: getattr(kind, field.name).__set__ for field in stored}
        self._defaults = {f.name: f.default for f in stored if f.default is not MISSING}
        self._post_init = getattr(kind, "__post_init__", None)
        self._seen: set[tuple[object, ...]] = set()

    def build(self, entry: object) -> T:
        """Raises ValueError that names the field."""
        if not isinstance(entry, dict):
            raise ValueError(f"not a {self._name}")
        combination = (*entry, *map(type, entry.values()))
        if combination not in self._seen:
            self._check(entry)
            self._seen.add(combination)
        built = object.__new__(self._kind)
        for name, value in entry.items():
            self._put[name](built, value)
        for name in self._defaults.keys() - entry.keys():
            self._put[name](built, self._defaults[name])
        if self._post_init is not None:
            self._post_init(built)
        return built

    def _check(self, entry: dict[str, object]) -> None:
        if missing := sorted(self._required - entry.keys()):
            raise ValueError(f"{self._name} without {', '.join(missing)}")
        if unknown := sorted(entry.keys() - self._accepted.keys()):
            raise ValueError(f"{self._name} with unknown {', '.join(unknown)}")
        for name, value in entry.items():
            if type(value) not in self._accepted[name]:
                raise ValueError(f"{self._name} has {name} {value!r}")


def _json_types(hint: Any) -> frozenset[type]:
    if isinstance(hint, UnionType):
        return frozenset().union(*(_json_types(option) for option in get_args(hint)))
    if hint is float:
        return frozenset({float, int})
    return frozenset({get_origin(hint) or hint})
