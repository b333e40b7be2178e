"""Speculative decoding: how many tokens one decode step yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

# What "70 % acceptance" may mean. per_position: the chance that a draft is accepted given that all
# before it were (the papers' alpha). of_drafted: accepted / drafted tokens (vLLM's metric).
Meaning = Literal["per_position", "of_drafted"]

_DRAWS_AT_ONCE = 8192  # amortises numpy's call overhead; any size gives the same stream


@dataclass(frozen=True, slots=True)
class Speculation:
    """`acceptance[j]` is the chance that draft j is accepted given that all before it were.

    Its length is the number of draft tokens k; empty means no speculation.
    `Speculation.of(0.7, drafts=3, meaning=...)` makes k equal chances from one published figure.
    """

    acceptance: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if any(not 0 <= alpha <= 1 for alpha in self.acceptance):
            raise ValueError(f"acceptance {self.acceptance} is not within [0, 1]")

    @classmethod
    def of(cls, acceptance: float, *, drafts: int, meaning: Meaning) -> Speculation:
        """k equal chances alpha from one acceptance figure a.

        per_position: alpha = a, so 1 + a + ... + a^k tokens per step (0.7, k 3: 2.533).
        of_drafted:   alpha such that 1 + k a tokens per step (0.7, k 3: 3.1, alpha 0.832).
        Raises ValueError for figures outside [0, 1], no drafts or another meaning.
        """
        if meaning not in get_args(Meaning):
            raise ValueError(f"meaning {meaning!r} is not one of {get_args(Meaning)}")
        if drafts < 1:
            raise ValueError(f"drafts {drafts} is not at least 1")
        if not 0 <= acceptance <= 1:
            raise ValueError(f"acceptance {acceptance} is not within [0, 1]")
        alpha = acceptance if meaning == "per_position" else _alpha(acceptance, drafts)
        return cls((alpha,) * drafts)

    @property
    def num_drafts(self) -> int:
        return len(self.acceptance)

    @property
    def mean_tokens(self) -> float:
        """1 + a1 + a1*a2 + ...: 2.533 at three drafts of 0.7."""
        return 1 + float(np.cumprod(self.acceptance).sum())


def _alpha(accepted_share: float, drafts: int) -> float:
    """The chance per position at which alpha + ... + alpha^k = k x accepted_share. Bisection."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        alpha = (low + high) / 2
        if sum(alpha**j for j in range(1, drafts + 1)) < drafts * accepted_share:
            low = alpha
        else:
            high = alpha
    return (low + high) / 2


class TokenDraws:
    """The seeded stream of tokens per decode step: 1 + min(k, Geom), before any cap."""

    def __init__(self, speculation: Speculation, seed: int) -> None:
        self._survival = np.cumprod(speculation.acceptance)  # shape (k,)
        self._rng = np.random.default_rng(seed)
        self._drawn: list[int] = []
        self._next = 0

    def take(self, count: int) -> list[int]:
        while self._next + count > len(self._drawn):
            uniform = self._rng.random((_DRAWS_AT_ONCE, 1))
            fresh = (1 + (uniform < self._survival).sum(axis=1)).tolist()
            self._drawn = self._drawn[self._next :] + fresh
            self._next = 0
        taken = self._drawn[self._next : self._next + count]
        self._next += count
        return taken
