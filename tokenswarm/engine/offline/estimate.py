"""Estimate: the median over seeds, and how far seeds alone could have moved it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import comb
from statistics import median
from typing import NamedTuple

CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """value: the median. low, high: interval of the true median that holds with at least 95 %;
    None where there are too few seeds for one (fewer than 6)."""

    value: float
    low: float | None
    high: float | None


def over_seeds(samples: Iterable[float | None]) -> Estimate | None:
    """Median of the known samples with its interval of order statistics; None without samples.

    Sorted x[1] <= ... <= x[n], the interval is x[k] ... x[n + 1 - k] with the largest k at which

        P(Binomial(n, 1/2) < k) <= 2.5 %

    It assumes nothing of how the samples are spread (a run that collapses is 500 times the
    median), only that seeds are independent.
    """
    known = sorted(sample for sample in samples if sample is not None)
    if not known:
        return None
    k = _rank(len(known))
    if not k:
        return Estimate(median(known), None, None)
    return Estimate(median(known), known[k - 1], known[-k])


@lru_cache(maxsize=64)
def _rank(n: int) -> int:
    """The largest k with P(Binomial(n, 1/2) < k) <= 2.5 %; 0 where there is none."""
    below, k = 1, 0
    while below / 2**n <= (1 - CONFIDENCE) / 2:
        k += 1
        below += comb(n, k)
    return k
