"""Steady: whether a level had settled after its warm-up, or was still on its way.

Near saturation a queue comes and goes by itself, over minutes. Blocks of time are then alike to
their neighbours, and an interval that takes them for independent is too narrow: it is widened by
what the blocks say of themselves (batch means; Law and Kelton, ch. 9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tokenswarm.measure.columns import Floats
from tokenswarm.measure.quantiles import samples_needed
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.resample import Estimate, interval
from tokenswarm.report.analysis.sample import BLOCKS, LevelSample

# A median that moves by less is of no consequence (guess).
DRIFT = 1.5
# Of a quotient that says "not steady": a run has several levels, each with its chance of an alarm
# (docs/verdict.md has how often there is a false one, and what is still found).
DRIFT_CONFIDENCE = 0.98
# Blocks that resemble each other more than that are no measure of anything (guess).
MOST_ALIKE = 0.9
# Of the offered tokens; the few turns at a window's edges are within it (guess).
BACKLOG_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """Whether a level was stationary after its warm-up.

    Not steady: the TTFT p50 of the second half is more than DRIFT times that of the first, or less
    than 1 / DRIFT of it; or more than BACKLOG_SHARE of the offered tokens piled up. Each counts
    only where its interval (with DRIFT_CONFIDENCE, and 95%) excludes "no change".
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
        DRIFT_CONFIDENCE,
    )
    ratio = _widened(ratio, _dependence(level))
    backlog = level.backlog_share.interval()
    reasons = [*_beyond(first, second), *_drift(ratio), *_piled_up(backlog)]
    if reasons:
        return Steadiness(
            steady=False, ttft_ratio=ratio, backlog_share=backlog, reason="; ".join(reasons)
        )
    if few := _too_few(level):
        return Steadiness(steady=None, ttft_ratio=ratio, backlog_share=backlog, reason=few)
    return Steadiness(steady=True, ttft_ratio=ratio, backlog_share=backlog)


def _widened(ratio: Interval, factor: float) -> Interval:
    """By this factor on either side, as logarithms."""
    value = ratio.value
    if not value:
        return ratio
    low, high = (
        None if end is None else value * (end / value) ** factor for end in (ratio.low, ratio.high)
    )
    return Interval(value, low, high)


def _dependence(level: LevelSample) -> float:
    """By how much a standard error is larger than that of independent blocks of time:

        sqrt((1 + r) / (1 - r)), r the correlation of a block with the next, from 0 to MOST_ALIKE

    of the logarithms of the blocks' TTFT p50 about the mean of their half, so that a drift between
    the halves does not count. r is corrected for the few blocks it is from by (1 + 3 r) / n
    (Kendall 1954). 1 where there is nothing to tell it by.
    """
    halves = _block_medians(level).reshape(-1, BLOCKS // 2)
    halves = halves[np.isfinite(halves).any(axis=1)]
    moved = halves - np.nanmean(halves, axis=1, keepdims=True) if halves.size else halves
    pairs = moved[:, 1:] * moved[:, :-1]
    spread = float(np.nanmean(moved**2)) if np.isfinite(moved).any() else 0.0
    if not np.isfinite(pairs).any() or spread == 0:
        return 1.0
    r = float(np.nanmean(pairs)) / spread
    r = min(max(r + (1 + 3 * r) / (BLOCKS // 2), 0.0), MOST_ALIKE)
    return math.sqrt((1 + r) / (1 - r))


def _block_medians(level: LevelSample) -> Floats:
    """Logarithms of the TTFT p50 of each block of time, NaN for one without."""
    ttft_s, _ = level.run.timing("ttft")
    seen = level.scheduled[ttft_s[level.scheduled] > 0]
    codes = level.block_codes(level.run.columns.scheduled_at_s[seen])
    medians = np.full(BLOCKS * len(level.windows), np.nan)
    for block in np.unique(codes):
        medians[block] = np.median(np.log(ttft_s[seen[codes == block]]))
    return medians


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
