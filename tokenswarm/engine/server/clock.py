"""The virtual clock of the live engine, and how late the process is against it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable

# Lateness is counted in bins this much wider than the one before: a p99 is at most 5% too high.
_BIN_RATIO = 1.05
_FIRST_BIN_S = 1e-5
_SLICE_S = 10.0  # how finely stretches of time can be told apart; guess
_MAX_SLICES = 8_640  # a day; about 3 MB at most


class VirtualClock:
    """Engine seconds since the start: (monotonic - t0) * speed.

    Everything is due at a wall deadline t0 + engine time / speed, and sleeps go to deadlines only,
    so rounding and late wake-ups do not add up.
    """

    def __init__(self, speed: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.speed = speed
        self._monotonic = monotonic
        self._started_at_s = monotonic()

    def now_s(self) -> float:
        return (self._monotonic() - self._started_at_s) * self.speed

    def late_s(self, engine_s: float) -> float:
        """Wall seconds since the deadline of `engine_s`; negative before it."""
        return self._monotonic() - self._started_at_s - engine_s / self.speed

    async def sleep_until(self, engine_s: float) -> None:
        """Gives way to other tasks at least once, also when the deadline has passed."""
        await asyncio.sleep(max(0.0, -self.late_s(engine_s)))
        # A timer may fire a fraction of a millisecond early: ask again.
        while (rest_s := -self.late_s(engine_s)) > 0:
            await asyncio.sleep(rest_s)


class Lateness:
    """Wall seconds by which something came after its deadline, over any latest stretch of time.

    One process serves run after run, so a run asks for its own stretch: a bad minute of an earlier
    run must not spoil it, nor a quiet night before it hide its own.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._slices: deque[tuple[float, Counter[int]]] = deque(maxlen=_MAX_SLICES)  # by its end
        self._all: Counter[int] = Counter()

    def observe(self, late_s: float) -> None:
        now_s = self._monotonic()
        if not self._slices or now_s >= self._slices[-1][0]:
            self._slices.append((now_s + _SLICE_S, Counter()))
        index = _bin(late_s)
        self._slices[-1][1][index] += 1
        self._all[index] += 1

    def p99_s(self, last_s: float | None = None) -> float | None:
        """Nearest-rank 99th percentile, rounded up by at most 5%: since the start or `clear`, or
        over the last `last_s` seconds (and up to 10 s before them). None without an observation."""
        counts = self._all if last_s is None else self._latest(last_s)
        rank = math.ceil(0.99 * counts.total())
        for index in sorted(counts):
            rank -= counts[index]
            if rank <= 0:
                return _FIRST_BIN_S * _BIN_RATIO**index if index else 0.0
        return None

    def clear(self) -> None:
        self._slices.clear()
        self._all.clear()

    def _latest(self, last_s: float) -> Counter[int]:
        since_s = self._monotonic() - last_s
        counts: Counter[int] = Counter()
        for end_s, bins in reversed(self._slices):
            if end_s <= since_s:
                break
            counts.update(bins)
        return counts


def _bin(late_s: float) -> int:
    """0 for what is on time to within 10 us."""
    if late_s <= _FIRST_BIN_S:
        return 0
    return math.ceil(math.log(late_s / _FIRST_BIN_S) / math.log(_BIN_RATIO))
