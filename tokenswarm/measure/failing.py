"""Failing: when so many turns fail that going on measures nothing.

Of the last WINDOW_TURNS turns that came to an end, `failed` of `n` are too many where, if each
failed with the probability `limit`, so many would fail by chance less than once in 10,000 windows:

    sum over k >= failed of C(n, k) limit^k (1 - limit)^(n - k)  <  CHANCE

At 20% that takes 6 of 6, 13 of 20, 23 of 50.
"""

from __future__ import annotations

import math
from collections import Counter, deque

from tokenswarm.measure.record import TurnRecord

# About two minutes at 2.5M TPM: a server that breaks in the middle is noticed within half of it.
WINDOW_TURNS = 50
CHANCE = 1e-4  # a long run looks at a few hundred windows that share no turn (guess)
MOST_SAID = 160  # characters of a server's own words: a line and a half of a terminal


class Failing:
    """limit: the share of failed turns that is allowed, 0 to 1."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._window: deque[TurnRecord] = deque(maxlen=WINDOW_TURNS)

    def add(self, record: TurnRecord) -> str:
        """Why the run should end, after this turn; empty while it may go on. A turn that the end of
        the run cut off says nothing."""
        if record.outcome == "unfinished":
            return ""
        self._window.append(record)
        failed = [each for each in self._window if each.failed]
        if not record.failed or not too_many(len(failed), len(self._window), self._limit):
            return ""
        kind, said = _commonest(failed)
        return (
            f"{len(failed)} of the last {len(self._window)} turns failed, and {self._limit:.0%} "
            f"are allowed (--max-failures); most with {kind}" + (f": {said}" if said else "")
        )


def too_many(failed: int, n: int, limit: float) -> bool:
    """Whether chance at the limit explains so many of n; see the module."""
    tail = sum(math.comb(n, k) * limit**k * (1 - limit) ** (n - k) for k in range(failed, n + 1))
    return failed > limit * n and tail < CHANCE


def _commonest(failed: list[TurnRecord]) -> tuple[str, str]:
    """Kind and words of most of them."""
    ((kind, said), _), *_ = Counter((each.outcome, each.detail) for each in failed).most_common(1)
    return kind, said if len(said) <= MOST_SAID else said[: MOST_SAID - 1] + "…"
