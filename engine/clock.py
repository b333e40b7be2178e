"""The virtual clock of the live engine, and how late the process is against it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

_KEPT = 10_000  # latest observations behind the p99: minutes of steps at speed 20


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
    """Wall seconds by which something came after its deadline, for the latest observations."""

    def __init__(self) -> None:
        self._observed: deque[float] = deque(maxlen=_KEPT)

    def observe(self, late_s: float) -> None:
        self._observed.append(max(0.0, late_s))

    def p99_s(self) -> float | None:
        """Nearest-rank 99th percentile; None before the first observation."""
        if not self._observed:
            return None
        ordered = sorted(self._observed)
        return ordered[int(0.99 * (len(ordered) - 1) + 0.5)]

    def clear(self) -> None:
        self._observed.clear()
