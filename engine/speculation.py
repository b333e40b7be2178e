"""Speculative decoding: how many tokens one decode step yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DRAWS_AT_ONCE = 8192  # amortises numpy's call overhead; any size gives the same stream


@dataclass(frozen=True, slots=True)
class Speculation:
    """`acceptance[j]` is the chance that draft j is accepted given that all before it were.

    Its length is the number of draft tokens k; empty means no speculation.
    """

    acceptance: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if any(not 0 <= alpha <= 1 for alpha in self.acceptance):
            raise ValueError(f"acceptance {self.acceptance} is not within [0, 1]")

    @property
    def num_drafts(self) -> int:
        return len(self.acceptance)

    @property
    def mean_tokens(self) -> float:
        """1 + a1 + a1*a2 + ...: 2.533 at three drafts of 0.7."""
        return 1 + float(np.cumprod(self.acceptance).sum())


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
