"""Shared clock: where second 0 of its master's run lies on a worker's monotonic clock.

Found by question and answer, as NTP does. A question leaves at q, the master answers with the
second r of the run, the answer is here at a; q and a are of the worker's monotonic clock:

    second 0 = (q + a) / 2 - r / speed    give or take (a - q) / 2

Wall clocks of two machines are never compared: they may be minutes apart. Of several answers the
one that took the shortest way is the best.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

QUESTIONS = 5
# How well second 0 must be known before a worker may send: a tenth of the 5 s beyond which a
# generator that is late makes a run invalid (docs/verdict.md).
LIMIT_S = 0.5
# Monotonic clocks drift by some 50 ppm: 1.5 ms in this time. A machine that slept is off by more.
AGAIN_S = 30.0


class ClockError(ValueError):
    """The master's clock is not known well enough. Says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """origin: second 0 of the run, in monotonic seconds of this machine; wall seconds both."""

    origin: float
    uncertainty_s: float


def reading(asked_at: float, received_at: float, run_s: float, speed: float) -> Reading:
    middle = (asked_at + received_at) / 2
    return Reading(middle - run_s / speed, (received_at - asked_at) / 2)


def agreed(readings: Iterable[Reading]) -> Reading:
    """The best of them. Raises ClockError where there is none, or none that is good enough."""
    best = min(readings, key=lambda r: r.uncertainty_s, default=None)
    if best is None:
        raise ClockError("the master answered no question about its clock")
    if best.uncertainty_s > LIMIT_S:
        raise ClockError(
            f"an answer of the master takes {2 * best.uncertainty_s:.1f} s, so its clock is known "
            f"to {best.uncertainty_s:.1f} s only; accepted: {LIMIT_S} s"
        )
    return best
