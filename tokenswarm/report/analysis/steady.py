"""Steady: whether a level had settled after its warm-up, or was still on its way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenswarm.measure.columns import Floats
from tokenswarm.measure.quantiles import samples_needed
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.resample import Estimate, interval
from tokenswarm.report.analysis.sample import LevelSample

# A median that moves by less is of no consequence (guess).
DRIFT = 1.5
# Of the offered tokens; the few turns at a window's edges are within it (guess).
BACKLOG_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """Whether a level was stationary after its warm-up.

    Not steady: the TTFT p50 of the second half is more than DRIFT times that of the first, or less
    than 1 / DRIFT of it; or more than BACKLOG_SHARE of the offered tokens piled up. Each counts
    only where its interval excludes "no change".
    """

    steady: bool | None  # None: too few turns to say
    ttft_ratio: Interval  # TTFT p50 of the turns due in the second half / in the first half
    backlog_share: Interval  # prompt tokens that piled up in the window / offered
    reason: str = ""  # when not steady, or not known


def steadiness(level: LevelSample) -> Steadiness:
    first, second = (level.timing_of(half, "ttft", [50])[0] for half in level.halves())
    ratio = interval(
        _over(second.value, first.value),
        [_divided(b, a) for a, b in zip(first.replicates, second.replicates, strict=True)],
        [min(pair) for pair in zip(first.clusters, second.clusters, strict=True)],
    )
    backlog = level.backlog_share.interval()
    reasons = [*_beyond(first, second), *_drift(ratio), *_piled_up(backlog)]
    if reasons:
        return Steadiness(
            steady=False, ttft_ratio=ratio, backlog_share=backlog, reason="; ".join(reasons)
        )
    if few := _too_few(level):
        return Steadiness(steady=None, ttft_ratio=ratio, backlog_share=backlog, reason=few)
    return Steadiness(steady=True, ttft_ratio=ratio, backlog_share=backlog)


def _beyond(first: Estimate, second: Estimate) -> list[str]:
    if np.isfinite(first.value) and np.isinf(second.value):
        return ["the TTFT p50 of the second half lies beyond the end of the run"]
    return []


def _drift(ratio: Interval) -> list[str]:
    low, high = ratio.low, ratio.high
    if ratio.value is None or (low is not None and high is not None and low <= 1 <= high):
        return []
    if low is None and high is None or 1 / DRIFT <= ratio.value <= DRIFT:
        return []
    return [f"TTFT p50 of the second half is {ratio.value:.2g} times that of the first"]


def _piled_up(backlog: Interval) -> list[str]:
    if backlog.value is None or backlog.low is None:
        return []
    if backlog.value <= BACKLOG_SHARE or backlog.low <= 0:
        return []
    return [f"{backlog.value:.0%} of the offered tokens piled up"]


def _too_few(level: LevelSample) -> str:
    values, _ = level.run.timing("ttft")
    least = min(int(np.sum(~np.isnan(values[half]))) for half in level.halves())
    needed = samples_needed(0.5)
    return "" if least >= needed else f"{least} turns in half of the level, {needed} are needed"


def _over(over: float, under: float) -> float:
    return over / under if under and np.isfinite(under) else np.nan


def _divided(over: Floats, under: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(under > 0, over / under, np.nan)
