"""Who runs in the next step: continuous batching with chunked prefill, first come first served."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import Literal, NamedTuple

from engine.kv_cache import BLOCK_TOKENS, KVCache, blocks_for
from engine.sequence import Sequence

Mode = Literal["mixed", "prefill_first"]


class QueueFull(Exception):
    """The queue limit is reached: the request is refused, nothing else changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """mixed: prefill chunks ride with decode. prefill_first: decode waits while any prefill is."""

    mode: Mode = "mixed"
    chunk_tokens: int = 8192  # prefill tokens per step
    max_running: int = 64
    reserve_tokens: int = 1024  # output blocks held from admission on
    queue_limit: int = 1024


class Batch(NamedTuple):
    """One step's work: (sequence, new tokens) to prefill, and the sequences that decode."""

    prefill: list[tuple[Sequence, int]]
    decode: list[Sequence]


class Scheduler:
    """Sequences wait in order of arrival, then prefill, then decode.

    The head of the queue blocks those behind it until its whole prompt and its reserve fit.
    """

    def __init__(self, policy: Policy, cache: KVCache, max_step_tokens: int) -> None:
        self.waiting: list[Sequence] = []  # by ready_at_s
        self.prefilling: list[Sequence] = []
        self.decoding: list[Sequence] = []
        self.num_preemptions = 0
        self._policy = policy
        self._cache = cache
        self._max_step_tokens = max_step_tokens  # 1 + drafts: what one decode step may write

    @property
    def num_running(self) -> int:
        return len(self.prefilling) + len(self.decoding)

    def enqueue(self, sequence: Sequence) -> None:
        if len(self.waiting) >= self._policy.queue_limit:
            raise QueueFull(f"{len(self.waiting)} requests are waiting")
        self._wait(sequence)

    def schedule(self, now_s: float) -> Batch:
        """The next step's batch. Admits, allocates and preempts as needed."""
        if self._policy.mode == "mixed":
            self._grow_decoding()
            return Batch(self._chunks(now_s), self.decoding)
        if chunks := self._chunks(now_s):
            return Batch(chunks, [])
        self._grow_decoding()
        return Batch([], self.decoding)

    def remove(self, sequence: Sequence) -> None:
        """Take the sequence out, wherever it is, and free its blocks at once."""
        for queue in (self.decoding, self.prefilling, self.waiting):
            if sequence in queue:
                queue.remove(sequence)
                break
        if sequence.table is not None:
            self._cache.release(sequence.table)
            sequence.table = None

    def _chunks(self, now_s: float) -> list[tuple[Sequence, int]]:
        budget = self._policy.chunk_tokens
        chunks: list[tuple[Sequence, int]] = []
        for sequence in self.prefilling:
            if not budget:
                return chunks
            size = min(budget, sequence.context_tokens - sequence.num_computed)
            chunks.append((sequence, size))
            budget -= size
        while budget and (admitted := self._admit(now_s)):
            size = min(budget, admitted.context_tokens - admitted.num_computed)
            chunks.append((admitted, size))
            budget -= size
        return chunks

    def _admit(self, now_s: float) -> Sequence | None:
        if not self.waiting or self.num_running >= self._policy.max_running:
            return None
        sequence = self.waiting[0]
        if sequence.ready_at_s > now_s:
            return None
        context = sequence.context_tokens
        remaining = sequence.output_tokens - sequence.num_emitted
        held_tokens = context + min(remaining, self._policy.reserve_tokens)
        # The last prompt token is always computed: its logits give the first output token.
        max_hit = (context - 1) // BLOCK_TOKENS
        table = self._cache.allocate(sequence.segments, blocks_for(held_tokens), max_hit)
        if table is None:
            return None
        del self.waiting[0]
        sequence.table = table
        sequence.num_computed = table.shared * BLOCK_TOKENS
        if sequence.cached_tokens is None:
            sequence.cached_tokens = sequence.num_computed
            sequence.admitted_at_s = now_s
        self.prefilling.append(sequence)
        return sequence

    def _grow_decoding(self) -> None:
        for sequence in list(self.decoding):
            table = sequence.table
            if table is None:  # preempted for one before it
                continue
            written = sequence.context_tokens + self._max_step_tokens
            if written <= table.num_blocks * BLOCK_TOKENS:
                continue
            written = min(written, sequence.prompt_tokens + sequence.output_tokens)
            while sequence.table is not None and not self._cache.grow(table, blocks_for(written)):
                self._preempt_youngest()

    def _preempt_youngest(self) -> None:
        victim = max(self.prefilling + self.decoding, key=lambda sequence: sequence.ready_at_s)
        self.remove(victim)
        victim.num_preemptions += 1
        self.num_preemptions += 1
        self._wait(victim)

    def _wait(self, sequence: Sequence) -> None:
        # A preempted sequence came before everyone still waiting, so it gets its old place back.
        insort(self.waiting, sequence, key=lambda waiting: waiting.ready_at_s)
