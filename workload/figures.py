"""Fidelity: is the traffic the one that was promised? Realised figures beside their targets.

A `Promise` is one figure of a profile with what is known of its errors. `workload/fidelity.py`
makes them from a profile; a run writes them into its ledger, so that it can be judged again
without the profile. Tolerance of a figure from n turns, relative to the target:

    base_tolerance + 3 * sqrt(turn_error^2 / n + target_error^2) / target

Verdict of a row: "ok", "off", or "too few" where the tolerance passes MAX_TOLERANCE or a
percentile has fewer than MIN_TAIL_TURNS turns beyond it. A "limit" is met or not, by any number of
turns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STANDARD_ERRORS = 3.0
MAX_TOLERANCE = 0.25  # guess: a wider band would pass anything
MIN_TAIL_TURNS = 6.6  # 660 turns for a p99 (docs/design.md 2.3)
LIMIT = "limit"  # source of the shortest and the longest prompt
# The shares at which a law's quantiles are kept for drawing it.
LAW_SHARES = tuple((k + 0.5) / 100 for k in range(100))

Tokens = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Turns to be checked, shape (n_turns,), whole sessions one after the other where known."""

    prompt_tokens: Tokens
    output_tokens: Tokens
    ideal_cached_tokens: Tokens
    kinds: NDArray[np.str_] | None = None
    gaps_s: Floats | None = None
    session_turns: Tokens | None = None  # of each session that ended, shape (n_sessions,)
    session_compactions: Tokens | None = None  # the same

    @property
    def new_tokens(self) -> Tokens | None:
        """What grew: prompt less ideal_cached of the turns that go on from a previous one."""
        grown = self._of_kinds("tool", "user")
        new = self.prompt_tokens - self.ideal_cached_tokens
        return None if grown is None else new[grown]

    def gaps_before(self, *kinds: str) -> Floats | None:
        """The pauses before turns of these kinds."""
        chosen = self._of_kinds(*kinds)
        return None if chosen is None or self.gaps_s is None else self.gaps_s[chosen]

    def numbers(self, of: str) -> Tokens | Floats | None:
        """The numbers a figure is taken of; None where the sample does not have them."""
        match of:
            case "prompt":
                return self.prompt_tokens
            case "cached":
                return self.prompt_tokens[self._whole]
            case "output":
                return self.output_tokens
            case "new":
                return self.new_tokens
            case "tool gap":
                return self.gaps_before("tool")
            case "human gap":
                return self.gaps_before("user")
            case "gap":
                return self.gaps_before("tool", "user")
            case "session turns":
                return self.session_turns
            case _:
                return self.session_compactions

    def figure(self, figure: str, numbers: Tokens | Floats) -> float | None:
        """One figure (mean, pNN, min, max, share) of these numbers of it; None if there are none.

        share: of the sample, its ideal cached over its prompt tokens. Left out are turns with which
        a developer was met in mid-session: no cache holds what came before them, which is how a
        run begins and no property of the sessions.
        """
        if not len(numbers):
            return None
        match figure:
            case "mean":
                return float(numbers.mean())
            case "min":
                return float(numbers.min())
            case "max":
                return float(numbers.max())
            case "share":
                whole = self._whole
                return float(self.ideal_cached_tokens[whole].sum() / numbers.sum())
            case _:
                return float(np.percentile(numbers, int(figure[1:])))

    @property
    def _whole(self) -> NDArray[np.bool_]:
        """Turns whose sessions were seen from their start."""
        if self.kinds is None:
            return np.ones(len(self.prompt_tokens), dtype=np.bool_)
        whole: NDArray[np.bool_] = self.kinds != "met"
        return whole

    def _of_kinds(self, *kinds: str) -> NDArray[np.bool_] | None:
        return None if self.kinds is None else np.isin(self.kinds, kinds)


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity: deviation and tolerance are relative to the target; None where unknown."""

    quantity: str
    unit: str
    target: float
    source: str  # where the target comes from
    realised: float | None
    deviation: float | None
    tolerance: float | None
    verdict: str  # "ok", "off", "too few"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What one quantity of the traffic should be: `figure` of the numbers `of` a sample."""

    quantity: str  # "prompt p50"
    unit: str
    figure: str
    of: str
    target: float
    source: str
    base_tolerance: float  # relative to the target
    turn_error: float  # standard error of the figure from a single turn, in its unit
    target_error: float  # standard error of the target itself, 0 where it is stated

    def row(self, sample: Sample) -> Row | None:
        """None where the sample has nothing of the kind."""
        numbers = sample.numbers(self.of)
        if numbers is None:
            return None
        realised = sample.figure(self.figure, numbers)
        if realised is None:
            return self._row(None, None, None, "too few")
        deviation = realised / self.target - 1
        if self.source == LIMIT:
            kept = deviation >= 0 if self.figure == "min" else deviation <= 0
            return self._row(realised, deviation, None, "ok" if kept else "off")
        tolerance = self._tolerance(len(numbers))
        enough = tolerance <= MAX_TOLERANCE and _has_tail(self.figure, len(numbers))
        verdict = "too few" if not enough else "ok" if abs(deviation) <= tolerance else "off"
        return self._row(realised, deviation, tolerance, verdict)

    def _tolerance(self, count: int) -> float:
        error = math.hypot(self.turn_error / math.sqrt(count), self.target_error)
        return self.base_tolerance + STANDARD_ERRORS * error / self.target

    def _row(
        self,
        realised: float | None,
        deviation: float | None,
        tolerance: float | None,
        verdict: str,
    ) -> Row:
        return Row(
            self.quantity,
            self.unit,
            self.target,
            self.source,
            realised,
            deviation,
            tolerance,
            verdict,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a run's traffic was meant to be; laws: quantiles at LAW_SHARES of what is drawn, by
    name ("prompt", "output", "new")."""

    promises: tuple[Promise, ...]
    laws: dict[str, tuple[float, ...]]


def rows(promises: Iterable[Promise], sample: Sample) -> list[Row]:
    """The table of these turns; rows whose numbers the sample does not have are left out."""
    found = (promise.row(sample) for promise in promises)
    return [row for row in found if row is not None]


def _has_tail(figure: str, count: int) -> bool:
    """Whether a percentile has enough turns beyond it to be claimed."""
    if not figure.startswith("p"):
        return True
    share = int(figure[1:]) / 100
    return count * min(share, 1 - share) >= MIN_TAIL_TURNS - 1e-9
