"""Slo: a service-level objective as a person types it, and whether a summary meets it.

    ttft_p50<1s   ttft_p99<=5s   tps_p50>40   failures<0.5%   hit_share>90%   tpm>2.5M

Percentiles are judged only with enough samples to claim them (measure.quantiles); a failure or
hit share is judged as observed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measure.quantiles import Spread, claimable, samples_needed
from measure.record import TurnRecord
from measure.tally import ANSWERED, Summary

SECONDS = {"s": 1.0, "ms": 0.001}
RATE = {"": 1.0}
PERCENT = {"%": 0.01}
TOKENS = {"": 1.0, "k": 1e3, "M": 1e6}
PERCENTS = (10, 50, 90, 99)  # those a Spread holds
COMPARISONS: dict[str, Callable[[Any, float], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
EXPRESSION = re.compile(
    r"(?P<metric>[a-z][a-z0-9_]*?)(?:_p(?P<percent>\d+))?\s*(?P<comparison><=|>=|<|>)"
    r"\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[a-zA-Z%]*)"
)
ACCEPTED = (
    "accepted: ttft, visible_ttft, ttft_from_schedule, e2e, tpot with _p10, _p50, _p90 or _p99, "
    "< or <= and a time in s or ms (ttft_p50<1s); tps the same with > or >= and tokens per second "
    "(tps_p50>40); failures<0.5%; hit_share>90%; tpm>2.5M (k and M allowed)"
)


@dataclass(frozen=True, slots=True)
class Timing:
    """A metric every turn has: judged at a percentile, or turn by turn for goodput."""

    units: dict[str, float]
    better: str  # "<" lower, ">" higher
    spread: Callable[[Summary], Spread]
    turn: Callable[[TurnRecord], float | None]


@dataclass(frozen=True, slots=True)
class Total:
    """A metric only a window has."""

    units: dict[str, float]
    better: str
    value: Callable[[Summary], float | None]


TIMINGS = {
    "ttft": Timing(SECONDS, "<", lambda s: s.ttft_s, lambda r: r.ttft_s),
    "visible_ttft": Timing(SECONDS, "<", lambda s: s.visible_ttft_s, lambda r: r.visible_ttft_s),
    "ttft_from_schedule": Timing(
        SECONDS, "<", lambda s: s.ttft_from_schedule_s, lambda r: r.ttft_from_schedule_s
    ),
    "e2e": Timing(SECONDS, "<", lambda s: s.e2e_s, lambda r: r.e2e_s),
    "tpot": Timing(SECONDS, "<", lambda s: s.tpot_s, lambda r: r.tpot_s),
    "tps": Timing(RATE, ">", lambda s: s.decode_tps, lambda r: r.decode_tps),
}
TOTALS = {
    "failures": Total(PERCENT, "<", lambda s: s.failure_share),
    "hit_share": Total(PERCENT, ">", lambda s: s.hit_share),
    "tpm": Total(TOKENS, ">", lambda s: s.achieved_tpm),
}
SHARES = tuple(name for name, total in TOTALS.items() if total.units is PERCENT)
# A turn that never showed a token to measure these on has missed them.
FIRST_TOKEN_METRICS = ("ttft", "ttft_from_schedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """met: None when it cannot be judged; `reason` then says why (unknown, or too few turns)."""

    slo: Slo
    met: bool | None
    value: float | None  # seconds, tokens per second or minute, or a share of 1
    samples: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    text: str  # as typed
    metric: str  # a key of TIMINGS or TOTALS
    percent: int | None  # of a timing: 10, 50, 90 or 99
    comparison: str
    threshold: float  # seconds, tokens per second or minute, or a share of 1

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Raises ValueError that names the text, what is wrong and what is accepted."""
        match = EXPRESSION.fullmatch(text.strip())
        if match is None:
            raise _refusal(text, "is not METRIC, comparison, number")
        name, percent = match["metric"], match["percent"]
        metric = TIMINGS.get(name) or TOTALS.get(name)
        if metric is None:
            raise _refusal(text, f"has an unknown metric {name!r}")
        if isinstance(metric, Timing) and (percent is None or int(percent) not in PERCENTS):
            raise _refusal(text, f"needs a percentile: {name}_p50, for example")
        if isinstance(metric, Total) and percent is not None:
            raise _refusal(text, f"has a percentile, but {name} has none")
        if match["comparison"][0] != metric.better:
            raise _refusal(text, f"asks for a worse {name}: use {metric.better}")
        if match["unit"] not in metric.units:
            units = " or ".join(repr(unit) if unit else "none" for unit in metric.units)
            raise _refusal(text, f"has unit {match['unit'] or 'none'!r}, {name} takes {units}")
        return cls(
            text=text.strip(),
            metric=name,
            percent=None if percent is None else int(percent),
            comparison=match["comparison"],
            threshold=float(match["number"]) * metric.units[match["unit"]],
        )

    def judge(self, summary: Summary) -> Judgement:
        """Whether the window meets it; met is None when that is unknown or too few turns tell."""
        if self.percent is None:
            value = TOTALS[self.metric].value(summary)
            return self._judgement(value, summary.requests)
        spread = TIMINGS[self.metric].spread(summary)
        return self._judgement(spread.at(self.percent), spread.count)

    def holds(self, value: float) -> bool:
        """value is in the unit of `threshold`."""
        return bool(COMPARISONS[self.comparison](value, self.threshold))

    def holds_each(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """`holds`, of many values at once."""
        return np.asarray(COMPARISONS[self.comparison](values, self.threshold), dtype=bool)

    def _judgement(self, value: float | None, samples: int) -> Judgement:
        if value is None:
            return Judgement(slo=self, met=None, value=None, samples=samples, reason="no sample")
        if self.percent is not None and not claimable(self.percent / 100, samples):
            reason = (
                f"{samples} samples, a p{self.percent} needs {samples_needed(self.percent / 100)}"
            )
            return Judgement(slo=self, met=None, value=value, samples=samples, reason=reason)
        return Judgement(slo=self, met=self.holds(value), value=value, samples=samples)


def goodput(turns: Sequence[TurnRecord], slos: Sequence[Slo]) -> float | None:
    """Share of turns that meet the threshold of every timing SLO, each turn judged alone.

    Failed and unfinished turns have missed, and so has a turn that ended before its first token.
    A turn whose speed has no meaning (one chunk) does not miss it. None without turns, or when
    the value of an SLO is known for no turn at all.
    """
    good = meets(turns, slos)
    return sum(good) / len(good) if good else None


def meets(turns: Sequence[TurnRecord], slos: Sequence[Slo]) -> list[bool] | None:
    """Which turns are good, as `goodput` counts them; None where it is unknown."""
    timings = [slo for slo in slos if slo.percent is not None]
    alive = [r for r in turns if r.outcome in ANSWERED]
    for slo in timings:
        if alive and all(TIMINGS[slo.metric].turn(record) is None for record in alive):
            return None
    if not timings:
        return [r.outcome in ANSWERED for r in turns] or None
    return [
        r.outcome in ANSWERED and all(_turn_meets(r, slo) for slo in timings) for r in turns
    ] or None


def _turn_meets(record: TurnRecord, slo: Slo) -> bool:
    value = TIMINGS[slo.metric].turn(record)
    return slo.metric not in FIRST_TOKEN_METRICS if value is None else slo.holds(value)


def _refusal(text: str, reason: str) -> ValueError:
    return ValueError(f"SLO {text!r} {reason}; {ACCEPTED}")
