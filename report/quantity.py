"""Quantity: amounts and shares as people type them on the report's command lines."""

from __future__ import annotations

import math
import re

_AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([kKmM]?)")
_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6}
_SHARE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*%")


def parse_amount(option: str, text: str) -> float:
    """Tokens, or tokens per minute, from "2.5M", "88k" or "450". Raises ValueError."""
    match = _AMOUNT.fullmatch(text.strip())
    value = float(match[1]) * _FACTORS[match[2].lower()] if match else 0.0
    if not 0 < value < math.inf:
        raise ValueError(f"{option} {text!r}: accepted are numbers above 0 such as 2.5M or 450")
    return value


def parse_share(option: str, text: str, most: float = 1.0) -> float:
    """0 to `most` from "96%". Raises ValueError."""
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / 100 if match else math.nan
    if not value <= most:
        accepted = "0% to 100%" if most == 1 else "percentages such as 10%"
        raise ValueError(f"{option} {text!r}: accepted are {accepted}")
    return value
