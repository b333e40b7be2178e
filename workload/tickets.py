"""Tickets: who sends the next turn in open mode, and how the traffic grows. Pure: no clock, no I/O.

The same rule deals the tickets of real traffic (`shell.pacing`) and of the embedded engine's
virtual time (`engine.offline.traffic`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, Literal, TypeVar

from workload import fidelity
from workload.arrivals import Arrivals, TargetLine, TicketQueue
from workload.profile import Profile

# Where a developer stands when it waits for a ticket: in the middle of a session, between two
# sessions, or before its first.
Place = Literal["ready", "idle", "unstarted"]

# TTFT and answer of a turn on an engine that keeps up: 8 s of a cycle of 63 s
# (docs/workload.md 7.1).
_SERVICE_S = 8.0

Waiter = TypeVar("Waiter")


@dataclass(frozen=True, slots=True)
class Due:
    """at_s: when the turn was due, in seconds of the run; grows: the traffic grows by a developer,
    who is met in the middle of a session (else a developer without a session starts a new one);
    free_at_s: when the developer was free to send it, where its waiting was timed."""

    at_s: float
    grows: bool = False
    free_at_s: float | None = None


class TicketLine(Generic[Waiter]):
    """A ticket goes to the session that has been ready longest. When none is ready, a developer
    without a session starts one, first one whose session ended (a replacement). When all are busy
    the ticket waits, and its lateness is on record.

    Traffic at a rate needs a natural number of open sessions, rate x cycle / mean prompt. Up to it
    new developers are met in the middle of their work, so that prompt lengths are right from the
    first minute. Beyond it new developers start new sessions: one met in mid-work brings a prompt
    of 88k tokens that no cache holds, and enough of those push an engine near its limit over it
    (docs/decisions/0003).
    """

    def __init__(self, line: TargetLine, arrivals: Arrivals, session_tpm: float) -> None:
        """session_tpm: what one session sends by itself, see `session_tpm`."""
        self._line = line
        self._arrivals = arrivals
        self._session_tpm = session_tpm
        self._open_sessions = 0
        self._due = TicketQueue()
        # In the order in which they are served.
        self._waiting: dict[Place, deque[Waiter]] = {
            "ready": deque(),
            "idle": deque(),
            "unstarted": deque(),
        }

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

    def join(self, place: Place, waiter: Waiter) -> None:
        """The waiter wants a ticket; "idle" says that its session is over."""
        self._open_sessions -= place == "idle"
        self._waiting[place].append(waiter)

    def leave(self, place: Place, waiter: Waiter) -> None:
        """The waiter wants no ticket any more. Raises ValueError where it does not wait."""
        self._waiting[place].remove(waiter)

    def deal(self) -> list[tuple[Waiter, Due]]:
        """Who gets which of the tickets that are due."""
        dealt = []
        for place, waiting in self._waiting.items():
            while self._due and waiting:
                dealt.append((waiting.popleft(), self._take(place)))
        return dealt

    def give_up(self) -> list[float]:
        """Due times of the tickets that nobody took; they are gone."""
        return [self._due.take() for _ in range(len(self._due))]

    def _take(self, place: Place) -> Due:
        at_s = self._due.take()
        natural = self._line.tpm_at(at_s) / self._session_tpm
        grows = place == "unstarted" and self._open_sessions < natural
        self._open_sessions += place != "ready"
        return Due(at_s, grows)


@lru_cache(maxsize=64)
def mean_prompt_tokens(profile: Profile) -> float:
    """The mean prompt of 500 simulated sessions: what a ticket counts before it is taken."""
    return float(fidelity.simulate(profile, 500, seed=0).prompt_tokens.mean())


def session_tpm(profile: Profile) -> float:
    """Input tokens per minute of one session that follows its own pauses:

    mean prompt * 60 / (mean gap + service), the service being 8 s
    """
    gap_s = profile.tool_share * profile.tool_gap_s.mean
    gap_s += (1 - profile.tool_share) * profile.human_gap_s.mean
    return mean_prompt_tokens(profile) * 60 / (gap_s + _SERVICE_S)
