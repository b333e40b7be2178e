"""Knee: where more load begins to cost more than it brings.

Kleinrock's power is throughput over response time, here achieved TPM / TTFT p50. It rises while an
engine has room and falls once it queues; the knee is the offered load where it is highest (Jain
1991, "The Art of Computer Systems Performance Analysis", ch. 3). It needs no threshold and does
not depend on units. For an M/M/1 queue it is half of the capacity; the sharper the curve bends,
the closer it lies to the bend.

Between two levels TTFT is taken as exponential in the load and achieved TPM as linear. The interval
does not lean on that: it reaches from the level below the one of highest power to the level above
it, in each resample, since a power with one peak has it there. So a coarse ladder has a wide one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tokenswarm.measure.columns import Floats
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.resample import Estimate, interval
from tokenswarm.report.analysis.sample import LevelSample

# Where a searched load lies against the levels tried.
Bound = Literal["within", "above", "below", "unknown"]
LEAST_LEVELS = 3  # with two, every curve is a line
LONGEST_S = 1e9  # stands in for a TTFT beyond every one seen
POWERS_BETWEEN = 64  # loads tried between two levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The load with the most achieved TPM per second of TTFT p50 (Kleinrock's power)."""

    tpm: Interval  # offered; value None unless `bound` is "within"
    ttft_p50_s: float | None  # there
    bound: Bound  # "above": the power still rises at the highest level tried
    reason: str = ""  # when it is unknown


def knee(levels: Sequence[LevelSample]) -> Knee:
    """The knee of the levels, in the order of their offered load."""
    known = [(level, level.timing("ttft", [50])[0]) for level in levels]
    known = [
        (level, ttft)
        for level, ttft in known
        if ttft.value > 0 and level.achieved_tpm.value > 0 and level.offered_tpm.value > 0
    ]
    known.sort(key=lambda entry: entry[0].offered_tpm.value)
    if len({level.offered_tpm.value for level, _ in known}) < LEAST_LEVELS:
        return _unknown(f"a knee needs {LEAST_LEVELS} levels with turns, there are {len(known)}")
    (tpm,), (ttft_s,) = _highest(*_values(known, None))
    return Knee(
        tpm=_interval(known, float(tpm)),
        ttft_p50_s=float(ttft_s) if np.isfinite(tpm) else None,
        bound=bound_of(float(tpm)),
    )


def _interval(known: Sequence[tuple[LevelSample, Estimate]], tpm: float) -> Interval:
    brackets = [_bracket(*_values(known, way)) for way in range(2)]
    clusters = _clusters(known, tpm)
    low = interval(tpm, [below for below, _ in brackets], clusters)
    high = interval(tpm, [above for _, above in brackets], clusters)
    return Interval(low.value, low.low, high.high)


def _values(
    known: Sequence[tuple[LevelSample, Estimate]], way: int | None
) -> tuple[Floats, Floats, Floats]:
    """Offered load, achieved TPM and TTFT p50: (levels, resamples), or (levels, 1) estimates."""
    offered = np.array([level.offered_tpm.value for level, _ in known])[:, None]
    achieved = np.array([level.achieved_tpm.value for level, _ in known])[:, None]
    if way is None:
        return offered, achieved, np.array([ttft.value for _, ttft in known])[:, None]
    return offered, achieved, np.stack([ttft.replicates[way] for _, ttft in known])


def _highest(offered: Floats, achieved: Floats, ttft_s: Floats) -> tuple[Floats, Floats]:
    """Load with the highest power, and the TTFT there, for each resample; -inf and inf where it is
    at the lowest or highest level."""
    waits = np.log(np.clip(ttft_s, 1e-9, LONGEST_S))
    part = np.linspace(0, 1, POWERS_BETWEEN, endpoint=False)[:, None, None]
    loads = _between(offered, part)
    wait = _between(waits, part)
    power = np.log(_between(achieved, part)) - wait
    lost = np.isnan(power).any(axis=0)
    best = np.where(np.isnan(power), -np.inf, power).argmax(axis=0)
    columns = np.arange(power.shape[1])
    tpm = np.broadcast_to(loads, power.shape)[best, columns].copy()
    tpm[best == 0] = -np.inf
    tpm[best == len(power) - 1] = np.inf
    tpm[lost] = np.nan
    return tpm, np.exp(wait[best, columns])


def _bracket(offered: Floats, achieved: Floats, ttft_s: Floats) -> tuple[Floats, Floats]:
    """Loads of the levels on both sides of the one with the highest power, for each resample."""
    power = np.log(achieved) - np.log(np.clip(ttft_s, 1e-9, LONGEST_S))
    lost = np.isnan(power).any(axis=0)
    best = np.where(np.isnan(power), -np.inf, power).argmax(axis=0)
    loads = np.concatenate([[-np.inf], offered[:, 0], [np.inf]])
    below, above = loads[best], loads[best + 2]
    return np.where(lost, np.nan, below), np.where(lost, np.nan, above)


def _between(levels: Floats, part: Floats) -> Floats:
    """(levels, n) drawn out to points on the straight lines between them: (points, n)."""
    lines = levels[:-1] + part * (levels[1:] - levels[:-1])  # (parts, levels - 1, n)
    points = lines.swapaxes(0, 1).reshape(-1, levels.shape[1])
    return np.concatenate([points, levels[-1:]])


def bound_of(tpm: float) -> Bound:
    """Of a searched load: inf and -inf lie beyond the levels tried, NaN is unknown."""
    if np.isnan(tpm):
        return "unknown"
    if np.isinf(tpm):
        return "above" if tpm > 0 else "below"
    return "within"


def _clusters(known: Sequence[tuple[LevelSample, Estimate]], tpm: float) -> list[int]:
    """The fewest that hold up the levels on both sides of the knee."""
    nearest = sorted(known, key=lambda entry: abs(entry[0].offered_tpm.value - tpm))[:2]
    return [min(ttft.clusters[way] for _, ttft in nearest) for way in range(2)]


def _unknown(reason: str) -> Knee:
    return Knee(tpm=Interval(), ttft_p50_s=None, bound="unknown", reason=reason)
