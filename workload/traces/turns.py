"""Turns of a trace: what a file of recorded requests says, whatever its format. Numbers only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_TURNS = 1_000_000  # guess: about half a gigabyte of numbers
MAX_SESSION_TURNS = 20_000  # guess: a prompt is written message by message, each turn anew


class TraceError(ValueError):
    """A trace that cannot be replayed: names the place, the value, and what is accepted."""


class Place(NamedTuple):
    """A turn of a trace: the number of its session (sub-agents have numbers too), and its own."""

    session: int
    turn: int


@dataclass(frozen=True, slots=True)
class TracedTurn:
    """One recorded request.

    at_s: when it was sent, since the session's first (a sub-agent's since its parent's answer);
    gap_s: from the previous answer's end, or that of the last sub-agent, to this request; kind:
    "start", "tool", "user" or "compaction"; like: the earlier turn whose prompt it begins with, as
    far as `kept_tokens`; common_tokens: the beginning that a session of another developer has too;
    agents: numbers of the sub-agents that it waits for.
    """

    at_s: float
    gap_s: float
    prompt_tokens: int
    output_tokens: int
    kind: str
    like: Place | None
    kept_tokens: int
    common_tokens: int = 0
    agents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TracedSession:
    """name: as the trace has it; parent: the number of the session whose sub-agent it is;
    opening_tokens: of tools and system text, where the trace says so."""

    name: str
    turns: tuple[TracedTurn, ...]
    parent: int | None = None
    opening_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """All sessions, in the order of the file, sub-agents among them."""

    name: str
    format: str
    sessions: tuple[TracedSession, ...]

    def turn(self, place: Place) -> TracedTurn:
        return self.sessions[place.session].turns[place.turn]

    @property
    def roots(self) -> list[int]:
        """Numbers of the sessions that are nobody's sub-agents."""
        return [n for n, session in enumerate(self.sessions) if session.parent is None]

    def turns(self) -> Iterator[TracedTurn]:
        for session in self.sessions:
            yield from session.turns
