"""Router: which of several replicas a sequence goes to. Five policies, none of them a product's.

round-robin     each in turn
random          any, all alike
least-loaded    one with the fewest requests, in turn where several have so few
sticky          by a hash of the session's name; in turn where the request names none
prefix-aware    the one that holds most of the prompt, if that is over half of it, unless it is far
                busier than another; else the least loaded
"""

from __future__ import annotations

from collections.abc import Sequence as Replicas
from hashlib import blake2b
from typing import Literal, get_args

import numpy as np

from tokenswarm.engine.core.engine import Engine
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.core.sequence import Sequence

Routing = Literal["round-robin", "random", "least-loaded", "sticky", "prefix-aware"]
ROUTINGS: tuple[Routing, ...] = get_args(Routing)

# prefix-aware: a replica with so many requests more than the least loaded one is passed over.
# Guess: an eighth of what a replica of the presets runs at once.
MOST_AHEAD = 8
# Of the prompt: less, such as the prefix that all sessions share, would draw every new session to
# the replica that answered first. Guess.
LEAST_HELD = 0.5


class Router:
    """Chooses by what the replicas are at the moment, and by what it chose before."""

    def __init__(self, routing: Routing, seed: int) -> None:
        self._routing = routing
        self._rng = np.random.default_rng((seed, 1))
        self._last_turn: dict[int, int] = {}  # by replica: when it was last chosen
        self._chosen = 0

    def choose(self, sequence: Sequence, replicas: Replicas[Engine]) -> int:
        """The index of a replica."""
        chosen = self._choose(sequence, replicas)
        self._chosen += 1
        self._last_turn[chosen] = self._chosen
        return chosen

    def _choose(self, sequence: Sequence, replicas: Replicas[Engine]) -> int:
        everyone = range(len(replicas))
        if self._routing == "random":
            return int(self._rng.integers(len(replicas)))
        if self._routing == "sticky" and sequence.session is not None:
            return _hash(sequence.session) % len(replicas)
        if self._routing == "least-loaded":
            return self._in_turn(_least([replica.load for replica in replicas]))
        if self._routing == "prefix-aware":
            return self._by_prefix(sequence, replicas)
        return self._in_turn(everyone)

    def _by_prefix(self, sequence: Sequence, replicas: Replicas[Engine]) -> int:
        loads = [replica.load for replica in replicas]
        free = [n for n, load in enumerate(loads) if load < min(loads) + MOST_AHEAD]
        held = {n: replicas[n].held_blocks(sequence) for n in free}
        if max(held.values()) * BLOCK_TOKENS <= LEAST_HELD * sequence.prompt_tokens:
            return self._in_turn(_least(loads))
        best = [n for n in free if held[n] == max(held.values())]
        fewest = min(loads[n] for n in best)
        return self._in_turn([n for n in best if loads[n] == fewest])

    def _in_turn(self, among: Replicas[int]) -> int:
        """The one whose last turn is longest ago."""
        return min(among, key=lambda n: (self._last_turn.get(n, 0), n))


def _least(loads: list[int]) -> list[int]:
    fewest = min(loads)
    return [n for n, load in enumerate(loads) if load == fewest]


def _hash(session: str) -> int:
    """The same in every process, unlike hash()."""
    return int.from_bytes(blake2b(session.encode(), digest_size=8).digest())
