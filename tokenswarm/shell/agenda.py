"""Agenda: what is to happen when, in virtual seconds. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(order=True, slots=True)
class Entry(Generic[Item]):
    """at_s first, then the order in which they were put there."""

    at_s: float
    number: int
    item: Item = field(compare=False)
    dropped: bool = field(default=False, compare=False)


class Agenda(Generic[Item]):
    """Items come out by time; of one time, as they were put in."""

    def __init__(self) -> None:
        self._entries: list[Entry[Item]] = []
        self._numbers = count()

    @property
    def next_s(self) -> float:
        """Of the first entry; inf without one."""
        while self._entries and self._entries[0].dropped:
            heappop(self._entries)
        return self._entries[0].at_s if self._entries else math.inf

    def put(self, at_s: float, item: Item) -> Entry[Item]:
        """Raises ValueError for a time that is none."""
        if math.isnan(at_s):
            raise ValueError("at_s is not a number")
        entry = Entry(at_s, next(self._numbers), item)
        heappush(self._entries, entry)
        return entry

    def drop(self, entry: Entry[Item]) -> None:
        """It will not come out any more."""
        entry.dropped = True

    def pop(self) -> Item:
        """The first. Raises IndexError without one."""
        if math.isinf(self.next_s):
            raise IndexError("the agenda is empty")
        return heappop(self._entries).item
