"""Deadlines: one timer for all who wait on a hub, instead of one for every read."""

from __future__ import annotations

import math
import time
from typing import Protocol
from weakref import WeakKeyDictionary

from gevent.hub import Hub

NEVER = math.inf


class Waiting(Protocol):
    """due_at: monotonic seconds, NEVER while nothing is waited for. overdue() is called from the
    hub when it has passed, and again while it stays so."""

    due_at: float

    def overdue(self) -> None: ...


class Deadlines:
    """Who waits, and a timer no later than the earliest of their deadlines.

    A deadline that moves on, as a stream's does with every token, costs nothing: a timer that comes
    too early sets itself again. Whoever waits for an earlier moment than `next_at` calls `expect`.
    """

    def __init__(self, hub: Hub) -> None:
        self.next_at = NEVER
        self._loop = hub.loop
        self._timer = hub.loop.timer(0.0, ref=False)
        self._waiting: set[Waiting] = set()

    def join(self, waiting: Waiting) -> None:
        self._waiting.add(waiting)

    def leave(self, waiting: Waiting) -> None:
        self._waiting.discard(waiting)

    def expect(self, due_at: float) -> None:
        """Sweep at that moment at the latest."""
        if due_at >= self.next_at:
            return
        self._timer.close()
        self._timer = self._loop.timer(max(due_at - time.monotonic(), 0.0), ref=False)
        # The loop's own clock stands still while greenlets run; from it the timer would be early.
        self._timer.start(self._sweep, update=True)
        self.next_at = due_at

    def _sweep(self) -> None:
        self.next_at = NEVER
        now = time.monotonic()
        for one in [one for one in self._waiting if one.due_at <= now]:
            if one.due_at <= now:  # still: those before it have run meanwhile
                one.overdue()
        self.expect(min((one.due_at for one in self._waiting), default=NEVER))


_OF_HUBS: WeakKeyDictionary[Hub, Deadlines] = WeakKeyDictionary()


def deadlines_of(hub: Hub) -> Deadlines:
    """The hub's own; each thread has a hub."""
    if hub not in _OF_HUBS:
        _OF_HUBS[hub] = Deadlines(hub)
    return _OF_HUBS[hub]
