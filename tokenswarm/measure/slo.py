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

from tokenswarm.measure.columns import Codes, Columns, Flags, Floats
from tokenswarm.measure.quantiles import PERCENTS, Spread, claimable, samples_needed
from tokenswarm.measure.tally import Summary

SECONDS = {"s": 1.0, "ms": 0.001}
RATE = {"": 1.0}
PERCENT = {"%": 0.01}
TOKENS = {"": 1.0, "k": 1e3, "M": 1e6}
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
    "accepted: ttft, visible_ttft, ttft_from_schedule, e2e, tpot with _p1 to _p99, < or <= and a "
    "time in s or ms (ttft_p50<1s); tps the same with > or >= "
    "and tokens per second (tps_p50>40); failures<0.5%; hit_share>90%; tpm>2.5M (k and M allowed)"
)


@dataclass(frozen=True, slots=True)
class Timing:
    """A metric every turn has: judged at a percentile, or turn by turn for goodput."""

    units: dict[str, float]
    better: str  # "<" lower, ">" higher
    spread: Callable[[Summary], Spread]
    turns: Callable[[Columns], Floats]  # NaN where unknown
    waits: Callable[[Columns], Floats] | None = None  # of turns cut off before it, NaN elsewhere


@dataclass(frozen=True, slots=True)
class Total:
    """A metric only a window has."""

    units: dict[str, float]
    better: str
    value: Callable[[Summary], float | None]


TIMINGS = {
    "ttft": Timing(
        SECONDS, "<", lambda s: s.ttft_s, lambda c: c.ttft_s, lambda c: c.ttft_censored_s
    ),
    "visible_ttft": Timing(
        SECONDS,
        "<",
        lambda s: s.visible_ttft_s,
        lambda c: c.visible_ttft_s,
        lambda c: c.visible_ttft_censored_s,
    ),
    "ttft_from_schedule": Timing(
        SECONDS,
        "<",
        lambda s: s.ttft_from_schedule_s,
        lambda c: c.ttft_from_schedule_s,
        lambda c: c.ttft_from_schedule_censored_s,
    ),
    "e2e": Timing(SECONDS, "<", lambda s: s.e2e_s, lambda c: c.e2e_s, lambda c: c.e2e_censored_s),
    "tpot": Timing(SECONDS, "<", lambda s: s.tpot_s, lambda c: 1 / c.decode_tps),
    "tps": Timing(RATE, ">", lambda s: s.decode_tps, lambda c: c.decode_tps),
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
    beyond: bool = False  # the true value is larger than `value`: turns were cut off before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    text: str  # as typed
    metric: str  # a key of TIMINGS or TOTALS
    percent: int | None  # of a timing: 1 to 99
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
        if isinstance(metric, Timing) and not float(match["number"]):
            raise _refusal(text, "has a threshold of 0")
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
        value = spread.at(self.percent)
        if value is None and spread.cut_off_at is not None:
            return self._beyond(spread.cut_off_at, spread.count)
        return self._judgement(value, spread.count)

    def holds(self, value: float) -> bool:
        """value is in the unit of `threshold`."""
        return bool(COMPARISONS[self.comparison](value, self.threshold))

    def holds_each(self, values: Floats) -> Flags:
        """`holds`, of many values at once; not of NaN."""
        return np.asarray(COMPARISONS[self.comparison](values, self.threshold), dtype=bool)

    def _beyond(self, value: float, samples: int) -> Judgement:
        """Of a percentile longer than everything seen: missed, if `value` misses already."""
        missed = not self.holds(value)
        return Judgement(
            slo=self,
            met=False if missed else None,
            value=value,
            samples=samples,
            reason="turns were cut off before it",
            beyond=True,
        )

    def _judgement(self, value: float | None, samples: int) -> Judgement:
        if value is None:
            return Judgement(slo=self, met=None, value=None, samples=samples, reason="no sample")
        if self.percent is not None and not claimable(self.percent / 100, samples):
            reason = (
                f"{samples} samples, a p{self.percent} needs {samples_needed(self.percent / 100)}"
            )
            return Judgement(slo=self, met=None, value=value, samples=samples, reason=reason)
        return Judgement(slo=self, met=self.holds(value), value=value, samples=samples)


def meets(columns: Columns, turns: Codes, slos: Sequence[Slo]) -> Flags | None:
    """Which of these turns are good: they meet the threshold of every timing SLO, each alone.

    Failed and unfinished turns have missed, and so has a turn that ended before its first token.
    A turn whose speed has no meaning (one chunk) does not miss it. None without turns, or when
    the value of an SLO is known for no turn at all.
    """
    good = columns.answered[turns]
    if not len(turns):
        return None
    any_answered = good.any()
    for slo in slos:
        if slo.percent is None:
            continue
        values = TIMINGS[slo.metric].turns(columns)[turns]
        unknown = np.isnan(values)
        if any_answered and unknown[columns.answered[turns]].all():
            return None
        met = slo.holds_each(values)
        good = good & (met if slo.metric in FIRST_TOKEN_METRICS else met | unknown)
    return good


def _refusal(text: str, reason: str) -> ValueError:
    return ValueError(f"SLO {text!r} {reason}; {ACCEPTED}")
