"""Amounts: rates, tokens, times and shares as people write them on a command line."""

from __future__ import annotations

import math
import re

_AMOUNT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([kKmM]?)")
_SHARE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*%")
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|m|h|)")
_FACTORS = {"": 1, "k": 1e3, "m": 1e6}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


class OptionError(ValueError):
    """An option that cannot be used: names the option, its value and what is accepted."""


LEAST_TPM = 100.0  # guess: below it not even a prompt of profile small comes in nine minutes
# About what one worker sent without pacing: 2,758M with 88k-token prompts on two cores, once, on a
# machine that is not in docs/; a rate beyond it is a slip of the keyboard.
MOST_TPM = 3e9


def parse_tpm(option: str, text: str) -> float:
    """Input tokens per minute from "2.5M", "500k" or "2500000"."""
    value = _amount(text)
    if not 0 < value < math.inf:
        raise OptionError(
            f"{option} {text!r}: accepted are rates above 0 in input tokens per minute, such as "
            "2.5M, 500k or 2500000"
        )
    return value


def parse_rate(option: str, text: str) -> float:
    """A rate to offer: `parse_tpm` within what makes sense. "2" is refused: 2M was meant."""
    tpm = parse_tpm(option, text)
    if not LEAST_TPM <= tpm <= MOST_TPM:
        raise OptionError(
            f"{option} {text!r}: {tpm:g} input tokens per minute; accepted are rates from "
            f"{LEAST_TPM / 1e3:g}k to {MOST_TPM / 1e6:g}M, such as 2.5M"
        )
    return tpm


def parse_tokens(option: str, text: str) -> int:
    """A number of tokens from "6M", "745k" or "745000"."""
    value = _amount(text)
    if not 1 <= value < math.inf:
        raise OptionError(f"{option} {text!r}: accepted are tokens from 1 on, such as 6M or 745k")
    return round(value)


def parse_duration(option: str, text: str) -> float:
    """Seconds from "90s", "8m", "1h" or "90"."""
    match = _DURATION.fullmatch(text.strip())
    value = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < value < math.inf:
        raise OptionError(f"{option} {text!r}: accepted are times above 0, such as 90s, 8m or 1h")
    return value


def parse_share(option: str, text: str, most: float = 1.0) -> float:
    """0 to `most` from "96%"."""
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / 100 if match else math.nan
    if not value <= most:
        accepted = "0% to 100%" if most == 1 else "percentages such as 10%"
        raise OptionError(f"{option} {text!r}: accepted are {accepted}")
    return value


def _amount(text: str) -> float:
    """0 where the text is none."""
    match = _AMOUNT.fullmatch(text.strip())
    return float(match[1]) * _FACTORS[match[2].lower()] if match else 0.0
