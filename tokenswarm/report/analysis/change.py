"""Change: how much a figure of one level differs from that of another run's level.

Times, speeds and rates change by a factor (other / base), shares by a difference (other - base).
The two runs are resampled together: sessions are paired by name and blocks of time by their place
in the level, so what both runs share (long prompts, a crowded minute) cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tokenswarm.measure.columns import Floats
from tokenswarm.measure.slo import SHARES
from tokenswarm.report.analysis.interval import CONFIDENCE, Interval
from tokenswarm.report.analysis.resample import Estimate, interval
from tokenswarm.report.analysis.sample import LevelSample

POWER = 0.8  # the usual one for a detectable change


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """base, other: the figures themselves, None where unknown or beyond the run's end."""

    base: float | None
    other: float | None
    by: Interval  # a factor, or for shares a difference
    none: float  # the `by` of no change: 1, or 0

    @property
    def seen(self) -> bool | None:
        """Whether it is outside the noise; None where there is no interval."""
        if self.by.low is None and self.by.high is None:
            return None
        below = self.by.high is not None and self.by.high < self.none
        return below or (self.by.low is not None and self.by.low > self.none)

    @property
    def error(self) -> float | None:
        """Standard error, of the logarithm for a factor: the interval's width over 2 * 1.96."""
        low, high = self.by.low, self.by.high
        if low is None or high is None or low == high or (self.none and low <= 0):
            return None
        width = math.log(high / low) if self.none else high - low
        return width / (2 * NormalDist().inv_cdf((1 + CONFIDENCE) / 2))

    def detectable(self, least: float = 0.0) -> float | None:
        """The true change, of the logarithm for a factor, that 80% of such runs would show: that
        is, would find both outside the noise and larger than `least`.

            max(1.96 * error, least) + 0.84 * error
        """
        if self.error is None:
            return None
        z, z_power = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), NormalDist().inv_cdf(POWER)
        return max(z * self.error, least) + z_power * self.error


def change(base: LevelSample, other: LevelSample, name: str, percent: int | None) -> Change:
    """The change of a metric of measure.slo; base and other come of runs drawn together."""
    first, second = base.metric(name, percent), other.metric(name, percent)
    share = name in SHARES
    by = _difference if share else _factor
    found = interval(
        float(by(np.array(first.value), np.array(second.value))),
        [by(a, b) for a, b in zip(first.replicates, second.replicates, strict=False)],
        [min(pair) for pair in zip(first.clusters, second.clusters, strict=False)],
    )
    return Change(base=_known(first), other=_known(second), by=found, none=0.0 if share else 1.0)


def _factor(base: Floats, other: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        factor: Floats = np.where(base > 0, other / base, np.nan)
    return factor


def _difference(base: Floats, other: Floats) -> Floats:
    return other - base


def _known(estimate: Estimate) -> float | None:
    return estimate.value if math.isfinite(estimate.value) else None
