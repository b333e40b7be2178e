"""A small closed loop of developers against the engine core, in virtual time.

The session model is profile `seed` of the design notes, reduced to what the engine reacts to:
45k + Gamma(2, 3k) tokens at the start, 20k of them shared; each turn adds the last output and
lognormal(mean 7,500, sigma 1); gaps of 6 s (88 %) or 200 s (12 %).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from math import log

import numpy as np

from tokenswarm.engine.core.engine import Engine
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS, Segment
from tokenswarm.engine.core.sequence import Sequence

SHARED_TOKENS = 20_000
END_PROBABILITY = 0.1444
MAX_PROMPT_TOKENS = 200_000


@dataclass
class Developer:
    """Endless sessions, one turn at a time."""

    index: int
    rng: np.random.Generator
    session: int = -1
    turn: int = 0
    ends: list[int] = field(default_factory=list)  # cumulative prompt tokens per piece

    def next_turn(self, sequence_id: int) -> Sequence:
        grown = self.ends[-1] + self._new_tokens() if self.ends else 0
        if not grown or grown > MAX_PROMPT_TOKENS or self.rng.random() < END_PROBABILITY:
            self.session += 1
            self.turn = 0
            self.ends = [SHARED_TOKENS, 45_000 + int(self.rng.gamma(2, 3_000))]
        else:
            self.turn += 1
            self.ends.append(grown)
        output = int(np.clip(self.rng.lognormal(log(293), 0.9264), 16, 8192))
        return Sequence(
            id=sequence_id,
            prompt_tokens=self.ends[-1],
            output_tokens=output,
            segments=tuple(self._segments()),
        )

    def gap_s(self) -> float:
        median_s = 6 if self.rng.random() < 0.88 else 200
        return float(self.rng.lognormal(log(median_s), 0.9))

    def _new_tokens(self) -> int:
        return min(60_000, int(self.rng.lognormal(log(7_500) - 0.5, 1.0))) + 450

    def _segments(self) -> Iterator[Segment]:
        yield Segment("shared", SHARED_TOKENS // BLOCK_TOKENS)
        for piece, end in enumerate(self.ends[1:]):
            yield Segment((self.index, self.session, piece), end // BLOCK_TOKENS)


def run(engine: Engine, developers: int, duration_s: float, seed: int) -> list[Sequence]:
    """Turns in order of their first token, from virtual second 0 to `duration_s`."""
    ids = count()
    people = [Developer(i, np.random.default_rng((seed, i))) for i in range(developers)]
    due = [(float(person.rng.uniform(0, 30)), person.index) for person in people]
    heapq.heapify(due)
    owners: dict[int, Developer] = {}
    turns: list[Sequence] = []
    now_s = 0.0
    while now_s < duration_s:
        start_s = engine.next_time(now_s)
        if due and (start_s is None or due[0][0] <= start_s):
            at_s, index = heapq.heappop(due)
            turn = people[index].next_turn(next(ids))
            owners[turn.id] = people[index]
            engine.submit(turn, at_s)
            continue
        assert start_s is not None
        now_s, emissions = engine.step(start_s)
        for sequence, _, finished in emissions:
            if finished:
                turns.append(sequence)
                person = owners.pop(sequence.id)
                heapq.heappush(due, (now_s + person.gap_s(), person.index))
    return turns


def ttft_s(turns: list[Sequence]) -> list[float]:
    return [turn.first_token_at_s - turn.arrived_at_s for turn in turns if turn.first_token_at_s]
