"""Prices: a table of list prices as TOML, every one dated and with its source."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tokenswarm.report.analysis.bill import Price

SHIPPED = Path(__file__).with_name("prices.toml")
KEYS = ("model", "input", "output", "cache_read", "cache_write", "as_of", "source")
MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


class PriceError(ValueError):
    """A price table that cannot be used: names the file, the price and what is accepted."""


def read_prices(path: Path = SHIPPED) -> dict[str, Price]:
    """By model, in the order of the file: of prices, or of a target. Raises PriceError, OSError."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PriceError(f"{path}: not TOML: {error}") from None
    if set(table) != {"price"} and "url" not in table:
        raise PriceError(f"{path}: accepted are [[price]] tables, and nothing else")
    return prices_of(str(path), table.get("price"))


def prices_of(where: str, entries: Any) -> dict[str, Price]:
    """As above, of the [[price]] tables of a file."""
    if not isinstance(entries, list) or not entries:
        raise PriceError(f"{where}: no price; accepted are [[price]] tables")
    prices: dict[str, Price] = {}
    for number, entry in enumerate(entries, 1):
        price = _price(f"{where}: price {number}", entry)
        if price.model in prices:
            raise PriceError(f"{where}: price {number}: a second price for {price.model!r}")
        prices[price.model] = price
    return prices


def chosen(prices: Mapping[str, Price], models: Sequence[str], path: Path) -> list[Price]:
    """Those of the models, all where none is named. Raises ValueError for one that is not there."""
    for model in models:
        if model not in prices:
            raise ValueError(f"--model {model!r}: not in {path}; accepted: {', '.join(prices)}")
    return [prices[model] for model in models] if models else list(prices.values())


def _price(where: str, entry: Any) -> Price:
    if not isinstance(entry, dict):
        raise PriceError(f"{where}: not a table")
    if unknown := sorted(entry.keys() - set(KEYS)):
        raise PriceError(f"{where}: unknown {', '.join(unknown)}; accepted: {', '.join(KEYS)}")
    return Price(
        model=_text(where, entry, "model"),
        input_usd=_required(where, entry, "input"),
        output_usd=_required(where, entry, "output"),
        cache_read_usd=_amount(where, entry, "cache_read"),
        cache_write_usd=_amount(where, entry, "cache_write"),
        as_of=_date(where, entry),
        source=_text(where, entry, "source"),
    )


def _text(where: str, entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise PriceError(f"{where}: {key} {value!r}; accepted: a text")
    return value


def _date(where: str, entry: dict[str, Any]) -> str:
    value = entry.get("as_of")
    if type(value) is date:
        return value.isoformat()
    if isinstance(value, str) and MONTH.fullmatch(value):
        return value
    raise PriceError(
        f'{where}: as_of {value!r}; accepted: a date such as 2026-06-30, or a month: "2026-06"'
    )


def _required(where: str, entry: dict[str, Any], key: str) -> float:
    value = _amount(where, entry, key)
    if value is None:
        raise PriceError(f"{where}: {key} is missing; accepted: US dollars per million tokens")
    return value


def _amount(where: str, entry: dict[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise PriceError(
            f"{where}: {key} {value!r}; accepted: US dollars per million tokens, from 0 on"
        )
    return float(value)
