"""Fit: step-time coefficients of one engine on one machine, fitted to published operator tables."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from tokenswarm.engine.core.step_time import Coefficients


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """How well a fit meets the tables: mean and largest |fitted / table - 1| over `points`."""

    mean: float
    largest: float
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillFit:
    """T = t0 + n (a1 + a2 (p + n / 2)) for n new tokens on p earlier ones."""

    t0_s: float
    a1_s: float
    a2_s: float
    error: Error


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeFit:
    """T = d0 + d1 sqrt(B) + d2 K for B sequences of K tokens in all, `drafts` tokens verified
    beside the next one of each."""

    drafts: int
    d0_s: float
    d1_s: float
    d2_s: float
    error: Error


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """One engine version on `gpus` GPUs of a `system`, tensor-parallel, fp8 KV."""

    software: str
    version: str
    system: str
    model: str
    gpus: int
    prefill: PrefillFit
    decode: tuple[DecodeFit, ...]

    def coefficients(self, drafts: int) -> Coefficients:
        """The coefficients at that many draft tokens, speed factors 1.

        d2 is a guess: the tables charge one KV read per verified token, a fused kernel reads the
        cache once for all of them. It is the geometric mean of the tables' d2 at `drafts` (every
        read charged) and at none (one read). Raises ValueError for drafts that were not fitted.
        """
        by_drafts = {fit.drafts: fit for fit in self.decode}
        if drafts not in by_drafts:
            raise ValueError(f"drafts {drafts}: fitted are {sorted(by_drafts)}")
        decode = by_drafts[drafts]
        return Coefficients(
            t0_s=self.prefill.t0_s,
            a1_s=self.prefill.a1_s,
            a2_s=self.prefill.a2_s,
            d0_s=decode.d0_s,
            d1_s=decode.d1_s,
            d2_s=sqrt(decode.d2_s * by_drafts[0].d2_s),
        )
