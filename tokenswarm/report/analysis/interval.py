"""Interval: a value and the range that the truth is in, with 95% confidence."""

from __future__ import annotations

from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """value: the estimate; low, high: its 95% confidence interval, all in one unit.

    None is unknown. An end may be None alone: the data put no bound on that side (a percentile
    whose tail is cut off by the end of the run, a capacity beyond the levels tried).
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"interval from {self.low} to {self.high}")

    def scaled(self, factor: float) -> Interval:
        """In another unit, or per something: factor > 0."""
        return Interval(*(None if end is None else end * factor for end in self._ends))

    def wider(self, other: Interval) -> Interval:
        """This value with the outer ends of both; an open end stays open."""
        return Interval(
            self.value,
            None if self.low is None or other.low is None else min(self.low, other.low),
            None if self.high is None or other.high is None else max(self.high, other.high),
        )

    @property
    def _ends(self) -> tuple[float | None, float | None, float | None]:
        return self.value, self.low, self.high
