"""Second 0 of a run, and how its seconds pass."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunClock:
    """run seconds = (monotonic seconds - origin) x speed.

    speed: engine seconds per wall second; 1 for every endpoint but the embedded engine.
    """

    origin: float
    speed: float

    @classmethod
    def starting_at(cls, unix_s: float, speed: float) -> RunClock:
        """A clock whose second 0 is this wall-clock time: processes of a run share it."""
        return cls(time.monotonic() - (time.time() - unix_s), speed)

    def run_s(self, monotonic_s: float) -> float:
        return (monotonic_s - self.origin) * self.speed

    def now_s(self) -> float:
        return self.run_s(time.monotonic())

    def wall_s(self, run_duration_s: float) -> float:
        return run_duration_s / self.speed
