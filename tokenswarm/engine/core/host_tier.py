"""The host-memory tier of the KV cache: blocks that the GPU pool evicted, least recently used out.

Eviction moves a block here, a hit moves it back; one that was computed anew meanwhile may be in
both until it leaves either. Per key the tier holds one stretch [start, end) of the key's blocks,
which continues what the GPUs still hold of it, because the pool evicts from the tail.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Size of the tier, and the time to bring one token's KV back over the link."""

    kv_tokens: int
    load_s_per_token: float


class HostTier:
    """`capacity` blocks in host memory."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._stretches: OrderedDict[Hashable, tuple[int, int]] = OrderedDict()  # oldest first

    def put(self, key: Hashable, start: int, end: int) -> None:
        """Take in blocks [start, end) of `key`, and drop the oldest that no longer fit.

        A stretch of the same key that begins at or before `end` is joined; one beyond a gap
        could not be hit and is dropped.
        """
        kept = self._drop(key)
        if kept is not None and kept[0] <= end:
            end = max(end, kept[1])
        self._stretches[key] = (start, end)
        self.used += end - start
        self._shrink()

    def found(self, key: Hashable, start: int) -> int:
        """How many blocks of `key` are here from `start` on, without a gap."""
        first, end = self._stretches.get(key, (0, 0))
        return max(0, end - start) if first <= start else 0

    def take(self, key: Hashable, start: int, count: int) -> None:
        """Move blocks [start, start + count) out; what is left continues them."""
        _, end = self._stretches[key]
        self._drop(key)
        if start + count < end:
            self._stretches[key] = (start + count, end)
            self.used += end - start - count

    def clear(self) -> None:
        self._stretches.clear()
        self.used = 0

    def _drop(self, key: Hashable) -> tuple[int, int] | None:
        stretch = self._stretches.pop(key, None)
        if stretch is not None:
            self.used -= stretch[1] - stretch[0]
        return stretch

    def _shrink(self) -> None:
        while self.used > self.capacity:
            key, (start, end) = next(iter(self._stretches.items()))
            cut = min(end - start, self.used - self.capacity)
            self.used -= cut
            if cut == end - start:
                del self._stretches[key]
            else:
                self._stretches[key] = (start, end - cut)
