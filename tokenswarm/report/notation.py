"""Notation: how numbers are written for people. Unknown is always "-"."""

from __future__ import annotations

from collections.abc import Callable

from tokenswarm.measure.ledger import Header
from tokenswarm.measure.quantiles import Spread, claimable
from tokenswarm.measure.record import Level
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.interval import Interval

UNKNOWN = "-"
TOO_FEW = "*"


def tpm_text(tpm: float | None) -> str:
    """Tokens per minute: 2.50M, 625k, 400."""
    if tpm is None:
        return UNKNOWN
    if tpm >= 999_500:
        return f"{tpm / 1e6:.2f}M"
    return f"{tpm / 1e3:.0f}k" if tpm >= 1000 else f"{tpm:.0f}"


def number_text(value: float | None) -> str:
    """About three digits, in the value's own unit: 0.71, 12.3, 450, 88,000."""
    if value is None:
        return UNKNOWN
    if abs(value) < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 99.95 else f"{value:,.0f}"


def share_text(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.0%}"


def usd_text(usd: float | None) -> str:
    """US dollars, three digits: $0.451, $18.0, $440K, $1.28M."""
    if usd is None:
        return UNKNOWN
    for factor, unit in ((1e6, "M"), (1e3, "K")):
        if abs(usd) >= 0.9995 * factor:
            return f"${usd / factor:.3g}{unit}"
    return f"${usd:.2f}" if 1 <= abs(usd) < 9.995 else f"${usd:#.3g}".rstrip(".")


def percentile_text(spread: Spread, percent: int) -> str:
    """The percentile, marked where there are too few samples to claim it; ">82.7" where turns that
    had waited so long were cut off before it."""
    value = spread.at(percent)
    text = number_text(value)
    if value is None and spread.cut_off_at is not None:
        text = f">{number_text(spread.cut_off_at)}"
    if text == UNKNOWN or claimable(percent / 100, spread.count):
        return text
    return text + TOO_FEW


def second_name(header: Header) -> str:
    """What a second of the run is: of the wall clock, or of the embedded engine's."""
    return "engine seconds" if header.engine_seconds else "seconds"


NAMES = {"ttft": "TTFT", "e2e": "end to end", "tps": "TPS", "tpot": "TPOT", "tpm": "TPM"}


def slo_text(slo: Slo) -> str:
    """ "TTFT p50 < 1 s", "failures < 0.5%", "TPS p50 > 40"."""
    name = NAMES.get(slo.metric, slo.metric.replace("_", " ").replace("ttft", "TTFT"))
    percent = "" if slo.percent is None else f" p{slo.percent}"
    if slo.metric in ("failures", "hit_share"):
        value = f"{slo.threshold:.3%}".rstrip("0%").rstrip(".") + "%" if slo.threshold else "0%"
    elif slo.metric == "tpm":
        value = tpm_text(slo.threshold)
    else:
        value = f"{slo.threshold:g}" + ("" if slo.metric == "tps" else " s")
    return f"{name}{percent} {slo.comparison} {value}"


def asked_text(level: Level) -> str:
    """What a level asked for, short; empty where it asked for nothing."""
    if level.target_tpm is not None:
        return tpm_text(level.target_tpm)
    return "" if level.developers is None else f"{level.developers} devs"


def interval_text(interval: Interval, text: Callable[[float | None], str]) -> str:
    """1.10 (1.02 to 1.19); an end without a bound is open: 1.10 (1.02 or more)."""
    value, low, high = text(interval.value), interval.low, interval.high
    if low is not None and high is not None:
        return f"{value} ({text(low)} to {text(high)})"
    if low is not None:
        return f"{value} ({text(low)} or more)"
    return value if high is None else f"{value} ({text(high)} or less)"


def target_text(header: Header) -> str:
    """What was under load; a simulated engine is named as such wherever it is printed."""
    target = header.target
    if target.simulated:
        name = target.engine or target.model
        clock = "driven time" if header.driven else f"speed {header.speed:g}"
        return f"SIMULATED by {name} (embedded engine, {clock}, engine seconds)"
    known = [target.engine, None if target.gpus is None else f"{target.gpus} GPUs"]
    details = ", ".join(text for text in known if text)
    return f"{target.model} at {target.url}" + (f" ({details})" if details else "")
