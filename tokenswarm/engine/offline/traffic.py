"""Traffic: developers at work in virtual time. The same sessions and tickets as over HTTP.

What `shell` does with greenlets, sockets and a wall clock happens here on an agenda of virtual
seconds: `workload.session` says what is sent, `workload.life` what a developer does next,
`workload.tickets` who sends next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Literal

import numpy as np

from tokenswarm.engine.core.engine import Emission
from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS, Segment
from tokenswarm.engine.core.scheduler import QueueFull
from tokenswarm.engine.core.sequence import Sequence
from tokenswarm.engine.offline.text import conversation
from tokenswarm.measure.decode import decode_tps
from workload.arrivals import Arrivals, TargetLine
from workload.life import Due, Life
from workload.prompts import Conversation
from workload.session import FROM_NOTHING, Session, Turn
from workload.source import Source, SourceSession, developer_tpm, mean_prompt_tokens, sessions
from workload.spans import Span
from workload.tickets import TicketLine
from workload.tokens import GENERATION_PROMPT_TOKENS

# scripted: histories carry replies of the workload's own, as over HTTP, so a cache holds the last
# prompt; echo: they carry the engine's reply, so it holds that as well.
History = Literal["scripted", "echo"]

RETRY_AFTER_S = 1.0  # as the server answers a full queue
NEVER = math.inf


@dataclass(slots=True, eq=False, kw_only=True)
class SimulatedTurn:
    """One turn as the simulated engine served it. Names and definitions are those of
    measure.record.TurnRecord (tests/engine/offline/test_offline.py compares them)."""

    session: str
    turn: int
    kind: str
    ideal_cached_tokens: int
    scheduled_at_s: float
    sent_at_s: float
    sequence: Sequence
    cancel_after_chunks: int | None
    early_s: float
    output_chunks: int = 0
    ended_at_s: float | None = None
    outcome: str = "unfinished"

    @property
    def prompt_tokens(self) -> int:
        return self.sequence.prompt_tokens

    @property
    def output_tokens(self) -> int:
        return self.sequence.num_emitted

    @property
    def cached_tokens(self) -> int | None:
        return self.sequence.cached_tokens

    @property
    def replica(self) -> str:
        return str(self.sequence.replica)

    @property
    def first_token_at_s(self) -> float | None:
        return self.sequence.first_token_at_s

    @property
    def ttft_s(self) -> float | None:
        """first_token_at - sent_at."""
        first_s = self.first_token_at_s
        return None if first_s is None else first_s - self.sent_at_s

    @property
    def decode_tps(self) -> float | None:
        """As measure.decode: the first chunk is one token."""
        if self.ended_at_s is None or self.first_token_at_s is None:
            return None
        tps = float(
            decode_tps(
                output_tokens=self.output_tokens,
                output_chunks=self.output_chunks,
                first_token_at_s=self.first_token_at_s,
                last_token_at_s=self.ended_at_s,
                first_chunk_tokens=1,
            )
        )
        return None if math.isnan(tps) else tps


class Work:
    """A developer or a sub-agent at work: its life, and the content of its prompts.

    parent: whose next turn waits for this sub-agent; None for a developer.
    """

    def __init__(self, life: Life, parent: Work | None = None) -> None:
        self.life = life
        self.parent = parent
        self._segments: tuple[Segment, ...] = ()
        self._held_tokens = 0
        self._text: tuple[SourceSession, Conversation] | None = None

    def advance(
        self, sequence_id: int, history: History, text_seed: int | None
    ) -> tuple[Sequence, int]:
        """The sequence of the next turn, and its ideal cached tokens. text_seed: of the text that
        says how long prompts are, None for the sessions' plans."""
        turn = self.life.turn
        if turn.content is not None:
            content = _of_spans(turn.content)
            sequence = _sequence(sequence_id, turn, turn.prompt_tokens, content)
            return sequence, turn.ideal_cached_tokens
        prompt_tokens, shared_tokens = turn.prompt_tokens, turn.ideal_cached_tokens
        if text_seed is not None:
            said = self._conversation(text_seed)
            said.advance(turn)
            prompt_tokens, shared_tokens = said.prompt_tokens, said.shared.tokens
        if turn.kind in FROM_NOTHING:
            self._segments = _extended((), ("shared", shared_tokens), shared_tokens)
            self._held_tokens = shared_tokens
        ideal_tokens = self._held_tokens
        name = (turn.session, turn.index)
        # What the next prompt repeats ends before the opened reply (server.prompt_tokens).
        kept_tokens = prompt_tokens - GENERATION_PROMPT_TOKENS
        prompt = _extended(self._segments, name, kept_tokens)
        echoes = history == "echo"
        # An echo is of what was surely streamed; what comes after it in the cache nobody asks for.
        replied_tokens = prompt_tokens + (turn.reply_tokens if echoes else turn.output_tokens)
        whole = _extended(prompt, (*name, "reply"), replied_tokens)
        self._segments = whole if echoes else prompt
        self._held_tokens = replied_tokens if echoes else kept_tokens
        return _sequence(sequence_id, turn, prompt_tokens, whole), ideal_tokens

    def _conversation(self, seed: int) -> Conversation:
        session = self.life.session
        if self._text is None or self._text[0] is not session:
            assert isinstance(session, Session)  # turns of a trace bring their content along
            self._text = session, conversation(session, seed)
        return self._text[1]


def _sequence(
    sequence_id: int, turn: Turn, prompt_tokens: int, segments: tuple[Segment, ...]
) -> Sequence:
    return Sequence(
        id=sequence_id,
        prompt_tokens=prompt_tokens,
        output_tokens=turn.output_tokens,
        segments=segments,
        session=turn.session,
    )


def _of_spans(content: Iterable[Span]) -> tuple[Segment, ...]:
    segments: tuple[Segment, ...] = ()
    for span in content:
        segments = _extended(segments, span.key, span.end_tokens)
    return segments


def _extended(segments: tuple[Segment, ...], key: Hashable, num_tokens: int) -> tuple[Segment, ...]:
    """With another piece up to `num_tokens`; unchanged where it fills no block."""
    end = num_tokens // BLOCK_TOKENS
    return (
        (*segments, Segment(key, end)) if end > (segments[-1].end if segments else 0) else segments
    )


class Traffic:
    """Closed mode: every developer follows its own pauses. `OpenTraffic` is the open mode.

    `next_s` and `advance` are its agenda; `answer` takes what the engine emitted. `turns` are all
    turns sent, in the order of sending.
    """

    def __init__(
        self,
        fleet: Fleet,
        source: Source,
        seed: int,
        *,
        context_tokens: int,
        history: History = "scripted",
        text: bool = False,
    ) -> None:
        self.turns: list[SimulatedTurn] = []
        self.unsent_at_s: list[float] = []  # due times of tickets that nobody took
        self._fleet = fleet
        self._source = source
        self._seed = seed
        self._context_tokens = context_tokens
        self._history = history
        self._text_seed = seed if text else None
        self._resting = False
        self._under_way: dict[int, tuple[Work, SimulatedTurn]] = {}
        self._ids = count()
        self._order = count()  # of what is due at the same time
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []

    @property
    def in_flight(self) -> int:
        """Turns sent and not ended."""
        return len(self._under_way)

    def begin(self, developers: int) -> None:
        """They are met at second 0, each at any moment of its day."""
        for work in self._developers(developers):
            work.life.begin(0.0)
            self._wait(work, 0.0)

    def _developers(self, developers: int) -> list[Work]:
        """None of them has opened a session."""
        return [
            Work(Life(sessions(self._source, self._seed, 0, number)))
            for number in range(developers)
        ]

    def rest(self, now_s: float) -> None:
        """Nothing more is sent; turns under way go on."""
        self._resting = True

    def next_s(self) -> float:
        """When `advance` is due; NEVER when nothing is."""
        return self._agenda[0][0] if self._agenda else NEVER

    def advance(self) -> None:
        """Does what is due at `next_s`."""
        at_s, _, action = heappop(self._agenda)
        action(at_s)

    def answer(self, emissions: list[Emission], now_s: float) -> None:
        """The engine's step ended at `now_s` with these tokens."""
        for sequence, _, finished in emissions:
            work, seen = self._under_way[sequence.id]
            seen.output_chunks += 1
            if finished:
                self.at(now_s, partial(self._end, work, seen, "ok"))
            elif seen.output_chunks == seen.cancel_after_chunks:
                self.at(now_s, partial(self._end, work, seen, "cancelled"))

    def at(self, at_s: float, action: Callable[[float], None]) -> None:
        """Puts an action on the agenda; it is called with its time."""
        heappush(self._agenda, (at_s, next(self._order), action))

    def _wait(self, work: Work, now_s: float) -> None:
        """Sends the work's turn when its pause is over."""
        self.at(work.life.ready_at_s, lambda at_s: self._send(work, Due(at_s), at_s))

    def _took(self, prompt_tokens: int) -> None:
        """A ticket was used."""

    def _send(self, work: Work, due: Due, now_s: float) -> None:
        life = work.life
        life.take(due)
        if not life.may_send(resting=self._resting):
            return
        turn = life.turn
        sequence, ideal_tokens = work.advance(next(self._ids), self._history, self._text_seed)
        seen = SimulatedTurn(
            session=turn.session,
            turn=turn.index,
            kind=turn.kind,
            ideal_cached_tokens=ideal_tokens,
            scheduled_at_s=due.at_s,
            sent_at_s=now_s,
            sequence=sequence,
            cancel_after_chunks=turn.cancel_after_chunks,
            early_s=due.early_s,
        )
        self.turns.append(seen)
        self._took(seen.prompt_tokens)
        self._under_way[sequence.id] = work, seen
        if seen.prompt_tokens + turn.output_tokens > self._context_tokens:
            self._end(work, seen, "context_overflow", now_s)
            return
        try:
            self._fleet.submit(sequence, now_s)
        except QueueFull:
            self._end(work, seen, "http_429", now_s)

    def _end(self, work: Work, seen: SimulatedTurn, outcome: str, now_s: float) -> None:
        if outcome == "cancelled":
            self._fleet.cancel(seen.sequence)
        del self._under_way[seen.sequence.id]
        seen.outcome, seen.ended_at_s = outcome, now_s
        state = work.life.end(outcome, now_s, RETRY_AFTER_S if outcome == "http_429" else 0.0)
        if state == "ready":
            self._wait(work, now_s)
        elif state == "agents":
            self._send_agents(work, now_s)
        elif state == "idle":
            self._begin_session(work, now_s)
        else:
            self._agent_over(work, now_s)

    def _begin_session(self, work: Work, now_s: float) -> None:
        """A sub-agent without a turn is through at once."""
        if not work.life.open():
            self._agent_over(work, now_s)
            return
        work.life.pause(now_s)
        self._wait(work, now_s)

    def _send_agents(self, parent: Work, now_s: float) -> None:
        """The turn that comes next waits for its sub-agents, who work side by side."""
        for agent in parent.life.call_agents():
            self._begin_session(Work(agent, parent), now_s)

    def _agent_over(self, agent: Work, now_s: float) -> None:
        parent = agent.parent
        if parent is not None and parent.life.agent_over(now_s):
            self._wait(parent, now_s)


class OpenTraffic(Traffic):
    """Open mode: tickets fall due along a target line, up to `developers` sessions take them."""

    def __init__(
        self,
        fleet: Fleet,
        source: Source,
        seed: int,
        *,
        context_tokens: int,
        history: History = "scripted",
        text: bool = False,
        arrival_cv: float = 0.0,
    ) -> None:
        super().__init__(
            fleet, source, seed, context_tokens=context_tokens, history=history, text=text
        )
        rng = np.random.default_rng((seed, 0))
        self._line = TargetLine()
        mean_tokens = mean_prompt_tokens(source)
        self._arrivals = Arrivals(self._line, mean_tokens, cv=arrival_cv, rng=rng)
        self._tickets: TicketLine[Work] = TicketLine(
            self._line, self._arrivals, developer_tpm(source)
        )
        self._last_due_s = 0.0
        self._next_due_s = NEVER  # before a rate was set

    def set_tpm(self, tpm: float, ramp_s: float, now_s: float) -> None:
        """Towards this rate from now on."""
        self._line.set_tpm(now_s, tpm, ramp_s)

    def rest(self, now_s: float) -> None:
        super().rest(now_s)
        self._line.set_tpm(now_s, 0.0)
        self.unsent_at_s += self._tickets.give_up()

    def next_s(self) -> float:
        return min(super().next_s(), self._next_due_s)

    def advance(self) -> None:
        due_s = self._next_due_s
        if super().next_s() <= due_s:
            super().advance()
        else:
            self._last_due_s = due_s
            self._tickets.issue(due_s)
            self._deal(due_s)
        # Nothing else moves it: rates change and tickets are taken by what is on the agenda.
        self._next_due_s = max(self._last_due_s, self._arrivals.next_due_s())

    def begin(self, developers: int) -> None:
        """So many there are at most; each begins when the rate or a ticket asks for it."""
        for work in self._developers(developers):
            self._tickets.join(work.life, work)

    def _wait(self, work: Work, now_s: float) -> None:
        from_s = self._tickets.waits_from_s(work.life)
        if from_s > now_s:
            self.at(from_s, partial(self._join, work))
        else:
            self._join(work, now_s)

    def _join(self, work: Work, now_s: float) -> None:
        self._tickets.join(work.life, work)
        self._deal(now_s)

    def _deal(self, now_s: float) -> None:
        for work, due in self._tickets.deal():
            self._send(work, due, now_s)

    def _took(self, prompt_tokens: int) -> None:
        self._arrivals.took(prompt_tokens)
