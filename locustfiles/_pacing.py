"""When a developer sends the next turn: after its own pauses, or when a ticket is due."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import gevent
from gevent.event import AsyncResult, Event

from locustfiles._clock import RunClock
from workload.arrivals import Arrivals, TargetLine, TicketQueue

# Where a developer stands when it waits for a ticket: in the middle of a session, between two
# sessions, or before its first.
Place = Literal["ready", "idle", "unstarted"]

# The dealer looks at the line again this often, in wall seconds, even when nothing changed.
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Due:
    """at_s: when the turn was due, in seconds of the run; grows: the traffic grows by a developer,
    who is met in the middle of a session (else a developer without a session starts a new one)."""

    at_s: float
    grows: bool = False


class OwnPauses:
    """Closed mode: a turn is due when the developer's natural pause is over."""

    def __init__(self, clock: RunClock) -> None:
        self._clock = clock

    def set_tpm(self, tpm: float | None, ramp_s: float) -> None:
        """Nothing to do: in closed mode the traffic emerges."""

    def wait(self, ready_at_s: float, place: Place) -> Due:
        """Sleeps until the pause is over."""
        gevent.sleep(max(0.0, self._clock.wall_s(ready_at_s - self._clock.now_s())))
        return Due(ready_at_s, grows=True)

    def took(self, prompt_tokens: int) -> None:
        """Nothing to do: there is no ticket to account for."""

    def close(self) -> None:
        """Nothing to stop."""


class Tickets:
    """Open mode: a ticket goes to the session that has been ready longest. When none is ready, a
    developer without a session starts one, first one whose session ended (a replacement). When all
    are busy the ticket waits, and its lateness is on record.

    Traffic at a rate needs a natural number of open sessions, rate x cycle / mean prompt. Up to it
    new developers are met in the middle of their work, so that prompt lengths are right from the
    first minute. Beyond it new developers start new sessions: one met in mid-work brings a prompt
    of 88k tokens that no cache holds, and enough of those push an engine near its limit over it
    (docs/decisions/0003).
    """

    def __init__(
        self,
        clock: RunClock,
        line: TargetLine,
        arrivals: Arrivals,
        session_tpm: float,
        on_unsent: Callable[[float], None],
    ) -> None:
        """session_tpm: what one session sends by itself, mean prompt x 60 / cycle; on_unsent: told
        the due time of each ticket that nobody took before the rate fell to 0."""
        self._clock = clock
        self._line = line
        self._arrivals = arrivals
        self._session_tpm = session_tpm
        self._on_unsent = on_unsent
        self._open_sessions = 0
        self._due = TicketQueue()
        # In the order in which they are served.
        self._waiting: dict[Place, deque[AsyncResult]] = {
            "ready": deque(),
            "idle": deque(),
            "unstarted": deque(),
        }
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
        if place == "ready":
            gevent.sleep(max(0.0, self._clock.wall_s(ready_at_s - self._clock.now_s())))
        elif place == "idle":
            self._open_sessions -= 1
        with _queued(self._waiting[place]) as ticket:
            self._match()
            at_s: float = ticket.get()
        natural = self._line.tpm_at(at_s) / self._session_tpm
        grows = place == "unstarted" and self._open_sessions < natural
        self._open_sessions += place != "ready"
        return Due(at_s, grows)

    def took(self, prompt_tokens: int) -> None:
        self._arrivals.took(prompt_tokens)
        self._changed.set()

    def close(self) -> None:
        self._dealer.kill()
        self._give_up()

    def _give_up(self) -> None:
        while self._due:
            self._on_unsent(self._due.take())

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
            self._arrivals.issue()
            self._due.put(due_s)
            self._match()

    def _match(self) -> None:
        for line in self._waiting.values():
            while self._due and line:
                line.popleft().set(self._due.take())


@contextmanager
def _queued(line: deque[AsyncResult]) -> Iterator[AsyncResult]:
    """A place in the line, given up when the developer is stopped while it waits."""
    ticket = AsyncResult()
    line.append(ticket)
    try:
        yield ticket
    finally:
        if not ticket.ready():
            line.remove(ticket)
