"""Sequence: one request inside the engine, from arrival to its last token."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenswarm.engine.core.kv_cache import BlockTable, Segment


@dataclass(slots=True, eq=False, kw_only=True)
class Sequence:
    """One request. The first five fields are given, the rest is the engine's state.

    segments: the content of the prompt's full blocks, root first (`kv_cache.Segment`); a last
        segment may name the output, so that a later prompt that repeats it can hit.
    output_tokens: produced exactly, as with `ignore_eos`.
    session: as the request names it, for a router; None where it names none.
    """

    id: int
    prompt_tokens: int
    output_tokens: int
    segments: tuple[Segment, ...] = ()
    session: str | None = None

    arrived_at_s: float = 0.0
    ready_at_s: float = 0.0  # arrival + ttft_fixed: the scheduler may see it from here on
    admitted_at_s: float | None = None  # first admission; a preemption does not change it
    loaded_at_s: float = 0.0  # when the part of the hit that was in host memory has arrived
    first_token_at_s: float | None = None
    cached_tokens: int | None = None  # prefix hit at the first admission; None before it
    num_emitted: int = 0
    num_computed: int = 0  # tokens whose KV exists
    num_preemptions: int = 0
    replica: int = 0  # of a fleet, which serves it
    rank: int = 0  # of the attention's data-parallel ranks, which serves it
    table: BlockTable | None = field(default=None, repr=False)  # None: waiting or gone

    @property
    def context_tokens(self) -> int:
        return self.prompt_tokens + self.num_emitted

    @property
    def finished(self) -> bool:
        return self.num_emitted >= self.output_tokens
