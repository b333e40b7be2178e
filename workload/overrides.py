"""Overrides: a parsed TOML table laid over a built-in profile.

    base = "seed"                 # a name from workload.profiles
    name = "our-team"             # default: the file's name
    max_prompt_tokens = 128_000
    start_tokens.at_most = 90_000
    growth_tokens = {mean = 3_000, sigma = 1.2}
    interrupt_share = 0.07
    subagents = true              # its defaults; a table replaces some of them; false: off
    compaction.at_tokens = 100_000
    compaction.to_tokens = {median = 55_000, at_least = 45_000, at_most = 80_000}
    [[output_tokens]]             # the parts of the mixture, all of them
    weight = 1.0
    median = 300
    sigma = 0.9

Whatever is wrong raises ProfileError with the key, the value and what is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_type_hints

from workload.lengths import LengthError, Lognormal, Mixture, ShiftedGamma, median_of_mean
from workload.profile import Compaction, Profile, ProfileError, Subagents, shown

MAX_NUMBER = 10**12  # guess: beyond any length or pause

# What `true` switches on.
OPTIONS: dict[str, Any] = {"compaction": Compaction(), "subagents": Subagents()}


def derived(table: Mapping[str, Any], profiles: Mapping[str, Profile], *, name: str) -> Profile:
    """The profile `table` makes from its `base`, one of `profiles`; called `name` by default.

    It has no published targets any more.
    """
    base_name = table.get("base")
    if not isinstance(base_name, str) or base_name not in profiles:
        raise ProfileError(
            f"base = {shown(base_name)} is not accepted: one of {', '.join(profiles)} is"
        )
    base = replace(profiles[base_name], name=name, targets=())
    changes = {key: value for key, value in table.items() if key != "base"}
    profile: Profile = _overridden(base, changes, "", also="base")
    return profile


def _overridden(value: Any, table: Mapping[str, Any], prefix: str, also: str = "") -> Any:
    """`value`, a frozen dataclass, with the fields named in `table` replaced."""
    accepted = [f.name for f in fields(value) if f.name != "targets"]
    hints = get_type_hints(type(value))
    table = _with_median(value, table, prefix)
    changes = {}
    for key, new in table.items():
        if key not in accepted:
            names = accepted + [also] * bool(also) + ["mean"] * isinstance(value, Lognormal)
            raise ProfileError(
                f"unknown key {prefix}{key}: accepted are {', '.join(sorted(names))}"
            )
        changes[key] = _converted(prefix + key, getattr(value, key), hints[key], new)
    try:
        return replace(value, **changes)
    except LengthError as error:
        raise ProfileError(f"{prefix}{error}") from error


def _converted(key: str, old: Any, hint: Any, new: Any) -> Any:
    """`new` as the type of the field it replaces."""
    if hint == Mixture:
        return _mixture(key, new)
    if key == "start_tokens" and isinstance(new, dict):
        old = _start_law(old, new)
    if key in OPTIONS and isinstance(new, bool):
        return (old or OPTIONS[key]) if new else None
    if key in OPTIONS and old is None:
        old = OPTIONS[key]
    if is_dataclass(old):
        if not isinstance(new, dict):
            raise _wrong_type(key, new, "a table" + " or true or false" * (key in OPTIONS))
        return _overridden(old, new, f"{key}.")
    return _scalar(key, hint, new)


def _scalar(key: str, hint: Any, new: Any) -> Any:
    number = isinstance(new, int | float) and not isinstance(new, bool)
    if number and MAX_NUMBER < abs(new) < math.inf:
        raise _wrong_type(key, new, f"a number of {MAX_NUMBER:g} at most")
    if hint is int:
        if number and float(new).is_integer():
            return int(new)
        raise _wrong_type(key, new, "a whole number")
    if hint is float:
        if number:
            return float(new)
        raise _wrong_type(key, new, "a number")
    if hint == tuple[float, ...]:
        if isinstance(new, list) and new:
            return tuple(_scalar(key, float, weight) for weight in new)
        raise _wrong_type(key, new, "a list of numbers")
    if isinstance(new, str):
        return new
    raise _wrong_type(key, new, "a string")


def _mixture(key: str, new: Any) -> Mixture:
    """A list of tables {weight, median or mean, sigma, …} as a mixture."""
    if not isinstance(new, list) or not new or not all(isinstance(part, dict) for part in new):
        raise _wrong_type(key, new, "a list of tables with weight, median (or mean) and sigma")
    parts, weights = [], []
    for part in new:
        for needed in ("weight", "sigma"):
            if needed not in part:
                raise ProfileError(f"{key} has a part without {needed}")
        if not {"median", "mean"} & part.keys():
            raise ProfileError(f"{key} has a part without median (or mean)")
        weights.append(_scalar(f"{key}.weight", float, part["weight"]))
        law = {name: value for name, value in part.items() if name != "weight"}
        parts.append(_overridden(Lognormal(1.0, 1.0), law, f"{key}.", also="weight"))
    try:
        return Mixture(tuple(weights), tuple(parts))
    except LengthError as error:
        raise ProfileError(f"{key}.{error}") from error


def _start_law(old: Any, new: Mapping[str, Any]) -> Any:
    """The law whose parameters `new` gives: lognormal with median or mean, else the old family."""
    if isinstance(old, ShiftedGamma) and {"median", "mean"} & new.keys():
        return Lognormal(old.mean, 0.2, old.shift, old.at_most)
    if isinstance(old, Lognormal) and {"shift", "shape", "scale"} & new.keys():
        return ShiftedGamma(old.at_least, 2.0, (old.mean - old.at_least) / 2, old.at_most)
    return old


def _with_median(value: Any, table: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """A lognormal may be given by its mean (before the cut) instead of its median."""
    if not isinstance(value, Lognormal) or "mean" not in table:
        return table
    if "median" in table:
        raise ProfileError(f"{prefix}mean and {prefix}median are both given: one is accepted")
    mean = _scalar(f"{prefix}mean", float, table["mean"])
    sigma = _scalar(f"{prefix}sigma", float, table.get("sigma", value.sigma))
    if not 0 < mean < math.inf:
        raise ProfileError(f"{prefix}mean = {mean!r} is not accepted: a finite number above 0 is")
    try:
        Lognormal(1.0, sigma)
    except LengthError as error:
        raise ProfileError(f"{prefix}{error}") from error
    rest = {key: new for key, new in table.items() if key != "mean"}
    return rest | {"median": median_of_mean(mean, sigma)}


def _wrong_type(key: str, new: Any, accepted: str) -> ProfileError:
    return ProfileError(f"{key} = {shown(new)} is not accepted: {accepted} is")
