"""Target: a file that describes one endpoint, in place of the options that do.

    name = "vllm"
    url = "http://127.0.0.1:8000"
    model = "moonshotai/Kimi-K2.5"
    gpus = 4
    metrics_urls = ["http://127.0.0.1:8000"]
    headers = {X-Team = "search", api-key = "$TEAM_KEY"}
    extra_body = {tool_choice = "none"}

An option that the command line, a variable or locust.conf gives another value than its default
holds over the file; headers of both are sent, of one name the command line's. Prices are as in
tokenswarm/report/analysis/prices.toml, for `tokenswarm cost --prices FILE`.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import orjson

from tokenswarm.measure.amounts import OptionError
from tokenswarm.report.analysis.prices import PriceError, prices_of


@dataclass(frozen=True, slots=True)
class _Key:
    """How the file says what an option says. dest: argparse's name of it."""

    option: str
    accepted: str
    fits: Callable[[Any], bool]
    given: Callable[[Any], Any] = field(default=lambda value: value)

    @property
    def dest(self) -> str:
        return self.option.strip("-").replace("-", "_")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _text(option: str) -> _Key:
    return _Key(option, 'text, such as "a"', _is_text)


def _flag(option: str) -> _Key:
    return _Key(option, "true or false", lambda value: isinstance(value, bool))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _lines(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


_KEYS: Mapping[str, _Key] = {
    "url": _text("--host"),
    "base_path": _text("--base-path"),
    "query": _text("--query"),
    "api": _text("--api"),
    "agent": _text("--agent"),
    "model": _text("--model"),
    "tokenizer": _text("--tokenizer"),
    "trust_remote_code": _flag("--trust-remote-code"),
    "gpus": _Key("--gpus", "a whole number", lambda value: type(value) is int and value > 0),
    "headers": _Key("--header", "a table of texts", _are_headers, _lines),
    "session_headers": _Key("--session-header", "a list of texts", _are_texts),
    "extra_body": _Key("--extra-body", "a table", lambda value: isinstance(value, dict), _json),
    "output_field": _text("--output-field"),
    "min_tokens": _flag("--min-tokens"),
    "history_reasoning": _text("--history-reasoning"),
    "metrics_urls": _Key("--metrics-url", "a list of texts", _are_texts),
}
_OTHERS = ("name", "price")


@dataclass(frozen=True, slots=True)
class TargetFile:
    """path: as it was given; name: of the endpoint; given: values of options, by key."""

    path: str
    name: str | None
    given: Mapping[str, Any]

    @property
    def url(self) -> str | None:
        url: str | None = self.given.get("url")
        return url

    def without_url(self) -> TargetFile:
        return replace(self, given={k: v for k, v in self.given.items() if k != "url"})

    def where_not_given(
        self, parsed: argparse.Namespace, defaults: Mapping[str, Any]
    ) -> TargetFile:
        """What it says beside the options that have other values than their defaults (by option);
        headers stay."""

        def is_given(key: str) -> bool:
            option, dest = _KEYS[key].option, _KEYS[key].dest
            known = option in defaults and option != "--header"
            return known and getattr(parsed, dest) != defaults[option]

        return replace(self, given={k: v for k, v in self.given.items() if not is_given(k)})

    def filled_in(self, parsed: argparse.Namespace) -> argparse.Namespace:
        """The options with what it says; their headers hold over its own."""
        filled = argparse.Namespace(**vars(parsed))
        for key, value in self.given.items():
            option, dest = _KEYS[key].option, _KEYS[key].dest
            setattr(filled, dest, [*value, *parsed.header] if option == "--header" else value)
        return filled

    def names(self, refusal: str) -> str | None:
        """The refusal of an option's value by the key it came from; None where it is of another."""
        for key in self.given:
            option = _KEYS[key].option
            if refusal.startswith((f"{option} ", f"{option}:")):
                return f"--target {self.path}: {key}{refusal.removeprefix(option)}"
        return None


def read_target(path: str) -> TargetFile:
    """Raises OptionError that names the file, the key and what is accepted."""
    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise OptionError(
            f"--target {path!r}: {error.strerror or error}; accepted: a .toml file"
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"--target {path}: not TOML in UTF-8: {error}") from None
    for key, value in table.items():
        _check(path, key, value)
    if "url" not in table:
        raise OptionError(f"--target {path}: url is missing; accepted: http://HOST[:PORT][/PATH]")
    given = {key: _KEYS[key].given(value) for key, value in table.items() if key in _KEYS}
    return TargetFile(path, table.get("name"), given)


def _check(path: str, key: str, value: Any) -> None:
    if key == "price":
        try:
            prices_of(f"--target {path}", value)
        except PriceError as error:
            raise OptionError(str(error)) from None
        return
    known = _KEYS.get(key)
    if known is None and key != "name":
        names = (*_OTHERS, *_KEYS)
        near = get_close_matches(key, names, 1)
        meant = f" ({near[0]}?)" if near else ""
        raise OptionError(
            f"--target {path}: unknown key {key}{meant}; accepted: {', '.join(sorted(names))}"
        )
    accepted, fits = (known.accepted, known.fits) if known else ('text, such as "vllm"', _is_text)
    if not fits(value):
        # Not repeated: it may hold a secret.
        raise OptionError(f"--target {path}: {key} is {_kind(value)}; accepted: {accepted}")


def _kind(value: Any) -> str:
    """What TOML calls it."""
    if isinstance(value, bool):
        return "true or false"
    names: dict[type, str] = {str: "text", int: "a number", float: "a number"}
    names |= {list: "a list", dict: "a table"}
    text = "empty text" if value == "" else names.get(type(value), "a date or time")
    return f"{text} that does not fit" if text in ("a number", "a list", "a table") else text
