"""When a developer sends the next turn: after its own pauses, or when a ticket is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import gevent
from gevent.event import Event

from tokenswarm.shell.keeper import Turn
from tokenswarm.shell.run_clock import DrivenClock, RunClock
from workload.arrivals import Arrivals, TargetLine
from workload.tickets import Due, Place, TicketLine

# The dealer looks at the line again this often, in wall seconds, even when nothing changed.
_LONGEST_WAIT_S = 60.0
# A ticket that the dealer comes to so many wall seconds late is given up: its process was stopped,
# or its machine slept, and a burst of what was missed would be no traffic at the target's rate.
EXPIRED_S = 2.0


class Ticket(Turn):
    """due: which one it is, once it is dealt."""

    due: Due | None = None


class OwnPauses:
    """Closed mode: a turn is due when the developer's natural pause is over."""

    def __init__(self, clock: RunClock) -> None:
        self._clock = clock
        self._held_since_s: float | None = None
        self._free = Event()

    def set_tpm(self, tpm: float | None, ramp_s: float) -> None:
        """Nothing to do: in closed mode the traffic emerges."""

    def wait(self, ready_at_s: float, place: Place) -> Due:
        """Sleeps until the pause is over. It stands still while traffic is held, so that what was
        missed does not come in a burst."""
        self._clock.sleep_until(ready_at_s)
        while self._held_since_s is not None:
            since_s = self._held_since_s
            self._free.wait()
            ready_at_s += self._clock.now_s() - since_s
            self._clock.sleep_until(ready_at_s)
        return Due(ready_at_s, grows=True, free_at_s=ready_at_s)

    def hold(self, since_s: float) -> None:
        """Nobody's pause ends from `since_s` until `go_on`."""
        self._free.clear()
        self._held_since_s = since_s

    def go_on(self) -> None:
        self._held_since_s = None
        self._free.set()

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
        self._tickets: TicketLine[Ticket] = TicketLine(line, arrivals, session_tpm)
        self._last_due_s = 0.0
        self._changed_at_s = 0.0
        self._changed = Event()
        # In driven time the clock asks when the next one is due.
        self._dealer = None if isinstance(clock, DrivenClock) else gevent.spawn(self._deal)
        if isinstance(clock, DrivenClock):
            clock.attach(self)

    def set_tpm(self, tpm: float | None, ramp_s: float) -> None:
        """Towards a new rate from now on. 0 gives up the tickets nobody has taken."""
        self._expire()
        # Before second 0 on a worker whose clock is a little behind; before the last change where
        # the clock was corrected.
        self._changed_at_s = max(self._changed_at_s, self._clock.now_s())
        self._line.set_tpm(self._changed_at_s, tpm or 0.0, ramp_s)
        if not tpm:
            self._give_up()
        self._changed.set()

    def wait(self, ready_at_s: float, place: Place) -> Due:
        """Sleeps until the session is ready, then until it gets a ticket. The start of a session
        knows no pause: the ticket decides."""
        free_at_s = self._clock.now_s()
        if place == "ready":
            self._clock.sleep_until(ready_at_s)
            free_at_s = ready_at_s
        with self._queued(place) as ticket:
            self._match()
            self._clock.wait(ticket)
        assert ticket.due is not None
        return replace(ticket.due, free_at_s=free_at_s)

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

    def next_s(self) -> float:
        """When the next ticket is due; inf while the target is 0."""
        return max(self._last_due_s, self._arrivals.next_due_s())

    def fire(self) -> None:
        """The next ticket is due."""
        self._last_due_s = self.next_s()
        self._tickets.issue(self._last_due_s)
        self._match()

    def close(self) -> None:
        if self._dealer is not None:
            self._dealer.kill()
        self._give_up()

    def _give_up(self) -> None:
        for due_s in self._tickets.give_up():
            self._on_unsent(due_s)

    def hold(self, since_s: float) -> None:
        """No more tickets, of those that are due already neither; the line goes on with the next
        target."""
        self._expire(0.0)
        self.set_tpm(0.0, 0.0)

    def go_on(self) -> None:
        """Nothing to do before the next target."""

    def _expire(self, limit_s: float = EXPIRED_S) -> None:
        """Gives up what is overdue, ticket by ticket, and says so."""
        while self._clock.wall_s(self._clock.now_s() - self.next_s()) > limit_s:
            self._last_due_s = self.next_s()
            self._arrivals.skip()
            self._on_unsent(self._last_due_s)

    def _deal(self) -> None:
        """Issues each ticket when it is due."""
        while True:
            self._expire()
            early_s = self._clock.wall_s(self.next_s() - self._clock.now_s())
            if early_s > 0:
                self._changed.clear()
                self._changed.wait(min(early_s, _LONGEST_WAIT_S))
                continue
            self.fire()
            gevent.sleep(0)  # at a rate beyond what can be dealt, stops and signals come through

    def _match(self) -> None:
        for ticket, due in self._tickets.deal():
            ticket.due = due
            self._clock.hand(ticket)

    @contextmanager
    def _queued(self, place: Place) -> Iterator[Ticket]:
        """A place in the line, given up when the developer is stopped while it waits."""
        ticket = Ticket()
        self._tickets.join(place, ticket)
        try:
            yield ticket
        finally:
            if ticket.due is None:
                self._tickets.leave(place, ticket)
