"""Prefixes: which earlier prompt a prompt begins like, by the hashes of its blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workload.traces.turns import Place

_NOBODY = Place(-1, -1)


class Prefixes:
    """A tree of blocks. Hashes may be of the whole prompt up to a block's end or of the block
    alone: a block is known by its hash and all that stand before it."""

    def __init__(self) -> None:
        self._children: dict[tuple[int, int], int] = {}
        self._owners: list[Place] = [_NOBODY]  # of each node: the prompt that had it first
        self._last_ids: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._last_path: list[int] = []

    def place(self, ids: Sequence[int], owner: Place) -> tuple[Place | None, int]:
        """Adds a prompt. Returns the earlier one that shares most leading blocks with it (the first
        of these), and how many they are."""
        mine = np.asarray(ids, dtype=np.int64)
        # Most prompts go on from the last one: the way they share need not be walked.
        alike = _alike(mine, self._last_ids)
        path = self._last_path[:alike]
        node = path[-1] if path else 0
        rest = iter(mine[alike:].tolist())
        missing: list[int] = []
        for block in rest:
            child = self._children.get((node, block))
            if child is None:
                missing = [block, *rest]
                break
            path.append(child)
            node = child
        found, shared = self._owners[node], len(path)
        for block in missing:
            child = len(self._owners)
            self._children[node, block] = child
            self._owners.append(owner)
            path.append(child)
            node = child
        self._last_ids, self._last_path = mine, path
        return (found, shared) if shared else (None, 0)


def _alike(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    size = min(len(one), len(other))
    differ = np.flatnonzero(one[:size] != other[:size])
    return int(differ[0]) if len(differ) else size
