"""WhatIf: one preset changed in a few named ways. Every change is a parameter, None leaves it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.core.router import Routing
from tokenswarm.engine.core.scheduler import Mode, Policy
from tokenswarm.engine.core.speculation import Meaning, Speculation
from tokenswarm.engine.core.step_time import Coefficients, Cost
from tokenswarm.engine.physics.hardware import GPUS
from tokenswarm.engine.physics.kv_pool import Attention, most_tokens
from tokenswarm.engine.physics.presets import Preset
from tokenswarm.engine.physics.roofline import Roofline

Value = TypeVar("Value")

LEAST_KV_TOKENS = 16 * BLOCK_TOKENS  # guess: room for a few words


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Changes to a preset; `apply` makes the changed one. What is None stays as it is.

    prefill_speed, decode_speed: everything in that phase is x times as fast: s_pf x, s_dc x.
    decode_attention_speed: the decode kernel's attention is x times as fast: T_kv / x.
    prefill_attention_speed: the same for prefill: a2 / x.
    acceptance, drafts, meaning: `Speculation.of`; drafts 0 turns speculation off. meaning is of
        the acceptance given with it, per_position if None.
    gpus, attention: `Preset.on_gpus`, `Preset.with_attention`; the pool follows from them,
        unless kv_tokens says how large it is. Ranks with caches of their own follow the GPUs,
        unless ranks says how many.
    gpu: a name in `hardware.GPUS`; the roofline only, tables are for B200.
    host_kv_tokens: `Preset.with_host_tier`.
    replicas, routing: engines like this one behind a router, each with its own GPUs and pool.
    """

    prefill_speed: float | None = None
    decode_speed: float | None = None
    decode_attention_speed: float | None = None
    prefill_attention_speed: float | None = None
    acceptance: float | None = None
    drafts: int | None = None
    meaning: Meaning | None = None
    kv_tokens: int | None = None
    chunk_tokens: int | None = None
    mode: Mode | None = None
    ranks: int | None = None
    gpu: str | None = None
    gpus: int | None = None
    attention: Attention | None = None
    prefix_cache: bool | None = None
    host_kv_tokens: int | None = None
    replicas: int | None = None
    routing: Routing | None = None

    def __post_init__(self) -> None:
        for name in (
            "prefill_speed",
            "decode_speed",
            "decode_attention_speed",
            "prefill_attention_speed",
            "chunk_tokens",
            "ranks",
            "replicas",
        ):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} {value} is not above 0")
        if self.kv_tokens is not None and self.kv_tokens < LEAST_KV_TOKENS:
            raise ValueError(f"kv_tokens {self.kv_tokens}: accepted are {LEAST_KV_TOKENS} or more")
        if self.host_kv_tokens and self.host_kv_tokens < BLOCK_TOKENS:
            raise ValueError(
                f"host_kv_tokens {self.host_kv_tokens}: accepted are 0, or {BLOCK_TOKENS} or more"
            )
        if self.acceptance is None and self.meaning is not None:
            raise ValueError(f"meaning {self.meaning}: give the acceptance that has it")
        if self.acceptance is not None and self.drafts == 0:
            raise ValueError(f"acceptance {self.acceptance}: there is none with 0 drafts")

    def apply(self, preset: Preset) -> Preset:
        """The changed preset. Raises ValueError, naming the change that is not possible."""
        if self.gpus is not None and self.gpus != preset.gpus:
            preset = preset.on_gpus(self.gpus)
        if self.gpu is not None:
            preset = self._on_other_gpu(preset, self.gpu)
        if self.attention is not None:
            preset = preset.with_attention(self.attention)
        if self.host_kv_tokens is not None:
            preset = preset.with_host_tier(self.host_kv_tokens)
        preset = preset.with_speculation(self._speculation(preset.speculation))
        return replace(
            preset,
            cost=self._cost(preset.cost),
            policy=self._policy(preset.policy),
            kv_tokens=_given(self.kv_tokens, preset.kv_tokens),
            prefix_cache=_given(self.prefix_cache, preset.prefix_cache),
            replicas=_given(self.replicas, preset.replicas),
            routing=_given(self.routing, preset.routing),
        )

    def _on_other_gpu(self, preset: Preset, name: str) -> Preset:
        if name not in GPUS:
            raise ValueError(f"gpu {name}: accepted are {', '.join(GPUS)}")
        if not isinstance(preset.cost, Roofline):
            raise ValueError(f"gpu {name}: {preset.name} has tables for B200 only")
        gpu = GPUS[name]
        kv_tokens = most_tokens(preset.cost.model, gpu, preset.gpus)
        return replace(preset, cost=replace(preset.cost, gpu=gpu), kv_tokens=kv_tokens)

    def _cost(self, cost: Cost) -> Cost:
        speeds = (
            self.prefill_speed,
            self.decode_speed,
            self.prefill_attention_speed,
            self.decode_attention_speed,
        )
        if speeds == (None,) * len(speeds):
            return cost
        if not isinstance(cost, Coefficients):
            raise ValueError("speed: this preset is the hardware's limit already")
        prefill, decode, prefill_attention, decode_attention = (_given(s, 1.0) for s in speeds)
        return replace(
            cost,
            s_pf=cost.s_pf * prefill,
            s_dc=cost.s_dc * decode,
            a2_s=cost.a2_s / prefill_attention,
            d2_s=cost.d2_s / decode_attention,
        )

    def _policy(self, policy: Policy) -> Policy:
        return replace(
            policy,
            chunk_tokens=_given(self.chunk_tokens, policy.chunk_tokens),
            mode=_given(self.mode, policy.mode),
            ranks=_given(self.ranks, policy.ranks),
        )

    def _speculation(self, speculation: Speculation) -> Speculation:
        if self.acceptance is None and self.drafts is None:
            return speculation
        drafts = _given(self.drafts, speculation.num_drafts)
        if not drafts:
            return Speculation()
        if self.acceptance is not None:
            return Speculation.of(
                self.acceptance, drafts=drafts, meaning=self.meaning or "per_position"
            )
        if not speculation.acceptance:
            raise ValueError("drafts: this preset has no acceptance yet, give one")
        return Speculation(speculation.acceptance[:1] * drafts)


def _given(value: Value | None, otherwise: Value) -> Value:
    return otherwise if value is None else value
