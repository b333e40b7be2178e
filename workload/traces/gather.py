"""Gather: requests, one by one as a file has them, to the sessions of a trace.

A reader of a format opens each session, adds its requests in the order of their sending, and knows
nothing of prefixes; hashes of blocks are dropped as soon as they are looked up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from workload.traces.prefixes import Prefixes
from workload.traces.turns import (
    MAX_SESSION_TURNS,
    MAX_TURNS,
    Place,
    Trace,
    TracedSession,
    TracedTurn,
    TraceError,
)

# How long an answer took where the trace does not say: TTFT and answer of a turn on an engine that
# keeps up (docs/workload.md 7.1).
SERVICE_S = 8.0
# A last block that is not full has no hash, or one of its own. Up to this size of a block a prompt
# that shares all full blocks of an earlier one of its session is taken to go on from its very end.
_APPENDED_BLOCK_TOKENS = 64
_MAX_TOKENS = 10_000_000  # guess: no model takes a prompt near it


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The hashes of a prompt's blocks, `size_tokens` each."""

    ids: Sequence[int]
    size_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a format says of one request. at_s: when it was sent, on the clock of the whole trace;
    service_s: until its answer's end; gap_s: from the previous answer's end, where the format says
    so; kind: "tool" or "user", None where unknown; content: its blocks, or how many tokens
    it has kept of the prompt before it in its session."""

    at_s: float
    prompt_tokens: int
    output_tokens: int
    content: Blocks | int
    service_s: float | None = None
    gap_s: float | None = None
    kind: str | None = None


@dataclass(slots=True)
class _Open:
    """A session that is being read."""

    name: str
    prefixes: Prefixes
    parent: int | None
    opening_tokens: int | None
    turns: list[TracedTurn] = field(default_factory=list)
    first_s: float = 0.0  # when its first request was sent
    ended_s: float = 0.0  # when its last answer ended
    agents: list[int] = field(default_factory=list)  # that the next turn waits for
    agents_end_s: float = -math.inf


class Gatherer:
    """`open` a session, `add` its requests; sub-agents are opened and filled between the requests
    of their parent that came before and after them. `trace` in the end."""

    def __init__(self, name: str, format: str) -> None:
        self._name, self._format = name, format
        self._sessions: list[_Open] = []
        self._turns = 0

    def open(
        self,
        name: str,
        prefixes: Prefixes,
        *,
        parent: int | None = None,
        opening_tokens: int | None = None,
    ) -> int:
        """The number of a new session. prefixes: shared with the sessions whose hashes mean the
        same; parent: whose next turn waits for it."""
        self._sessions.append(_Open(name, prefixes, parent, opening_tokens))
        number = len(self._sessions) - 1
        if parent is not None:
            self._sessions[parent].agents.append(number)
        return number

    def add(self, number: int, request: Request) -> None:
        """Raises TraceError for a request that cannot be, or is one too many."""
        session = self._sessions[number]
        where = f"{session.name}, request {len(session.turns)}"
        self._check(session, where, request)
        place = Place(number, len(session.turns))
        like, kept_tokens = self._kept(session, place, request, where)
        if not session.turns:
            session.first_s = request.at_s
        session.turns.append(self._turn(session, request, like, kept_tokens))
        service_s = SERVICE_S if request.service_s is None else request.service_s
        session.ended_s = request.at_s + service_s
        session.agents, session.agents_end_s = [], -math.inf
        self._turns += 1
        if session.parent is not None:
            parent = self._sessions[session.parent]
            parent.agents_end_s = max(parent.agents_end_s, session.ended_s)

    def trace(self) -> Trace:
        """Raises TraceError where there is nothing to replay."""
        if not self._turns:
            raise TraceError(f"{self._name}: no request in it; accepted: at least one")
        common = self._common_tokens()
        sessions = tuple(
            TracedSession(
                name=session.name,
                turns=tuple(
                    replace(turn, common_tokens=common[Place(n, k)])
                    if Place(n, k) in common
                    else turn
                    for k, turn in enumerate(session.turns)
                ),
                parent=session.parent,
                opening_tokens=session.opening_tokens,
            )
            for n, session in enumerate(self._sessions)
        )
        return Trace(self._name, self._format, sessions)

    def _check(self, session: _Open, where: str, request: Request) -> None:
        if self._turns >= MAX_TURNS:
            raise TraceError(
                f"{self._name}: more than {MAX_TURNS:,} requests; accepted: fewer, as in a part of "
                "the trace"
            )
        if len(session.turns) >= MAX_SESSION_TURNS:
            raise TraceError(
                f"{session.name}: more than {MAX_SESSION_TURNS:,} requests in one session; "
                "accepted: fewer"
            )
        if not (request.at_s >= 0 and math.isfinite(request.at_s)):
            raise TraceError(f"{where}: sent at {request.at_s} s; accepted: times from 0 on")
        if session.turns and request.at_s < session.first_s + session.turns[-1].at_s:
            before_s = session.first_s + session.turns[-1].at_s
            raise TraceError(
                f"{where}: sent at {request.at_s:g} s, before the one before it ({before_s:g} s); "
                "accepted: requests in the order of their times"
            )
        for what, value in (("service", request.service_s), ("pause", request.gap_s)):
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise TraceError(f"{where}: {what} of {value} s; accepted: 0 or more")
        for what, tokens, least in (
            ("prompt", request.prompt_tokens, 1),
            ("output", request.output_tokens, 0),
        ):
            if not least <= tokens <= _MAX_TOKENS:
                raise TraceError(
                    f"{where}: {what} of {tokens} tokens; accepted: {least} to {_MAX_TOKENS:,}"
                )

    def _kept(
        self, session: _Open, place: Place, request: Request, where: str
    ) -> tuple[Place | None, int]:
        """The earlier turn that this one begins like, and how far."""
        content = request.content
        if isinstance(content, int):
            before = session.turns[-1] if session.turns else None
            longest = min(request.prompt_tokens, before.prompt_tokens) if before else 0
            if not 0 <= content <= longest:
                raise TraceError(
                    f"{where}: {content} tokens kept; accepted: 0 to {longest}, what the prompt "
                    "and the one before it have"
                )
            return (Place(place.session, place.turn - 1), content) if content else (None, 0)
        return self._begun_like(session, place, content, request.prompt_tokens, where)

    def _begun_like(
        self, session: _Open, place: Place, blocks: Blocks, prompt_tokens: int, where: str
    ) -> tuple[Place | None, int]:
        size = blocks.size_tokens
        if size < 1:
            raise TraceError(f"{where}: blocks of {size} tokens; accepted: 1 or more")
        if len(blocks.ids) > -(-prompt_tokens // size):
            raise TraceError(
                f"{where}: {len(blocks.ids)} blocks of {size} tokens for a prompt of "
                f"{prompt_tokens}; accepted: one hash for each block of it"
            )
        like, shared = session.prefixes.place(blocks.ids, place)
        if like is None:
            return None, 0
        kept_tokens = min(shared * size, prompt_tokens)
        earlier_tokens = self._sessions[like.session].turns[like.turn].prompt_tokens
        appended = (
            size <= _APPENDED_BLOCK_TOKENS
            and like.session == place.session
            and shared >= earlier_tokens // size
        )
        if appended:
            return like, min(earlier_tokens, prompt_tokens)
        return like, min(kept_tokens, earlier_tokens)

    def _turn(
        self, session: _Open, request: Request, like: Place | None, kept_tokens: int
    ) -> TracedTurn:
        agents = tuple(session.agents)
        if session.turns:
            free_s = max(session.ended_s, session.agents_end_s)
            gap_s = request.gap_s
            if gap_s is None or agents:
                gap_s = max(0.0, request.at_s - free_s)
            at_s = request.at_s - session.first_s
            kind = self._kind(session.turns[-1], request, kept_tokens)
        else:
            # A sub-agent begins with its parent's answer, or as much later as it did.
            parent = None if session.parent is None else self._sessions[session.parent]
            at_s = gap_s = max(0.0, request.at_s - parent.ended_s) if parent else 0.0
            session.first_s -= at_s
            kind = "start"
        return TracedTurn(
            at_s=at_s,
            gap_s=gap_s,
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.output_tokens,
            kind=kind,
            like=like,
            kept_tokens=kept_tokens,
            agents=agents,
        )

    @staticmethod
    def _kind(before: TracedTurn, request: Request, kept_tokens: int) -> str:
        """A prompt that has lost text and is shorter than the one before it was compacted."""
        if kept_tokens < before.prompt_tokens and request.prompt_tokens < before.prompt_tokens:
            return "compaction"
        return request.kind or "tool"

    def _common_tokens(self) -> dict[Place, int]:
        """Of each prompt, the beginning that sessions of another tree have as well."""
        roots: list[int] = []
        for number, session in enumerate(self._sessions):
            roots.append(number if session.parent is None else roots[session.parent])
        common: dict[Place, int] = {}
        for number, session in enumerate(self._sessions):
            for turn in session.turns:
                if turn.like is not None and roots[turn.like.session] != roots[number]:
                    self._mark(common, turn.like, turn.kept_tokens)
        return common

    def _mark(self, common: dict[Place, int], place: Place | None, tokens: int) -> None:
        """Another tree has this prompt's first tokens, and so those that it took over."""
        while place is not None and tokens > common.get(place, 0):
            common[place] = tokens
            turn = self._sessions[place.session].turns[place.turn]
            place, tokens = turn.like, min(tokens, turn.kept_tokens)
