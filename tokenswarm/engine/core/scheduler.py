"""Who runs in the next step: continuous batching with chunked prefill, first come first served."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import Literal

from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS, KVCache, Segment, blocks_for
from tokenswarm.engine.core.sequence import Sequence

Mode = Literal["mixed", "prefill_first"]


class QueueFull(Exception):
    """The queue limit is reached: the request is refused, nothing else changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """mixed: prefill chunks ride with decode. prefill_first: decode waits while any prefill is.

    ranks: data-parallel ranks of the attention. Each has a prefix cache of its own, and an equal
    part of the chunk; requests are dealt to them in turn, whatever their prefix.
    """

    mode: Mode = "mixed"
    chunk_tokens: int = 8192  # prefill tokens per step
    max_running: int = 64
    reserve_tokens: int = 1024  # output blocks held from admission on
    queue_limit: int = 1024
    ranks: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.ranks <= self.chunk_tokens:
            raise ValueError(
                f"ranks {self.ranks}: accepted are 1 to chunk_tokens ({self.chunk_tokens})"
            )


# One step's work: (sequence, new tokens) to prefill, and the sequences that decode.
Batch = tuple[list[tuple[Sequence, int]], list[Sequence]]


class Scheduler:
    """Sequences wait in order of arrival, then prefill, then decode.

    The head of the queue blocks those behind it until its whole prompt and its reserve fit. With
    several ranks, one whose part of the chunk is used up is passed over. An admitted sequence
    starts once its blocks from host memory are there; one link brings them, in turn, while steps
    go on.
    """

    def __init__(
        self,
        policy: Policy,
        cache: KVCache,
        max_step_tokens: int,
        load_s_per_token: float = 0.0,
    ) -> None:
        self.waiting: list[Sequence] = []  # by ready_at_s
        self.prefilling: list[Sequence] = []
        self.decoding: list[Sequence] = []
        self.num_enqueued = 0
        self.num_preemptions = 0
        self.num_loaded_tokens = 0  # from host memory
        self._policy = policy
        self._cache = cache
        self._max_step_tokens = max_step_tokens  # 1 + drafts: what one decode step may write
        self._load_s_per_token = load_s_per_token
        self._link_free_at_s = 0.0
        self._scheduled_at_s = float("-inf")

    @property
    def num_running(self) -> int:
        return len(self.prefilling) + len(self.decoding)

    def enqueue(self, sequence: Sequence) -> None:
        if len(self.waiting) >= self._policy.queue_limit:
            raise QueueFull(f"{len(self.waiting)} requests are waiting")
        if self._policy.ranks > 1:
            self._assign_rank(sequence)
        self.num_enqueued += 1
        self._wait(sequence)

    def next_time(self, now_s: float) -> float | None:
        """When there is something to schedule, not before `now_s`. None for never."""
        if self.decoding:
            return now_s
        due = [sequence.loaded_at_s for sequence in self.prefilling]
        # While all who run still load, only an arrival that was not considered yet can start.
        if self.waiting and (not due or self.waiting[0].ready_at_s > self._scheduled_at_s):
            due.append(self.waiting[0].ready_at_s)
        return max(now_s, min(due)) if due else None

    def schedule(self, now_s: float) -> Batch:
        """The next step's batch. Admits, allocates and preempts as needed."""
        self._scheduled_at_s = now_s
        if self._policy.mode == "mixed":
            self._grow_decoding()
            return self._chunks(now_s), self.decoding
        if chunks := self._chunks(now_s):
            return chunks, []
        self._grow_decoding()
        return [], self.decoding

    def held_blocks(self, sequence: Sequence) -> int:
        """Of one not enqueued: the leading blocks that the cache holds, on the best rank."""
        if self._policy.ranks == 1:
            return self._cache.held(sequence.segments)
        ranks = range(self._policy.ranks)
        return max(self._cache.held(_of_rank(rank, sequence.segments)) for rank in ranks)

    def remove(self, sequence: Sequence) -> None:
        """Take the sequence out, wherever it is, and free its blocks at once."""
        for queue in (self.decoding, self.prefilling, self.waiting):
            if sequence in queue:
                queue.remove(sequence)
                break
        if sequence.table is not None:
            self._cache.release(sequence.table)
            sequence.table = None

    def _assign_rank(self, sequence: Sequence) -> None:
        """In turn. What one rank holds is no hit on another."""
        sequence.rank = self.num_enqueued % self._policy.ranks
        sequence.segments = _of_rank(sequence.rank, sequence.segments)

    def _chunks(self, now_s: float) -> list[tuple[Sequence, int]]:
        if not self.prefilling and not self.waiting:
            return []
        budgets = [self._policy.chunk_tokens // self._policy.ranks] * self._policy.ranks
        chunks: list[tuple[Sequence, int]] = []
        for sequence in self.prefilling:
            if sequence.loaded_at_s <= now_s:
                _cut(sequence, budgets, chunks)
        while admitted := self._admit(now_s, budgets):
            if admitted.loaded_at_s <= now_s:
                _cut(admitted, budgets, chunks)
        return chunks

    def _admit(self, now_s: float, budgets: list[int]) -> Sequence | None:
        if not self.waiting or self.num_running >= self._policy.max_running:
            return None
        sequence = self._first_waiting(budgets)
        if sequence is None or sequence.ready_at_s > now_s:
            return None
        context = sequence.context_tokens
        remaining = sequence.output_tokens - sequence.num_emitted
        held_tokens = context + min(remaining, self._policy.reserve_tokens)
        # The last prompt token is always computed: its logits give the first output token.
        max_hit = (context - 1) // BLOCK_TOKENS
        table = self._cache.allocate(sequence.segments, blocks_for(held_tokens), max_hit)
        if table is None:
            return None
        self.waiting.remove(sequence)
        sequence.table = table
        sequence.num_computed = table.shared * BLOCK_TOKENS
        if table.loaded:
            self._load(sequence, table.loaded, now_s)
        if sequence.cached_tokens is None:
            sequence.cached_tokens = sequence.num_computed
            sequence.admitted_at_s = now_s
        self.prefilling.append(sequence)
        return sequence

    def _load(self, sequence: Sequence, num_blocks: int, now_s: float) -> None:
        tokens = num_blocks * BLOCK_TOKENS
        begins_at_s = max(now_s, self._link_free_at_s)
        self._link_free_at_s = begins_at_s + tokens * self._load_s_per_token
        sequence.loaded_at_s = self._link_free_at_s
        self.num_loaded_tokens += tokens

    def _first_waiting(self, budgets: list[int]) -> Sequence | None:
        """The first whose rank can still take prefill tokens in this step."""
        return next((sequence for sequence in self.waiting if budgets[sequence.rank]), None)

    def _grow_decoding(self) -> None:
        for sequence in list(self.decoding):
            table = sequence.table
            if table is None:  # preempted for one before it
                continue
            # Every step asks for every sequence: `context_tokens` and `num_blocks`, written out.
            written = sequence.prompt_tokens + sequence.num_emitted + self._max_step_tokens
            if written <= (table.shared + table.private) * BLOCK_TOKENS:
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


def _of_rank(rank: int, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    return tuple(Segment((rank, key), end) for key, end in segments)


def _cut(sequence: Sequence, budgets: list[int], chunks: list[tuple[Sequence, int]]) -> None:
    """Takes the sequence's next piece out of its rank's budget."""
    size = min(budgets[sequence.rank], sequence.context_tokens - sequence.num_computed)
    if size:
        chunks.append((sequence, size))
        budgets[sequence.rank] -= size
