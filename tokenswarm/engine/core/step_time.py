"""How long one engine step takes: three coefficients for prefill, three for decode."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Protocol


class Cost(Protocol):
    """What the engine asks of a cost model. Seconds."""

    def prefill_s(self, num_new: int, num_before: int, /) -> float:
        """Work of one piece: `num_new` tokens on top of `num_before` cached or computed ones."""
        ...

    def step_s(self, prefill_s: float, num_decoding: int, context_tokens: int, /) -> float:
        """Length of a step with `prefill_s` of prefill work (0: none), while `num_decoding`
        sequences decode whose contexts sum to `context_tokens`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Step times by six coefficients and two speed factors. All `_s` are seconds.

    A piece is n new tokens on top of p tokens that are cached or were computed before; B
    sequences decode, their contexts sum to K tokens:

        T_pf  = sum over pieces of n * (a1 + a2 * (p + n / 2)) / s_pf
        T_dec = (d0 + d1 * sqrt(B)) / s_dc          T_kv = d2 * K / s_dc

        decode only   T_dec + T_kv
        prefill only  t0 / s_pf + T_pf
        mixed         max(t0, T_dec) + T_pf + T_kv
    """

    t0_s: float  # floor of a step with prefill: weights are read once
    a1_s: float  # linear layers, per new token
    a2_s: float  # attention, per (new token, earlier token) pair
    d0_s: float
    d1_s: float  # more sequences touch more experts
    d2_s: float  # KV read, per context token
    s_pf: float = 1.0  # prefill speed, fitted
    s_dc: float = 1.0  # decode speed, fitted

    def prefill_s(self, num_new: int, num_before: int) -> float:
        """T_pf of one piece, without the floor."""
        return num_new * (self.a1_s + self.a2_s * (num_before + num_new / 2)) / self.s_pf

    def step_s(self, prefill_s: float, num_decoding: int, context_tokens: int) -> float:
        """Length of a step with `prefill_s` of prefill work (0: none) and B, K of decode."""
        if not num_decoding:
            return self.t0_s / self.s_pf + prefill_s
        decode_s = (self.d0_s + self.d1_s * sqrt(num_decoding)) / self.s_dc
        kv_s = self.d2_s * context_tokens / self.s_dc
        if not prefill_s:
            return decode_s + kv_s
        return max(self.t0_s, decode_s) + prefill_s + kv_s
