"""Search: which rate to try next until the highest one that is good enough is known.

From the lowest rate it doubles until one is missed, then tries the geometric middle of the highest
rate met and the lowest one missed, until they are within the tolerance of each other:

    missed <= (1 + tolerance) * met
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tokenswarm.measure.quantiles import samples_needed
from tokenswarm.measure.slo import Slo

# Paced arrivals come within two mean prompts of the target line; random ones stray further (guess).
SPARE_TURNS = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Rates in input tokens per minute. met_tpm, missed_tpm: the closest ones so far."""

    lowest_tpm: float
    highest_tpm: float
    tolerance: float
    met_tpm: float | None = None
    missed_tpm: float | None = None

    @property
    def next_tpm(self) -> float | None:
        """The rate to try; None when there is nothing left to learn."""
        if self.met_tpm is None:
            return self.lowest_tpm if self.missed_tpm is None else None
        if self.missed_tpm is None:
            doubled = min(2 * self.met_tpm, self.highest_tpm)
            return doubled if doubled > self.met_tpm else None
        if self.missed_tpm <= (1 + self.tolerance) * self.met_tpm:
            return None
        return math.sqrt(self.met_tpm * self.missed_tpm)

    def answered(self, met: bool) -> Search:
        """After the rate `next_tpm` was tried. Raises ValueError when the search is over."""
        tried_tpm = self.next_tpm
        if tried_tpm is None:
            raise ValueError("the search is over")
        return replace(self, met_tpm=tried_tpm) if met else replace(self, missed_tpm=tried_tpm)


def turns_needed(slos: Sequence[Slo]) -> int:
    """Turns that a level needs before every percentile of the SLOs may be claimed."""
    return max((samples_needed(slo.percent / 100) for slo in slos if slo.percent), default=1)


def hold_s(
    tpm: float, mean_prompt_tokens: float, turns: int, warm_up_share: float, least_s: float
) -> float:
    """How long a level lasts so that after its warm-up that many turns came due, with some to
    spare:

        max(least_s, 1.25 * turns * mean_prompt_tokens * 60 / tpm / (1 - warm_up_share))
    """
    minutes = SPARE_TURNS * turns * mean_prompt_tokens / tpm
    return max(least_s, 60 * minutes / (1 - warm_up_share))
