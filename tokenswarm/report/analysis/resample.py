"""Resample: how far a statistic moves when other sessions, or other minutes, had been drawn.

Turns are not independent: those of one session share its length and its place in the cache, and
those of one minute share a queue. So not turns but *clusters* of them are drawn with replacement
(cluster bootstrap): once sessions, once blocks of time. The interval spans both results.

A resample is a row of weights: how often each cluster was drawn. Everything is a matrix product,
weights (resamples, clusters) by counts (clusters, bins), so a thousand resamples take milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tokenswarm.measure.columns import Codes, Flags, Floats
from tokenswarm.measure.quantiles import censored_quantiles
from tokenswarm.report.analysis.interval import CONFIDENCE, Interval

RESAMPLES = 1000  # 25 beyond each end of a 95% interval
SEED = 20250101  # the same ledger gives the same intervals
# Fewer draws say nothing about a 2.5% tail (guess: t with 4 degrees of freedom is still tame).
LEAST_CLUSTERS = 5
# Beyond this, sessions are drawn in random groups: the degrees of freedom are plenty.
MOST_CLUSTERS = 1000
# Values a quantile tells apart in resamples; the estimate itself is exact.
MOST_BINS = 1024
LEAST_DEFINED_SHARE = 0.95  # of the resamples (guess)
Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clusters:
    """What is drawn together. codes: cluster of each turn of the run; -1: of none."""

    codes: Codes
    weights: Weights  # (resamples, clusters)

    @classmethod
    def drawn(cls, codes: Codes, count: int, rng: np.random.Generator) -> Clusters:
        """Draws all `count` clusters anew, `count` of them each time."""
        if count > MOST_CLUSTERS:
            group = rng.permutation(count) % MOST_CLUSTERS
            codes, count = np.where(codes < 0, -1, group[codes]), MOST_CLUSTERS
        shares = np.full(max(count, 1), 1 / max(count, 1))
        return cls(codes, rng.multinomial(count, shares, size=RESAMPLES).astype(np.float32))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic: its value and its resamples by each way of drawing. NaN is unknown, inf is
    beyond every value seen."""

    value: float
    replicates: tuple[Floats, ...]
    clusters: tuple[int, ...]  # that hold a turn of the statistic, by way of drawing

    def interval(self) -> Interval:
        return interval(self.value, self.replicates, self.clusters)


def interval(
    value: float,
    replicates: Sequence[Floats],
    clusters: Sequence[int],
    confidence: float = CONFIDENCE,
) -> Interval:
    """Expanded percentile intervals (Hesterberg 2015), the outer ends of all of them.

    The tail of each is Phi(-sqrt(n / (n - 1)) t), t the (1 + confidence) / 2 point of Student's t
    with n - 1 degrees of freedom for n clusters: plain percentiles are too narrow for few. Without
    ends where too few clusters, or resamples without a value, do not bear them.
    """
    if math.isnan(value):
        return Interval()
    drawn = zip(replicates, clusters, strict=True)
    parts = [_percentiles(found, count, confidence) for found, count in drawn]
    if not parts or any(part is None for part in parts):
        return Interval(_finite(value))
    low = min(part[0] for part in parts if part is not None)
    high = max(part[1] for part in parts if part is not None)
    return Interval(_finite(value), _finite(min(low, value)), _finite(max(high, value)))


def quantiles(
    values: Floats, censored: Flags, codes: Codes, clusters: Clusters, shares: Sequence[float]
) -> tuple[Floats, Floats]:
    """The estimates (shares,) and their resamples (resamples, shares).

    values: sizes of the turns; where `censored`, what they exceed. Without censored ones this is
    measure.quantiles.quantile; with them, that of the Kaplan-Meier distribution. inf: the tail is
    cut off.
    """
    if not len(values):
        return np.full(len(shares), np.nan), np.full((RESAMPLES, len(shares)), np.nan)
    # At a tie the value comes first: a censored turn exceeds it.
    order = np.lexsort((censored, values))
    values, censored, codes = values[order], censored[order], codes[order]
    estimates = censored_quantiles(values, censored, shares)
    bins = np.arange(len(values)) * min(len(values), MOST_BINS) // len(values)
    starts = np.flatnonzero(np.diff(bins, prepend=-1))
    seen = _counts(codes, bins, clusters, None)
    lost = _counts(codes, bins, clusters, censored) if censored.any() else None
    return estimates, _binned(values, starts, seen, lost, shares)


def ratio(over: Floats, under: Floats, codes: Codes, clusters: Clusters) -> tuple[float, Floats]:
    """sum(over) / sum(under): the estimate and its resamples (resamples,). NaN for 0 / 0."""
    count = clusters.weights.shape[1]
    sums = np.stack([np.bincount(codes, part, minlength=count) for part in (over, under)])
    drawn = clusters.weights.astype(np.float64) @ sums.T
    return float(_divided(over.sum(), under.sum())), _divided(drawn[:, 0], drawn[:, 1])


def present(codes: Codes) -> int:
    """How many clusters hold a turn."""
    return len(np.unique(codes))


def blocks(at_s: Floats, window: tuple[float, float], count: int) -> Codes:
    """The block of time, 0 to count - 1, that each moment of the window lies in; -1 outside."""
    start_s, end_s = window
    length_s = max(end_s - start_s, math.ulp(1.0))
    codes = np.floor((at_s - start_s) * count / length_s).astype(np.int64)
    return np.where((at_s >= start_s) & (at_s < end_s), np.minimum(codes, count - 1), -1)


def wilson(hits: float, n: int) -> Interval:
    """Wilson's score interval of a share: open-eyed where all or none of n turns hit."""
    if n == 0:
        return Interval()
    z, share = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def _counts(codes: Codes, bins: Codes, clusters: Clusters, chosen: Flags | None) -> Floats:
    """Turns by bin, in each resample: (resamples, bins)."""
    count, width = clusters.weights.shape[1], int(bins[-1]) + 1
    cells = codes * width + bins
    table = np.bincount(
        cells, None if chosen is None else chosen.astype(np.float64), minlength=count * width
    )
    drawn = clusters.weights @ table.reshape(count, width).astype(np.float32)
    return drawn.astype(np.float64)


def _binned(
    values: Floats, starts: Codes, seen: Floats, lost: Floats | None, shares: Sequence[float]
) -> Floats:
    """Quantiles of each row of counts (rows, bins) over sorted values that begin a bin at
    `starts`: (rows, shares)."""
    mass = seen if lost is None else _redistributed(seen, lost)
    reached = np.cumsum(mass, axis=1)
    turns = seen.sum(axis=1)
    found = np.empty((len(seen), len(shares)))
    for column, share in enumerate(shares):
        rank = np.maximum(turns - 1, 0) * share
        low = np.floor(rank + 1e-9)
        below = _ranked(values, starts, mass, reached, low)
        above = _ranked(values, starts, mass, reached, np.minimum(low + 1, turns - 1))
        part = np.clip(rank - low, 0, 1)
        with np.errstate(invalid="ignore"):
            between = np.where(part > 1e-9, below + part * (above - below), below)
        found[:, column] = np.where(np.isinf(below), np.inf, between)
    found[turns == 0] = np.nan
    return found


def _redistributed(seen: Floats, lost: Floats) -> Floats:
    """Kaplan-Meier: the mass of each bin's uncensored turns, with their share of the censored
    before them. What is left over lies beyond the last bin."""
    at_risk = np.cumsum(seen[:, ::-1], axis=1)[:, ::-1]
    events = seen - lost
    hazard = np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    survival = np.cumprod(1 - hazard, axis=1)
    before = np.concatenate([np.ones((len(seen), 1)), survival[:, :-1]], axis=1)
    mass: Floats = before * hazard * seen.sum(axis=1, keepdims=True)
    return mass


def _ranked(values: Floats, starts: Codes, mass: Floats, reached: Floats, rank: Floats) -> Floats:
    """The value of that rank (0-based) in each row; inf where the mass ends before it."""
    beyond = reached > rank[:, None] + 1e-6  # the masses carry rounding, ranks are whole
    bins = beyond.argmax(axis=1)
    rows = np.arange(len(mass))
    held = mass[rows, bins]
    into = rank - (reached[rows, bins] - held)
    part = np.divide(into, held, out=np.zeros_like(into), where=held > 0)
    sizes = np.diff(starts, append=len(values))
    offsets = np.minimum((np.clip(part, 0, 1) * sizes[bins]).astype(np.int64), sizes[bins] - 1)
    return np.where(beyond.any(axis=1), values[starts[bins] + offsets], np.inf)


def _divided(over: Floats, under: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.asarray(under) != 0, np.asarray(over) / np.asarray(under), np.nan)


def _percentiles(
    replicates: Floats, clusters: int, confidence: float
) -> tuple[float, float] | None:
    known = np.sort(replicates[~np.isnan(replicates)])
    if clusters < LEAST_CLUSTERS or len(known) < LEAST_DEFINED_SHARE * len(replicates):
        return None
    tail = _tail(clusters, confidence) * (len(known) - 1)
    return float(known[math.floor(tail)]), float(known[math.ceil(len(known) - 1 - tail)])


def _tail(clusters: int, confidence: float) -> float:
    normal, freedom = NormalDist(), clusters - 1
    t = _student(normal.inv_cdf((1 + confidence) / 2), freedom)
    return normal.cdf(-math.sqrt(clusters / freedom) * t)


def _student(z: float, freedom: int) -> float:
    """Student's t at the normal point z (Abramowitz and Stegun 26.7.5; within 0.3% from 4 on)."""
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
