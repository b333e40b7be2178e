"""Tickets: who sends the next turn in open mode, and how the traffic grows. Pure: no clock, no I/O.

Open mode is closed mode retimed. A rate is the work of rate / developer_tpm developers who follow
their own pauses; so many are at work, each met at any moment of its day, and each goes through its
pauses and sessions as it would by itself. Only the second at which a turn is sent is the ticket's:

* A due ticket goes to the developer whose pause has been over longest, else to the one whose pause
  ends next, who sends *early*. No session starts because a ticket wants one, so the mix of turns
  stays the profile's (docs/decisions/0008).
* Only when all of them are in flight or kept away (the engine is slow) a spare developer takes it.
  Spare ones begin with a new session: one met in mid-session brings a prompt that no cache holds,
  and enough of those push an engine near its limit over it (docs/decisions/0003).
* When the rate falls the last to come are the first to be spare.

The same rule deals the tickets of real traffic (`shell.pacing`) and of the embedded engine's
virtual time (`engine.offline.traffic`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from workload import fidelity
from workload.arrivals import Arrivals, TargetLine, TicketQueue
from workload.day import SERVICE_S
from workload.life import Due, Life
from workload.profile import Profile
from workload.session import Session

_SIMULATED_SESSIONS = 500
_SIMULATED_TURNS = 15_000  # a rate right to 2% for profile seed, whose pauses vary most
_SUBAGENT = -1  # the rank of whoever is part of another's work

Waiter = TypeVar("Waiter")


@dataclass(slots=True, eq=False)
class _Place(Generic[Waiter]):
    """Who waits for a ticket; rank: None before it has begun; gone: it waits no longer."""

    life: Life
    waiter: Waiter
    rank: int | None
    gone: bool = False


_Heap = list[tuple[float, int, _Place[Waiter]]]  # (when its pause is over, order of joining, who)


class TicketLine(Generic[Waiter]):
    """Deals the tickets that are due among the lives that wait.

    Developers are ranked in the order in which they begin; the natural number of them,
    max(1, round(rate / developer_tpm)), are *natural*, the others spare.
    """

    def __init__(self, line: TargetLine, arrivals: Arrivals, developer_tpm: float) -> None:
        """developer_tpm: what a developer sends by itself, see `developer_tpm`."""
        self._line = line
        self._arrivals = arrivals
        self._developer_tpm = developer_tpm
        self._due = TicketQueue()
        self._natural_number = 0
        self._ranks: dict[Life, int] = {}
        self._free_ranks: list[int] = []  # below the highest given: of developers who left
        self._places: dict[Waiter, _Place[Waiter]] = {}
        self._by_rank: dict[int, _Place[Waiter]] = {}
        self._unstarted: deque[_Place[Waiter]] = deque()
        # A place may lie in both once the natural number has changed; `gone` tells.
        self._natural: _Heap[Waiter] = []
        self._spare: _Heap[Waiter] = []
        self._order = count()

    @property
    def untaken(self) -> int:
        """Tickets that are due and that nobody has taken."""
        return len(self._due)

    @property
    def oldest_untaken_s(self) -> float | None:
        """When the oldest of them was due."""
        return self._due.oldest_s

    def issue(self, due_s: float) -> None:
        """The next ticket is due."""
        self._arrivals.issue()
        self._due.put(due_s)
        self._set_natural_number(max(1, round(self._line.tpm_at(due_s) / self._developer_tpm)))
        while self._unstarted and self._lowest_free_rank < self._natural_number:
            place = self._unstarted.popleft()
            place.life.begin(due_s)
            self._rank(place)
            self._queue(place)

    def waits_from_s(self, life: Life) -> float:
        """From when on the life may have a ticket: even in its pause, but not before a time that
        the server asked for. Where there are fewer developers than the rate needs, they do not work
        without pauses instead: each waits until its own is over."""
        too_few = not self._unstarted and len(self._ranks) < self._natural_number
        return life.ready_at_s if too_few else life.earliest_s

    def join(self, life: Life, waiter: Waiter) -> None:
        """The waiter wants a ticket for the life's next turn."""
        rank = _SUBAGENT if life.is_subagent else self._ranks.get(life)
        place = self._places[waiter] = _Place(life, waiter, rank)
        if rank is None:
            self._unstarted.append(place)
        else:
            self._queue(place)

    def leave(self, waiter: Waiter) -> None:
        """The waiter wants no ticket any more, and its developer is gone for good. Raises KeyError
        where it does not wait."""
        place = self._places.pop(waiter)
        place.gone = True
        if place.rank is None:
            self._unstarted.remove(place)
        elif place.rank != _SUBAGENT:
            del self._by_rank[place.rank]
            self.forget(place.life)

    def forget(self, life: Life) -> None:
        """The developer is gone for good; another takes its rank."""
        if (rank := self._ranks.pop(life, None)) is not None:
            heappush(self._free_ranks, rank)

    def deal(self) -> list[tuple[Waiter, Due]]:
        """Who gets which of the tickets that are due."""
        dealt = []
        while self._due and (place := self._next()) is not None:
            del self._places[place.waiter]
            dealt.append((place.waiter, self._take(place)))
        return dealt

    def give_up(self) -> list[float]:
        """Due times of the tickets that nobody took; they are gone."""
        return [self._due.take() for _ in range(len(self._due))]

    @property
    def _lowest_free_rank(self) -> int:
        return self._free_ranks[0] if self._free_ranks else len(self._ranks)

    def _rank(self, place: _Place[Waiter]) -> None:
        rank = heappop(self._free_ranks) if self._free_ranks else len(self._ranks)
        place.rank = self._ranks[place.life] = rank

    def _queue(self, place: _Place[Waiter]) -> None:
        assert place.rank is not None
        if place.rank != _SUBAGENT:
            self._by_rank[place.rank] = place
        heap = self._natural if place.rank < self._natural_number else self._spare
        heappush(heap, (place.life.ready_at_s, next(self._order), place))

    def _set_natural_number(self, number: int) -> None:
        before, self._natural_number = self._natural_number, number
        for rank in range(before, number):
            if (place := self._by_rank.get(rank)) is not None:
                heappush(self._natural, (place.life.ready_at_s, next(self._order), place))
        if number < before:
            fallen = [entry for entry in self._natural if (entry[2].rank or 0) >= number]
            self._natural = [entry for entry in self._natural if (entry[2].rank or 0) < number]
            heapify(self._natural)
            for entry in fallen:
                heappush(self._spare, entry)

    def _next(self) -> _Place[Waiter] | None:
        """Who takes the next ticket; it waits no longer."""
        for heap in (self._natural, self._spare):
            while heap:
                place = heappop(heap)[2]
                if not place.gone:
                    place.gone = True
                    if place.rank is not None:
                        self._by_rank.pop(place.rank, None)
                    return place
        if not self._unstarted:
            return None
        place = self._unstarted.popleft()
        place.gone = True
        return place

    def _take(self, place: _Place[Waiter]) -> Due:
        at_s = self._due.take()
        if place.rank is None:
            self._rank(place)
            return Due(at_s, fresh=True)
        return Due(at_s, early_s=max(0.0, place.life.ready_at_s - at_s))


@lru_cache(maxsize=64)
def mean_prompt_tokens(profile: Profile) -> float:
    """The mean prompt of 500 simulated sessions: what a ticket counts before it is taken."""
    return float(fidelity.simulate(profile, _SIMULATED_SESSIONS, seed=0).prompt_tokens.mean())


@lru_cache(maxsize=64)
def developer_tpm(profile: Profile) -> float:
    """Input tokens per minute of a developer who follows its own pauses on an engine that keeps up:

        sum of prompt tokens * 60 / sum of (pause + service)

    over simulated sessions with their sub-agents. Pauses count with their means; the pause of a
    turn that has sub-agents is as long as the longest of them works.
    """
    turns, tokens, seconds = 0, 0, 0.0
    lives = np.random.SeedSequence(0)
    while turns < _SIMULATED_TURNS:
        (life,) = lives.spawn(1)
        work = _work(Session(profile, np.random.default_rng(life), ""))
        turns, tokens, seconds = turns + work.turns, tokens + work.tokens, seconds + work.seconds
    return tokens * 60 / seconds


class _Work(NamedTuple):
    """Of a whole session on its own pauses; tokens: of its sub-agents too."""

    turns: int
    tokens: int
    seconds: float


def _work(session: Session) -> _Work:
    profile = session.profile
    human_s, tool_s = profile.human_gap_s.mean, profile.tool_gap_s.mean
    mixed_s = profile.tool_share * tool_s + (1 - profile.tool_share) * human_s
    pause_s = {"start": human_s, "user": human_s, "tool": tool_s, "compaction": mixed_s}
    turns, tokens, seconds = 0, 0, 0.0
    for turn in iter(session.next_turn, None):
        agents = [_work(session.subagent(k)) for k in range(turn.subagents)]
        turns += 1
        tokens += turn.prompt_tokens + sum(agent.tokens for agent in agents)
        # A sub-agent's first turn has no pause of its own.
        longest_s = max((agent.seconds - human_s for agent in agents), default=0.0)
        seconds += max(pause_s[turn.kind], longest_s) + SERVICE_S
    return _Work(turns, tokens, seconds)
