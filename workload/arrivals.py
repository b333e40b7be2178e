"""Arrivals: when the next turn is due so that prompt tokens follow a target line.

Open mode offers *tickets*. A ticket is due when the target line passes the middle of the prompt it
will carry; since the prompt is known only once a session takes the ticket, the middle is taken as
half the mean, and corrected afterwards. With paced arrivals (cv = 0) cumulative offered tokens
therefore stay within two mean prompts of the line: at most max_prompt - mean/2 above it (200k - 44k
= 1.8 means for the shipped profiles), mean/2 below. With cv > 0 the gap after each ticket, in
tokens, is its prompt times a Gamma factor of mean 1 and that coefficient of variation (cv = 1:
exponential gaps, as in a Poisson process), and the distance from the line walks as such a process
does.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np


class ArrivalError(ValueError):
    """A rate or spread that makes no sense: names it and says what is accepted."""


class TargetLine:
    """Cumulative input tokens asked for: the integral of a rate that is constant, or climbs evenly
    from the old rate to the new one for `ramp_s` after a change.

        tokens_at(t) = tokens at the change + r0 x + (r1 - r0) x^2 / (2 ramp)   for x = t - change

    with r in tokens per second, and r1 alone after the ramp.
    """

    def __init__(self) -> None:
        self._at_s = 0.0
        self._tokens = 0.0
        self._from_per_s = 0.0
        self._to_per_s = 0.0
        self._ramp_s = 0.0

    def set_tpm(self, at_s: float, tpm: float, ramp_s: float = 0.0) -> None:
        """From `at_s` on towards `tpm` input tokens per minute, reached after `ramp_s`.

        Raises ArrivalError for a negative rate or ramp, or a time before the last change.
        """
        if not (tpm >= 0 and math.isfinite(tpm)):
            raise ArrivalError(f"tpm {tpm!r}: accepted are finite rates >= 0")
        if not (ramp_s >= 0 and math.isfinite(ramp_s)):
            raise ArrivalError(f"ramp {ramp_s!r} s: accepted are finite times >= 0")
        if at_s < self._at_s:
            raise ArrivalError(f"rate change at {at_s} s lies before the last one, {self._at_s} s")
        rate = self._rate_per_s(at_s)
        self._tokens = self.tokens_at(at_s)
        self._at_s, self._ramp_s = at_s, ramp_s
        self._to_per_s = tpm / 60
        self._from_per_s = rate

    def tpm_at(self, t_s: float) -> float:
        """The rate asked for at a time; before the last change, the rate just before it."""
        return self._rate_per_s(t_s) * 60

    def tokens_at(self, t_s: float) -> float:
        """Tokens asked for up to a time; before the last change, up to that change."""
        elapsed_s = max(0.0, t_s - self._at_s)
        if elapsed_s < self._ramp_s:
            climb = (self._to_per_s - self._from_per_s) / (2 * self._ramp_s)
            return self._tokens + elapsed_s * (self._from_per_s + climb * elapsed_s)
        return self._tokens + self._ramp_tokens + self._to_per_s * (elapsed_s - self._ramp_s)

    def time_of(self, tokens: float) -> float:
        """When the line reaches `tokens`; never earlier than the last rate change, inf if it comes
        to rest below."""
        left = tokens - self._tokens
        if left <= 0:
            return self._at_s
        if left < self._ramp_tokens:
            climb = (self._to_per_s - self._from_per_s) / (2 * self._ramp_s)
            # At the very end of a ramp to rest the root is of 0, give or take a rounding.
            root = math.sqrt(max(0.0, self._from_per_s**2 + 4 * climb * left))
            return self._at_s + 2 * left / (self._from_per_s + root)
        if not self._to_per_s:
            return math.inf
        return self._at_s + self._ramp_s + (left - self._ramp_tokens) / self._to_per_s

    @property
    def _ramp_tokens(self) -> float:
        return self._ramp_s * (self._from_per_s + self._to_per_s) / 2

    def _rate_per_s(self, t_s: float) -> float:
        if t_s < self._at_s:
            return self._from_per_s
        if t_s - self._at_s >= self._ramp_s:
            return self._to_per_s
        share = (t_s - self._at_s) / self._ramp_s
        return self._from_per_s + share * (self._to_per_s - self._from_per_s)


class Arrivals:
    """Due times of tickets along a target line.

    A ticket that has been issued but not taken yet counts as a mean prompt; `took` puts the real
    size in its place.
    """

    def __init__(
        self, line: TargetLine, mean_prompt_tokens: float, *, cv: float, rng: np.random.Generator
    ) -> None:
        if not (cv >= 0 and math.isfinite(cv)):
            raise ArrivalError(f"--arrival-cv {cv!r}: accepted are finite numbers >= 0 (0: paced)")
        self._line = line
        self._mean = mean_prompt_tokens
        self._cv = cv
        self._rng = rng
        self._stretches: deque[float] = deque()  # of tickets issued but not taken
        self._walk_tokens = 0.0  # how far the random gaps have run from the line
        self.offered_tokens = 0.0

    def next_due_s(self) -> float:
        """When the next ticket is due, in seconds of the run; inf while the target is 0."""
        return self._line.time_of(self.offered_tokens + self._mean / 2 + self._walk_tokens)

    def issue(self) -> None:
        """The next ticket was issued."""
        self._stretches.append(self._pass_by())

    def skip(self) -> None:
        """The next ticket was due and nobody will take it: it stays a mean prompt."""
        self._pass_by()

    def took(self, prompt_tokens: int) -> None:
        """The oldest issued ticket was taken by a turn of this size."""
        correction = prompt_tokens - self._mean
        self.offered_tokens += correction
        self._walk_tokens += correction * (self._stretches.popleft() - 1)

    def _pass_by(self) -> float:
        stretch = self._draw_stretch()
        self.offered_tokens += self._mean
        self._walk_tokens += self._mean * (stretch - 1)
        return stretch

    def _draw_stretch(self) -> float:
        if self._cv == 0:
            return 1.0
        shape = 1 / self._cv**2
        return float(self._rng.gamma(shape, 1 / shape))


class TicketQueue:
    """Due tickets that no session has taken yet, oldest first."""

    def __init__(self) -> None:
        self._due_s: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._due_s)

    @property
    def oldest_s(self) -> float | None:
        """The due time of the oldest ticket, None when there is none."""
        return self._due_s[0] if self._due_s else None

    def put(self, due_s: float) -> None:
        self._due_s.append(due_s)

    def take(self) -> float:
        """The due time of the oldest ticket. Raises IndexError when there is none."""
        return self._due_s.popleft()
