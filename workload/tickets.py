"""Tickets: who sends the next turn in open mode, and how the traffic grows. Pure: no clock, no I/O.

Open mode is closed mode retimed. A rate is the work of rate / developer_tpm developers who follow
their own pauses; so many are at work, each met at any moment of its day, and each goes through its
pauses and sessions as it would by itself. Only the second at which a turn is sent is the ticket's:

* A due ticket goes to the developer whose pause has been over longest, else to the one whose pause
  ends next, who sends *early*. While one waits no session starts for a ticket, so the mix of turns
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
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from workload.arrivals import Arrivals, TargetLine, TicketQueue
from workload.life import Due, Life

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
        """developer_tpm: what a developer sends by itself, see workload.rates."""
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
        ever = len(self._ranks) + len(self._free_ranks)
        for rank in range(before, min(number, ever)):
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
