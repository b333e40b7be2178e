"""Histogram: counts by bucket. An observation costs a bisection: thousands a second are cheap."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

INFINITY = float("inf")


class Histogram:
    """bounds: inclusive upper bounds of the buckets, ascending; one more holds what is above."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, INFINITY)
        self.clear()

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def clear(self) -> None:
        self._counts = [0] * len(self._bounds)
        self.total = 0.0  # sum of the values

    def buckets(self) -> list[tuple[str, int]]:
        """As Prometheus wants them: (upper bound, observations up to it)."""
        counts = accumulate(self._counts)
        return [
            ("+Inf" if bound == INFINITY else str(float(bound)), count)
            for bound, count in zip(self._bounds, counts, strict=True)
        ]
