"""The paged KV pool: content-addressed blocks, shared prefixes, LRU eviction from the leaves.

A block holds BLOCK_TOKENS tokens. Its identity is (key, index): the key names *everything* from
the start of the prompt to the end of the piece of text that the block ends in (for the server:
the chain of messages), the index counts blocks inside that piece. Blocks of one key are always
computed, shared and evicted as a prefix, so the pool keeps one `BlockRun` per key with the
number of resident blocks, and work is per message, not per block: 88k tokens are 1,375 blocks but a
few dozen runs.

Accounting, in blocks:  used = sum(run.resident) + sum(table.private) <= capacity.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from tokenswarm.engine.core.host_tier import HostTier

BLOCK_TOKENS = 64  # AIConfigurator's tokens_per_block and Dynamo mocker's default block size


def blocks_for(num_tokens: int) -> int:
    """Blocks needed to hold `num_tokens`: ceil(num_tokens / BLOCK_TOKENS)."""
    return -(-num_tokens // BLOCK_TOKENS)


class Segment(NamedTuple):
    """A piece of prompt content: its blocks are [previous segment's end, end)."""

    key: Hashable
    end: int


class BlockRun:
    """The resident blocks of one key: the first `resident` of them, pinned by `pins` sequences."""

    __slots__ = ("key", "resident", "pins")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.resident = 0
        self.pins = 0


class BlockTable:
    """What one sequence holds: `shared` leading blocks in pinned `runs`, `private` after them.

    `loaded` of the shared ones came from host memory when the table was made.
    """

    __slots__ = ("segments", "runs", "shared", "private", "loaded")

    def __init__(self, segments: tuple[Segment, ...], runs: list[BlockRun], shared: int) -> None:
        self.segments = segments
        self.runs = runs
        self.shared = shared
        self.private = 0
        self.loaded = 0

    @property
    def num_blocks(self) -> int:
        return self.shared + self.private


class KVCache:
    """`capacity` blocks. allocate -> publish as they are computed -> grow -> release.

    `host` takes what is evicted, and gives back what a later prompt begins with.
    """

    def __init__(
        self, capacity: int, *, prefix_cache: bool = True, host: HostTier | None = None
    ) -> None:
        self.capacity = capacity
        self.used = 0
        self.evictable = 0  # resident blocks that no sequence pins
        self._prefix_cache = prefix_cache
        self.host = host
        self._runs: dict[Hashable, BlockRun] = {}
        # Unpinned runs, oldest first. `release` enters them leaf to root, so whatever is at the
        # front has no resident child left.
        self._idle: OrderedDict[Hashable, BlockRun] = OrderedDict()

    @property
    def available(self) -> int:
        return self.capacity - self.used + self.evictable

    @property
    def usage(self) -> float:
        """Share of the pool held by sequences (vLLM's kv_cache_usage_perc, 0 to 1)."""
        return (self.used - self.evictable) / self.capacity

    def allocate(
        self, segments: tuple[Segment, ...], num_blocks: int, max_hit: int
    ) -> BlockTable | None:
        """Hold `num_blocks`, of which at most `max_hit` may be hits. None where they do not fit.

        `shared` of the new table is the hit, in blocks. Blocks from host memory are part of it,
        and hittable at once: another prompt does not wait for their transfer.
        """
        runs, hit = self._match(segments, max_hit)
        idle_hit = sum(run.resident for run in runs if not run.pins)
        missing = num_blocks - hit - (self.available - idle_hit)
        if missing > 0 and not self._trim(segments, runs, hit, missing):
            return None
        for run in runs:
            self._pin(run)
        table = BlockTable(segments, runs, hit)
        if self.host is not None:
            table.loaded = self._take_from_host(self.host, segments, hit, max_hit)
        self._take(table, num_blocks - hit)
        self.publish(table, hit + table.loaded)
        return table

    def held(self, segments: tuple[Segment, ...]) -> int:
        """The leading blocks that are here, in either tier. Nothing changes."""
        end = segments[-1].end if segments else 0
        _, hit = self._match(segments, end)
        if self.host is not None:
            hit += sum(count for _, _, count in _on_host(self.host, segments, hit, end))
        return hit

    def grow(self, table: BlockTable, num_blocks: int) -> bool:
        """Extend the table to `num_blocks`. False, and nothing done, where they do not fit."""
        needed = num_blocks - table.num_blocks
        if needed > self.available:
            return False
        self._take(table, needed)
        return True

    def publish(self, table: BlockTable, num_computed: int) -> None:
        """Share the table's first `num_computed` blocks: from now on others can hit them.

        Where another sequence published the same content first, the copy is given back.
        """
        if not self._prefix_cache:
            return
        index = max(0, len(table.runs) - 1)
        while table.shared < num_computed and index < len(table.segments):
            self._publish_segment(table, index, num_computed)
            index += 1

    def release(self, table: BlockTable) -> None:
        """Give back the private blocks and unpin the shared ones, leaf first."""
        self.used -= table.private
        table.private = 0
        for run in reversed(table.runs):
            run.pins -= 1
            if not run.pins:
                self._idle[run.key] = run
                self.evictable += run.resident
        table.runs = []
        table.shared = 0

    def clear(self) -> None:
        """Forget everything that no sequence holds."""
        self._evict(self.evictable)
        if self.host is not None:
            self.host.clear()

    def _match(self, segments: tuple[Segment, ...], max_hit: int) -> tuple[list[BlockRun], int]:
        runs: list[BlockRun] = []
        start = hit = 0
        for key, end in segments:
            run = self._runs.get(key)
            if run is None or hit >= max_hit:
                break
            runs.append(run)
            hit = min(start + run.resident, end, max_hit)
            if hit < end:
                break
            start = end
        return runs, hit

    def _trim(
        self, segments: tuple[Segment, ...], runs: list[BlockRun], hit: int, num_blocks: int
    ) -> bool:
        """Move out so many blocks that the runs of a hit hold beyond it: without that, a prompt
        that fills the pool would wait for itself. False, and nothing done, if there are fewer."""
        tails: list[tuple[BlockRun, int]] = []
        start = 0
        for (_, end), run in zip(segments, runs, strict=False):
            if not run.pins:
                tails.append((run, start + run.resident - min(end, hit)))
            start = end
        if sum(tail for _, tail in tails) < num_blocks:
            return False
        for run, tail in tails:
            cut = min(tail, num_blocks)
            num_blocks -= cut
            if cut:
                self._cut(run, cut)
        return True

    @staticmethod
    def _take_from_host(
        host: HostTier, segments: tuple[Segment, ...], hit: int, max_hit: int
    ) -> int:
        """Takes the blocks that continue the first `hit` ones; how many there were."""
        taken = 0
        for key, start, count in _on_host(host, segments, hit, max_hit):
            host.take(key, start, count)
            taken += count
        return taken

    def _publish_segment(self, table: BlockTable, index: int, num_computed: int) -> None:
        start = table.segments[index - 1].end if index else 0
        key, end = table.segments[index]
        reached = min(num_computed, end)
        if reached <= table.shared:
            return
        if index == len(table.runs):
            run = self._runs.setdefault(key, BlockRun(key))
            self._pin(run)
            table.runs.append(run)
        run = table.runs[index]
        moved = reached - table.shared
        fresh = max(0, reached - start - run.resident)
        run.resident += fresh
        table.private -= moved
        table.shared = reached
        self.used -= moved - fresh

    def _pin(self, run: BlockRun) -> None:
        if self._idle.pop(run.key, None) is not None:
            self.evictable -= run.resident
        run.pins += 1

    def _take(self, table: BlockTable, num_blocks: int) -> None:
        self._evict(num_blocks - (self.capacity - self.used))
        self.used += num_blocks
        table.private += num_blocks

    def _evict(self, num_blocks: int) -> None:
        while num_blocks > 0:
            run = next(iter(self._idle.values()))
            cut = min(num_blocks, run.resident)
            self._cut(run, cut)
            num_blocks -= cut
            if not run.resident:
                del self._idle[run.key]
                del self._runs[run.key]

    def _cut(self, run: BlockRun, num_blocks: int) -> None:
        """Moves the last blocks of a run that nobody holds out of the pool."""
        run.resident -= num_blocks
        self.used -= num_blocks
        self.evictable -= num_blocks
        if self.host is not None:
            self.host.put(run.key, run.resident, run.resident + num_blocks)


def _on_host(
    host: HostTier, segments: tuple[Segment, ...], hit: int, max_hit: int
) -> Iterator[tuple[Hashable, int, int]]:
    """The stretches in host memory that continue the first `hit` blocks: key, start within it, and
    how many."""
    start, reached = 0, hit
    for key, end in segments:
        if end > reached:
            wanted = min(end, max_hit) - reached
            count = min(wanted, host.found(key, reached - start))
            if count > 0:
                yield key, reached - start, count
                reached += count
            if count < wanted or reached == max_hit:
                break
        start = end
