"""Exact quantiles of a set of samples: the one definition in the tool, and when one may be claimed.

Definition: linear interpolation between order statistics, as numpy's default. With the samples
sorted x[0] <= ... <= x[n-1] and h = (n - 1) * q,

    quantile = x[floor(h)] + (h - floor(h)) * (x[floor(h) + 1] - x[floor(h)])

Where some samples are *censored* (only known to be longer than the wait so far), the distribution
is that of Kaplan and Meier (1958): the mass of a censored sample goes to the longer ones in
proportion. A quantile beyond the last sample seen is unknown, and longer than every wait.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.ma  # noqa: F401  (np.quantile would load it at its first call, 40 ms in mid-run)
from numpy.typing import NDArray

# A tail may be claimed when, with this confidence, at least this many samples lie beyond the true
# quantile. The second-largest sample as an upper bound of p99 needs 662 (docs/design.md 2.3).
CONFIDENCE = 0.99
EXCEEDANCES = 2
PERCENTS = range(1, 100)  # those of a Spread
# Ranks are whole, masses add up to them: what floating point may be off by.
RANK_ROUNDING = 1e-9
MASS_ROUNDING = 1e-6


def quantile(samples: Sequence[float], q: float) -> float | None:
    """The q-quantile (0 <= q <= 1) in the samples' own unit; None for an empty set."""
    if len(samples) == 0:
        return None
    return float(np.quantile(np.asarray(samples, dtype=np.float64), q))


def censored_quantiles(
    values: NDArray[np.float64],
    censored: NDArray[np.bool_],
    qs: Sequence[float] | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Quantiles of samples some of which are only lower bounds, shape (len(qs),); inf where the
    tail is cut off. values: not empty; where `censored`, what the sample exceeds."""
    if not censored.any():
        return np.asarray(np.quantile(values, qs), dtype=np.float64)
    order = np.lexsort((censored, values))  # at a tie the value comes first
    values, n = values[order], len(values)
    survival = np.cumprod(1 - ~censored[order] / (n - np.arange(n)))
    reached = n * (1 - survival)  # mass up to each sample
    ranks = (n - 1) * np.asarray(qs)
    low = np.floor(ranks + RANK_ROUNDING)
    below, above = (
        np.append(values, np.inf)[np.searchsorted(reached, rank + MASS_ROUNDING, side="right")]
        for rank in (low, np.minimum(low + 1, n - 1))
    )
    part = ranks - low
    with np.errstate(invalid="ignore"):
        between = np.where(part > RANK_ROUNDING, below + part * (above - below), below)
    return np.where(np.isinf(below), np.inf, between)


def claimable(q: float, n: int) -> bool:
    """Whether n samples are enough to claim the q-quantile; see `samples_needed`."""
    return n >= samples_needed(q)


@lru_cache(maxsize=64)
def samples_needed(q: float) -> int:
    """Smallest n with P(at least 2 of n samples lie beyond the true q-quantile) >= 99%.

    Each sample lies beyond it with probability t = min(q, 1 - q), so their number is
    Binomial(n, t) and the rule is

        (1 - t)^n + n * t * (1 - t)^(n - 1) <= 1 - 0.99

    p50: 11, p90 (and p10): 64, p99: 662. Raises ValueError outside 0 < q < 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"quantile {q} is not between 0 and 1")
    tail = min(q, 1 - q)
    n = EXCEEDANCES
    while (1 - tail) ** n + n * tail * (1 - tail) ** (n - 1) > 1 - CONFIDENCE:
        n += 1
    return n


_SHARES = np.array(PERCENTS) / 100


def _percentiles(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """np.quantile of all shares, to the last bit; it partitions once for each, a sort does once."""
    ordered = np.sort(samples)
    ranks = (len(ordered) - 1) * _SHARES
    below = np.floor(ranks).astype(np.int64)
    low, high = ordered[below], ordered[np.minimum(below + 1, len(ordered) - 1)]
    part, gap = ranks - below, high - low
    return np.where(part >= 0.5, high - gap * (1 - part), low + gap * part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How one quantity is spread over turns, in its own unit; None where there is no sample.

    Of a time that some turns were still waiting for when the run ended, a percentile may lie beyond
    everything seen: it is None, and longer than `cut_off_at`; so is the mean. _percentiles: p1 to
    p99, those with names of their own among them; empty where there is no sample. By its underscore
    orjson leaves it out of files.
    """

    count: int  # of samples seen to their end
    mean: float | None
    p10: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    cut_off_at: float | None = None  # the longest sample or wait; None: nothing was cut off
    _percentiles: tuple[float | None, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, samples: Iterable[float | None]) -> Spread:
        """Over the known samples: None (unknown) is left out, not counted as 0."""
        return cls.of_known(np.array(list(samples), dtype=np.float64))  # None becomes NaN

    @classmethod
    def of_known(cls, samples: NDArray[np.float64]) -> Spread:
        """`of`, with NaN for unknown."""
        known = samples[~np.isnan(samples)]
        if not len(known):
            return cls(count=0, mean=None, p10=None, p50=None, p90=None, p95=None, p99=None)
        found = _percentiles(known)
        return cls._with(found, len(known), mean=math.fsum(known.tolist()) / len(known))

    @classmethod
    def of_censored(cls, samples: NDArray[np.float64], waits: NDArray[np.float64]) -> Spread:
        """samples: NaN for unknown; waits: of the turns that were cut off, NaN for all others."""
        cut_off = ~np.isnan(waits)
        if not cut_off.any():
            return cls.of_known(samples)
        values = np.where(cut_off, waits, samples)
        known = ~np.isnan(values)
        found = censored_quantiles(values[known], cut_off[known], _SHARES)
        count, longest = int(np.sum(known & ~cut_off)), float(values[known].max())
        return cls._with(found, count, mean=None, cut_off_at=longest)

    @classmethod
    def _with(
        cls,
        found: NDArray[np.float64],
        count: int,
        mean: float | None,
        cut_off_at: float | None = None,
    ) -> Spread:
        """found: p1 to p99, inf where it is cut off."""
        known = tuple(float(value) if math.isfinite(value) else None for value in found)
        return cls(
            count=count,
            mean=mean,
            p10=known[9],
            p50=known[49],
            p90=known[89],
            p95=known[94],
            p99=known[98],
            cut_off_at=cut_off_at,
            _percentiles=known,
        )

    def at(self, percent: int) -> float | None:
        """The percentile of PERCENTS, exact."""
        return self._percentiles[percent - 1] if self._percentiles else None
