"""Keeper: leads one virtual clock with an engine. One greenlet acts at a time; when none does, time
goes on: to what is planned first, or to the first answer that ends before it.

A greenlet acts from the moment it is woken until it waits again or its request is on the wire. Who
acts next is decided by virtual time and by order, never by what the host did first, so a run is the
same on every machine.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

import gevent
from gevent.event import AsyncResult, Event

from tokenswarm.shell.agenda import Agenda

# Wall seconds that a greenlet may act: it opens a session or a connection and writes a request of
# 400 KB; a machine that needs a minute for it is not running (guess).
ACT_LIMIT_S = 60.0


class Broken(Exception):
    """Engine and generator have no clock in common any more. Says why."""


class Advanced(NamedTuple):
    """The engine's answer: how far it came, and the requests that ended there, in their order."""

    now_s: float
    ended: tuple[int, ...]


Advance = Callable[[float | None, int], Advanced]  # (until_s, requests sent) -> Advanced


class Source(Protocol):
    """What plans by itself, such as the dealer of tickets."""

    def next_s(self) -> float:
        """When it wants to act; inf: not at all."""

    def fire(self) -> None:
        """It is that time."""


class Turn(AsyncResult):
    """What a greenlet waits for. given_up: it waits no longer."""

    given_up = False


class Request(NamedTuple):
    """number: among all of the run, in the order of sending; answered: to be waited for, the
    engine has come to its end."""

    number: int
    answered: Turn


class Keeper:
    """now_s: virtual seconds since `start`."""

    def __init__(self, advance: Advance, on_broken: Callable[[str], None]) -> None:
        """on_broken: told why, once; time then stands still."""
        self.now_s = 0.0
        self.waiting = 0  # greenlets that wait to act
        self._advance = advance
        self._on_broken = on_broken
        self._agenda: Agenda[Turn] = Agenda()
        self._ready: deque[Turn] = deque()
        self._sources: list[Source] = []
        self._turnstile: dict[int, Turn] = {}
        self._numbers = 0
        self._sent = 0
        self._actor: object | None = None  # a greenlet, or the Turn that has just been given to one
        self._idle = Event()
        self._loop: gevent.Greenlet | None = None

    def start(self) -> None:
        """Second 0: whoever waits now acts when its time comes."""
        self._loop = gevent.spawn(self._lead)

    def close(self) -> None:
        """Time stands still."""
        if self._loop is not None:
            self._loop.kill()

    def attach(self, source: Source) -> None:
        self._sources.append(source)

    def sleep_until(self, at_s: float) -> None:
        """The caller acts again at that second; at once where it has passed."""
        turn = Turn()
        entry = self._agenda.put(max(at_s, self.now_s), turn)
        try:
            self.wait(turn)
        except BaseException:
            self._agenda.drop(entry)
            raise

    def queue(self) -> Turn:
        """A turn that comes after those which are queued already: for a greenlet that begins."""
        turn = Turn()
        self._ready.append(turn)
        return turn

    def hand(self, turn: Turn) -> None:
        """Whoever waits for it acts after those which are queued already."""
        self._ready.append(turn)

    def wait(self, turn: Turn) -> None:
        """The caller acts no longer, until the turn is given to it."""
        self.leave()
        self.waiting += 1
        try:
            turn.get()
        except BaseException:
            turn.given_up = True
            if self._actor is turn:  # it was given and will not be used
                self._rest()
            raise
        finally:
            self.waiting -= 1
        self._actor = gevent.getcurrent()

    def leave(self) -> None:
        """The caller acts no longer. No effect where it does not."""
        if self._actor is gevent.getcurrent():
            self._rest()

    def request(self) -> Request:
        """One that the caller is about to send."""
        request = Request(self._numbers, Turn())
        self._numbers += 1
        self._turnstile[request.number] = request.answered
        return request

    def sent(self) -> None:
        """The caller's request is on the wire."""
        self._sent += 1
        self.leave()

    def _rest(self) -> None:
        self._actor = None
        self._idle.set()

    def _lead(self) -> None:
        try:
            while True:
                while self._ready:
                    self._give(self._ready.popleft())
                self._go_on()
        except Broken as broken:
            self._on_broken(str(broken))

    def _give(self, turn: Turn) -> None:
        if turn.given_up:
            return
        self._actor = turn
        self._idle.clear()
        turn.set()
        with gevent.Timeout(ACT_LIMIT_S, Broken(f"a developer acts for more than {ACT_LIMIT_S} s")):
            while not self._idle.wait(1.0):
                if getattr(self._actor, "dead", False):
                    self._rest()

    def _go_on(self) -> None:
        """To the first thing that happens; whoever is concerned is then ready."""
        planned_s = self._agenda.next_s
        source = min(self._sources, key=lambda s: s.next_s(), default=None)
        source_s = math.inf if source is None else source.next_s()
        until_s = min(planned_s, source_s)
        if until_s > self.now_s:
            until = None if math.isinf(until_s) else until_s
            advanced = self._advance(until, self._sent)
            self.now_s = advanced.now_s
            for number in advanced.ended:
                self._ready.append(self._turnstile.pop(number))
            if advanced.ended or until is None:
                return
        if planned_s <= source_s:
            self._ready.append(self._agenda.pop())
        elif source is not None:
            source.fire()
