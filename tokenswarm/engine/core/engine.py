"""Engine: the simulated inference engine without I/O. Virtual seconds in, virtual seconds out.

    engine.submit(sequence, now_s)
    while (start_s := engine.next_time(now_s)) is not None:
        now_s, emissions = engine.step(start_s)

The caller submits arrivals in time order and never steps past an arrival it has not submitted.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenswarm.engine.core.host_tier import HostMemory, HostTier
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS, KVCache, blocks_for
from tokenswarm.engine.core.scheduler import Policy, Scheduler
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.core.speculation import Speculation, TokenDraws
from tokenswarm.engine.core.step_time import Cost

# A sequence, how many tokens it gained in a step, and whether they are its last. A plain tuple: a
# named one costs a tenth of a step.
Emission = tuple[Sequence, int, bool]


@dataclass(slots=True)
class Counters:
    """Totals since the start or the last reset, in tokens unless named otherwise.

    yields: how often one sequence's decode step yielded 0, 1, ... 1 + k tokens, k being the drafts
    (the last may yield more than was left to emit: the rest is dropped after verification).
    """

    yields: list[int]
    prompt_tokens: int = 0
    generation_tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    num_finished: int = 0
    num_cancelled: int = 0
    num_steps: int = 0
    busy_s: float = 0.0

    @property
    def num_drafts(self) -> int:
        """Verifications: one per sequence and decode step, 0 without drafts."""
        return sum(self.yields) if len(self.yields) > 2 else 0

    @property
    def draft_tokens(self) -> int:
        return self.num_drafts * (len(self.yields) - 2)

    @property
    def accepted_tokens(self) -> int:
        return sum(self.accepted_by_position)

    @property
    def accepted_by_position(self) -> list[int]:
        """How often draft 1, 2, ... k was accepted."""
        return [sum(self.yields[1 + k :]) for k in range(1, len(self.yields) - 1)]


class Engine:
    """kv_tokens: size of the pool. ttft_fixed_s: time before the scheduler sees a request
    (network, tokenising, templating), so that at batch 1

        TTFT = ttft_fixed + sum over chunks of (t0 / s_pf + T_pf)

    host: a second tier of the prefix cache in host memory; None for none.
    """

    def __init__(
        self,
        *,
        cost: Cost,
        policy: Policy,
        speculation: Speculation,
        kv_tokens: int,
        prefix_cache: bool = True,
        host: HostMemory | None = None,
        ttft_fixed_s: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.counters = Counters(yields=[0] * (2 + speculation.num_drafts))
        self.cache = KVCache(
            kv_tokens // BLOCK_TOKENS,
            prefix_cache=prefix_cache,
            host=HostTier(host.kv_tokens // BLOCK_TOKENS) if host else None,
        )
        self.scheduler = Scheduler(
            policy,
            self.cache,
            1 + speculation.num_drafts,
            host.load_s_per_token if host else 0.0,
        )
        self._cost = cost
        self._speculation = speculation
        self._ttft_fixed_s = ttft_fixed_s
        self._seed = seed
        self._draws = TokenDraws(speculation, seed)

    def submit(self, sequence: Sequence, now_s: float) -> None:
        """Queue the sequence. Raises QueueFull, or ValueError where it could never fit."""
        total = sequence.prompt_tokens + sequence.output_tokens
        if sequence.prompt_tokens < 1 or sequence.output_tokens < 1:
            raise ValueError("a sequence needs at least one prompt and one output token")
        if blocks_for(total) > self.cache.capacity:
            raise ValueError(f"{total} tokens exceed the KV pool")
        sequence.arrived_at_s = now_s
        sequence.ready_at_s = now_s + self._ttft_fixed_s
        self.scheduler.enqueue(sequence)

    def cancel(self, sequence: Sequence) -> None:
        """Drop the sequence and free its blocks. No effect on one that has finished."""
        if sequence.finished:
            return
        self.scheduler.remove(sequence)
        self.counters.num_cancelled += 1

    @property
    def load(self) -> int:
        """Sequences that it runs or that wait."""
        return self.scheduler.num_running + len(self.scheduler.waiting)

    def held_blocks(self, sequence: Sequence) -> int:
        """How much of the sequence's content its prefix cache holds, on the best of its ranks."""
        return self.scheduler.held_blocks(sequence)

    def next_time(self, now_s: float) -> float | None:
        """When the next step can start, not before `now_s`. None when there is no work."""
        return self.scheduler.next_time(now_s)

    def step(self, now_s: float) -> tuple[float, list[Emission]]:
        """One step that starts at `now_s`: its end, and what is emitted at that end."""
        chunks, decoding = self.scheduler.schedule(now_s)
        if not chunks and not decoding:
            return now_s, []
        context_tokens = sum([s.prompt_tokens + s.num_emitted for s in decoding])
        work_s = sum([self._cost.prefill_s(n, s.num_computed) for s, n in chunks])
        duration_s = self._cost.step_s(work_s, len(decoding), context_tokens)
        end_s = now_s + duration_s
        emissions = self._decode(decoding)
        self._prefill(chunks, end_s, emissions)
        self.counters.num_steps += 1
        self.counters.busy_s += duration_s
        return end_s, emissions

    def reset(self) -> None:
        """Empty the prefix cache, zero the counters, restart the random stream."""
        self.cache.clear()
        self.counters = Counters(yields=[0] * len(self.counters.yields))
        self.scheduler.num_enqueued = 0
        self.scheduler.num_preemptions = 0
        self.scheduler.num_loaded_tokens = 0
        self._draws = TokenDraws(self._speculation, self._seed)

    def _decode(self, decoding: list[Sequence]) -> list[Emission]:
        emissions: list[Emission] = []
        if not decoding:
            return emissions
        yields = self.counters.yields
        num_tokens = num_finished = 0
        draws = self._draws.take(len(decoding))
        for sequence, drawn in zip(decoding, draws, strict=True):
            yields[drawn] += 1
            gained = min(drawn, sequence.output_tokens - sequence.num_emitted)
            sequence.num_emitted += gained
            num_tokens += gained
            finished = sequence.num_emitted == sequence.output_tokens
            num_finished += finished
            emissions.append((sequence, gained, finished))
        self.counters.generation_tokens += num_tokens
        if num_finished:
            for sequence in [sequence for sequence in decoding if sequence.finished]:
                self._finish(sequence)
        return emissions

    def _prefill(
        self, chunks: list[tuple[Sequence, int]], end_s: float, emissions: list[Emission]
    ) -> None:
        for sequence, num_new in chunks:
            sequence.num_computed += num_new
            if sequence.table is not None:
                self.cache.publish(sequence.table, sequence.num_computed // BLOCK_TOKENS)
            if sequence.num_computed == sequence.context_tokens:
                emissions.append(self._emit_first(sequence, end_s))

    def _emit_first(self, sequence: Sequence, end_s: float) -> Emission:
        """The token that ends a prefill; after a preemption it is not the first of the answer."""
        if sequence.first_token_at_s is None:
            sequence.first_token_at_s = end_s
            self.counters.prompt_tokens += sequence.prompt_tokens
            self.counters.prefix_queries += sequence.prompt_tokens
            self.counters.prefix_hits += sequence.cached_tokens or 0
        sequence.num_emitted += 1
        self.counters.generation_tokens += 1
        self.scheduler.prefilling.remove(sequence)
        self.scheduler.decoding.append(sequence)
        if sequence.finished:
            self._finish(sequence)
        return sequence, 1, sequence.finished

    def _finish(self, sequence: Sequence) -> None:
        if sequence.table is not None:
            self.cache.publish(sequence.table, sequence.context_tokens // BLOCK_TOKENS)
        self.scheduler.remove(sequence)
        self.counters.num_finished += 1
