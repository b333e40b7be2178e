"""When a developer sends the next turn: after its own pauses, or when a ticket is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import gevent
from gevent.event import AsyncResult, Event

from tokenswarm.shell.run_clock import RunClock
from workload.arrivals import Arrivals, TargetLine
from workload.tickets import Due, Place, TicketLine

# The dealer looks at the line again this often, in wall seconds, even when nothing changed.
_LONGEST_WAIT_S = 60.0


class OwnPauses:
    """Closed mode: a turn is due when the developer's natural pause is over."""

    def __init__(self, clock: RunClock) -> None:
        self._clock = clock

    def set_tpm(self, tpm: float | None, ramp_s: float) -> None:
        """Nothing to do: in closed mode the traffic emerges."""

    def wait(self, ready_at_s: float, place: Place) -> Due:
        """Sleeps until the pause is over."""
        gevent.sleep(max(0.0, self._clock.wall_s(ready_at_s - self._clock.now_s())))
        return Due(ready_at_s, grows=True, free_at_s=ready_at_s)

    @property
    def waiting_tickets(self) -> None:
        """There are none in closed mode."""
        return None

    @property
    def oldest_waiting_s(self) -> None:
        """There are none in closed mode."""
        return None

    def took(self, prompt_tokens: int) -> None:
        """Nothing to do: there is no ticket to account for."""

    def close(self) -> None:
        """Nothing to stop."""


class Tickets:
    """Open mode: tickets fall due along the target line, `TicketLine` says who gets them."""

    def __init__(
        self,
        clock: RunClock,
        line: TargetLine,
        arrivals: Arrivals,
        session_tpm: float,
        on_unsent: Callable[[float], None],
    ) -> None:
        """session_tpm: what one session sends by itself; on_unsent: told the due time of each
        ticket that nobody took before the rate fell to 0."""
        self._clock = clock
        self._line = line
        self._arrivals = arrivals
        self._on_unsent = on_unsent
        self._tickets: TicketLine[AsyncResult] = TicketLine(line, arrivals, session_tpm)
        self._changed = Event()
        self._dealer = gevent.spawn(self._deal)

    def set_tpm(self, tpm: float | None, ramp_s: float) -> None:
        """Towards a new rate from now on. 0 gives up the tickets nobody has taken."""
        # A worker whose wall clock is behind the master's may be before second 0.
        self._line.set_tpm(max(0.0, self._clock.now_s()), tpm or 0.0, ramp_s)
        if not tpm:
            self._give_up()
        self._changed.set()

    def wait(self, ready_at_s: float, place: Place) -> Due:
        """Sleeps until the session is ready, then until it gets a ticket. The start of a session
        knows no pause: the ticket decides."""
        free_at_s = self._clock.now_s()
        if place == "ready":
            gevent.sleep(max(0.0, self._clock.wall_s(ready_at_s - free_at_s)))
            free_at_s = ready_at_s
        with self._queued(place) as ticket:
            self._match()
            due: Due = ticket.get()
        return replace(due, free_at_s=free_at_s)

    @property
    def waiting_tickets(self) -> int:
        """Due, and not taken by a developer."""
        return self._tickets.untaken

    @property
    def oldest_waiting_s(self) -> float | None:
        """When the oldest of them was due."""
        return self._tickets.oldest_untaken_s

    def took(self, prompt_tokens: int) -> None:
        self._arrivals.took(prompt_tokens)
        self._changed.set()

    def close(self) -> None:
        self._dealer.kill()
        self._give_up()

    def _give_up(self) -> None:
        for due_s in self._tickets.give_up():
            self._on_unsent(due_s)

    def _deal(self) -> None:
        """Issues each ticket when it is due."""
        last_due_s = 0.0
        while True:
            due_s = max(last_due_s, self._arrivals.next_due_s())
            early_s = self._clock.wall_s(due_s - self._clock.now_s())
            if early_s > 0:
                self._changed.clear()
                self._changed.wait(min(early_s, _LONGEST_WAIT_S))
                continue
            last_due_s = due_s
            self._tickets.issue(due_s)
            self._match()

    def _match(self) -> None:
        for ticket, due in self._tickets.deal():
            ticket.set(due)

    @contextmanager
    def _queued(self, place: Place) -> Iterator[AsyncResult]:
        """A place in the line, given up when the developer is stopped while it waits."""
        ticket = AsyncResult()
        self._tickets.join(place, ticket)
        try:
            yield ticket
        finally:
            if not ticket.ready():
                self._tickets.leave(place, ticket)
