"""Life: what a developer does next. Pure: no clock, no I/O; time is passed in.

The same rules move the developers of real traffic (`shell.developer`) and those of the embedded
engine's virtual time (`engine.offline.traffic`):

* A developer works through endless sessions, a sub-agent through one.
* It waits in a place (`tickets.Place`) until it may send. The first ticket says whether it is met
  in the middle of its work (`Due.grows`) or starts a new session: then that first one is dropped.
* After a turn comes the session's next one, after the pause that is natural for it. A server that
  said how long to stay away is obeyed: the longer of the two counts.
* A prompt that was too long for the engine ends the session. Every other outcome goes on,
  failures too: the session's numbers do not depend on what the engine answers.
* A turn that has sub-agents waits until the last of them is through, and is ready then or after its
  own pause, whichever is later.
* At the end of the run a life rests: nothing more is sent, turns under way may end.

Who follows whom is in `_MOVES`; a move that is not there is a `LifeError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from workload.session import Turn
from workload.source import SourceSession
from workload.tickets import Due, Place

# Where a life stands: in a place where it waits, with a turn that it sends, behind its sub-agents,
# or at its end.
State = Literal["unstarted", "idle", "ready", "taken", "agents", "over"]
Move = Literal["take", "next", "next_behind_agents", "agents_over", "session_over", "end"]

# Outcomes after which the session does not go on.
ENDS_SESSION = frozenset({"context_overflow"})

_MOVES: dict[State, dict[Move, State]] = {
    "unstarted": {"take": "taken", "end": "over"},
    "idle": {"take": "taken", "end": "over"},
    "ready": {"take": "taken", "end": "over"},
    "taken": {
        "take": "taken",  # the turn was not sent: its driver failed, or the run was at its end
        "next": "ready",
        "next_behind_agents": "agents",
        "session_over": "idle",
        "end": "over",
    },
    "agents": {"agents_over": "ready"},
    "over": {},
}
_PLACES: dict[State, Place] = {
    "unstarted": "unstarted",
    "idle": "idle",
    "ready": "ready",
    "taken": "ready",
}


class LifeError(Exception):
    """A move that the state does not know."""


class Life:
    """`open` a session, wait in `place`, `take` a ticket, `end` the turn; and again.

    turn: the one that comes next or is under way; ready_at_s: when its pause is over. Both mean
    something only while a session is open.
    """

    def __init__(self, sessions: Iterable[SourceSession], *, agent: bool = False) -> None:
        """agent: a sub-agent. It waits as one in the middle of a session does, and when its
        session is over so is its life."""
        self.ready_at_s = 0.0
        self.state: State = "ready" if agent else "unstarted"
        self._sessions: Iterator[SourceSession] = iter(sessions)
        self._agent = agent
        self._session: SourceSession | None = None
        self._turn: Turn | None = None
        self._agents_at_work = 0
        self._begun_s = 0.0  # when the session's first turn was ready

    @property
    def has_session(self) -> bool:
        """Whether a session is open."""
        return self._session is not None

    @property
    def session(self) -> SourceSession:
        """The one that is open. Raises LifeError without one."""
        if self._session is None:
            raise LifeError(f"{self.state}: no session is open")
        return self._session

    @property
    def turn(self) -> Turn:
        """Raises LifeError without a session."""
        if self._turn is None:
            raise LifeError(f"{self.state}: no session is open")
        return self._turn

    @property
    def place(self) -> Place:
        """Where it waits. Raises LifeError where it does not."""
        if (place := _PLACES.get(self.state)) is None:
            raise LifeError(f"{self.state}: waits for no turn")
        return place

    def open(self) -> bool:
        """The next session that has a first turn. False when there is none: the life is over."""
        for session in self._sessions:
            if (turn := session.next_turn()) is not None:
                self._session, self._turn = session, turn
                return True
        self._move("end")
        return False

    def pause(self, now_s: float) -> None:
        """The pause before a session's first turn begins."""
        self.ready_at_s = self._begun_s = now_s + self.turn.gap_s

    def take(self, due: Due) -> None:
        """Its turn has come. Opens a session where none is open yet."""
        if not self.has_session:
            self.open()
        if self.state == "unstarted" and not due.grows:
            self.open()  # after the first, every session is a new one
        self._move("take")

    def may_send(self, *, resting: bool) -> bool:
        """Whether the turn that was taken is sent; at rest it is not."""
        return self.state == "taken" and not resting

    def end(
        self,
        outcome: str,
        ended_at_s: float,
        retry_after_s: float = 0.0,
        pause_s: float | None = None,
    ) -> State:
        """The turn is over. Says where the life stands: "ready" to wait for its next turn, with
        "agents" to run first, or with its session over ("idle"; "over" for a sub-agent). pause_s:
        instead of the one that is natural for the next turn."""
        if self.state != "taken":
            raise LifeError(f"{self.state}: no turn is under way")
        turn = None if outcome in ENDS_SESSION else self.session.next_turn()
        self._turn = turn
        if turn is None:
            self._session = None
            return self._move("end" if self._agent else "session_over")
        if pause_s is None:
            pause_s = turn.gap_s
            if turn.at_s is not None:
                pause_s = self._begun_s + turn.at_s - ended_at_s
        self.ready_at_s = ended_at_s + max(pause_s, retry_after_s, 0.0)
        return self._move("next_behind_agents" if turn.subagents else "next")

    def call_agents(self) -> list[Life]:
        """The sub-agents that the next turn waits for, who work side by side. Each has to be
        reported by `agent_over`."""
        if self.state != "agents":
            raise LifeError(f"{self.state}: no sub-agents are called")
        self._agents_at_work = self.turn.subagents
        return [Life([self.session.subagent(k)], agent=True) for k in range(self._agents_at_work)]

    def agent_over(self, now_s: float) -> bool:
        """A sub-agent is through. True when it was the last one: the life is ready again."""
        if self.state != "agents" or not self._agents_at_work:
            raise LifeError(f"{self.state}: no sub-agent is at work")
        self._agents_at_work -= 1
        if self._agents_at_work:
            return False
        behind_s = self.turn.gap_s if self.turn.pause_behind_agents else 0.0
        self.ready_at_s = max(self.ready_at_s, now_s + behind_s)
        self._move("agents_over")
        return True

    def give_up_agents(self) -> None:
        """The life waits no longer for sub-agents that failed."""
        self._agents_at_work = 0
        self._move("agents_over")

    def _move(self, move: Move) -> State:
        try:
            self.state = _MOVES[self.state][move]
        except KeyError:
            raise LifeError(f"{self.state}: no {move}") from None
        return self.state
