"""Replay: the sessions of a trace, sent again. Numbers and spans only, no text.

A replayed session is used as one of a profile is (`workload.session`): `next_turn` until it returns
None. What a prompt shares with earlier ones it shares here too: with those of its session, of its
parent and its sub-agents, and of other sessions. Text that sessions of several developers have in
common is the same in every replay; a session's own text is new each time it is replayed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Literal, get_args

import numpy as np

from workload.session import Turn
from workload.spans import EndlessCache, Kind, Span
from workload.traces.gather import SERVICE_S
from workload.traces.turns import Place, Trace, TracedSession, TracedTurn

# think: a turn comes after the trace's own pause; original: at the trace's own time, or when the
# answer before it has come, whichever is later.
Pace = Literal["think", "original"]
PACES: tuple[Pace, ...] = get_args(Pace)

# Tools and system text where a trace does not say how many: WEKA's medians, 12.3k and 2.8k
# (docs/workload.md 1.1).
_OPENING_TOKENS = 15_100


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When replayed turns are sent. scale: all times of the trace are multiplied by it;
    idle_cap_s: no pause of the trace counts for more, before scaling; from_start: sessions are
    replayed from their first turn on, else each developer is met in the middle of its first."""

    pace: Pace = "think"
    scale: float = 1.0
    idle_cap_s: float | None = None
    from_start: bool = False

    def pause_s(self, gap_s: float) -> float:
        """A pause of the trace, capped and scaled."""
        return self.scale * (gap_s if self.idle_cap_s is None else min(gap_s, self.idle_cap_s))


class Replay:
    """A trace as a source of sessions, in place of a profile."""

    def __init__(self, trace: Trace, timing: Timing) -> None:
        self.trace = trace
        self.timing = timing
        self.name = f"trace-{trace.name}"
        prompts = [turn.prompt_tokens for turn in trace.turns()]
        self.min_prompt_tokens, self.max_prompt_tokens = min(prompts), max(prompts)
        self.max_output_tokens = max(1, *(turn.output_tokens for turn in trace.turns()))
        self.mean_prompt_tokens = sum(prompts) / len(prompts)
        self._cuts = _cuts(trace)

    def sessions(self, seed: int, worker: int, user: int) -> Iterator[ReplayedSession]:
        """The endless sessions of one developer: all of the trace, in an order that the seed and
        the worker shuffle, from the user's own place on. The first is met in mid-life."""
        order = np.random.default_rng((seed, worker)).permutation(self.trace.roots)
        for number in count():
            rng = np.random.default_rng(np.random.SeedSequence((seed, worker, user, number)))
            name = f"w{worker}.u{user}.s{number}"
            if number or self.timing.from_start:
                again = int(order[(user + number) % len(order)])
                yield ReplayedSession(self, again, name, rng)
            else:
                met = self._any_turn(rng)
                yield ReplayedSession(self, met.session, name, rng, first_turn=met.turn)

    def each_session(self) -> Iterator[ReplayedSession]:
        """Every developer's session of the trace once, from its first turn on."""
        for n, root in enumerate(self.trace.roots):
            yield ReplayedSession(self, root, f"s{n}", np.random.default_rng(n))

    def _any_turn(self, rng: np.random.Generator) -> Place:
        """One of a developer, each as likely as any other."""
        roots = self.trace.roots
        ends = np.cumsum([len(self.trace.sessions[root].turns) for root in roots])
        turn = int(rng.integers(ends[-1]))
        n = int(np.searchsorted(ends, turn, side="right"))
        return Place(roots[n], turn - int(ends[n - 1] if n else 0))

    @cached_property
    def session_tpm(self) -> float:
        """Input tokens per minute of one session that follows its own pauses:

        prompt tokens, those of sub-agents among them, * 60 / (pauses + a service of 8 s each)
        """
        seconds: dict[int, float] = {}
        for number in reversed(range(len(self.trace.sessions))):  # sub-agents before their parents
            seconds[number] = sum(
                self.timing.pause_s(turn.gap_s)
                + SERVICE_S
                + max((seconds[agent] for agent in turn.agents), default=0.0)
                for turn in self.trace.sessions[number].turns
            )
        tokens = sum(turn.prompt_tokens for turn in self.trace.turns())
        return tokens * 60 / sum(seconds[root] for root in self.trace.roots)

    @cached_property
    def growth_tokens(self) -> int:
        """The median of what a turn adds to the prompt before it: the grain of a history."""
        grown = [
            turn.prompt_tokens - turn.kept_tokens
            for turn in self.trace.turns()
            if turn.kind in ("tool", "user")
        ]
        return max(1, round(float(np.median(grown)))) if grown else _OPENING_TOKENS

    @cached_property
    def human_gaps_s(self) -> list[float]:
        """The trace's pauses before turns of a user, as they are replayed; [0] without any."""
        gaps_s = [turn.gap_s for turn in self.trace.turns() if turn.kind == "user"]
        return [self.timing.pause_s(gap_s) for gap_s in gaps_s] or [0.0]

    def fingerprint(self) -> str:
        """12 hex digits over every number that shapes the traffic."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.timing).encode())
        for session in self.trace.sessions:
            digest.update(f"{session.parent} {session.opening_tokens}\n".encode())
            for turn in session.turns:
                digest.update(repr(turn).encode())
        return digest.hexdigest()[:12]

    def content(self, name: str, place: Place) -> tuple[Span, ...]:
        """What the prompt of a turn consists of, in the replay of this name."""
        parts: list[Span] = []
        end_tokens = self.trace.turn(place).prompt_tokens
        at: Place | None = place
        while at is not None and end_tokens:
            turn = self.trace.turn(at)
            if turn.kept_tokens < end_tokens:
                parts += reversed(self._own(name, at, turn, end_tokens))
                end_tokens = turn.kept_tokens
            at = turn.like
        return tuple(reversed(parts))

    def _own(self, name: str, place: Place, turn: TracedTurn, end_tokens: int) -> list[Span]:
        """What the turn brought, up to `end_tokens`: cut wherever another prompt leaves it."""
        ends = [*self._cuts.get(place, ()), turn.prompt_tokens]
        kind: Kind = "user" if turn.kind == "user" else "tool"
        first = Span(
            key=(),
            end_tokens=ends[0],
            kind=kind if turn.kept_tokens else "start",
            reply_tokens=self._reply_tokens(place, turn),
            opening_tokens=0 if turn.kept_tokens else self._opening_tokens(place, ends),
        )
        spans = []
        for part, end in enumerate(ends):
            if end > end_tokens:
                break
            everyone = end <= turn.common_tokens
            key = ("everyone" if everyone else name, *place, part)
            shape = first if not part else Span((), end, "user")
            spans.append(shape._replace(key=key, end_tokens=end, everyone=everyone))
        return spans

    def _opening_tokens(self, place: Place, ends: list[int]) -> int:
        """Tools and system text at most, where the first part ends before the prompt does."""
        said = self.trace.sessions[place.session].opening_tokens or _OPENING_TOKENS
        return min(said, ends[0] if len(ends) > 1 else ends[0] // 2)

    def _reply_tokens(self, place: Place, turn: TracedTurn) -> int:
        """Of the last answer, how much the prompt can hold."""
        if not turn.kept_tokens or not place.turn:
            return 0
        before = self.trace.turn(Place(place.session, place.turn - 1))
        return min(before.output_tokens, turn.prompt_tokens - turn.kept_tokens)


@dataclass(frozen=True, slots=True)
class Family:
    """What a session and its sub-agents have in common: the name of the replay, and what an endless
    cache holds of what they sent."""

    name: str
    cache: EndlessCache


class ReplayedSession:
    """A session of the trace: the same turns, in the same order, with the same sharing.

    With a `first_turn` it is met in mid-life, in the pause before that turn; what came earlier,
    sub-agents too, is past.
    """

    def __init__(
        self,
        replay: Replay,
        number: int,
        name: str,
        rng: np.random.Generator,
        *,
        first_turn: int = 0,
        family: Family | None = None,
    ) -> None:
        """family: of a sub-agent, what it shares with its parent."""
        self.replay = replay
        self.name = name
        self._number = number
        self._rng = rng
        self._family = family or Family(name, EndlessCache())
        self._is_agent = family is not None
        self._next = self._first = first_turn
        self._at_s = 0.0
        self._due_agents: tuple[int, ...] = ()

    @property
    def growth_tokens(self) -> int:
        """The grain of a history."""
        return self.replay.growth_tokens

    def next_turn(self) -> Turn | None:
        """The next turn, or None: the session is over."""
        turns = self._traced.turns
        if self._next >= len(turns):
            return None
        place = Place(self._number, self._next)
        turn = turns[self._next]
        is_first = self._next == self._first
        self._next += 1
        content = self.replay.content(self._family.name, place)
        held_tokens = self._family.cache.held_tokens(content)
        self._family.cache.keep(content)
        self._due_agents = () if is_first else turn.agents
        gap_s = self._first_gap_s(turn) if is_first else self.replay.timing.pause_s(turn.gap_s)
        output_tokens = max(1, turn.output_tokens)
        return Turn(
            session=self.name,
            index=place.turn,
            kind="start" if is_first else turn.kind,
            gap_s=gap_s,
            prompt_tokens=turn.prompt_tokens,
            new_tokens=turn.prompt_tokens - held_tokens,
            ideal_cached_tokens=held_tokens,
            output_tokens=output_tokens,
            reply_tokens=output_tokens,
            cancel_after_chunks=None,
            subagents=len(self._due_agents),
            content=content,
            at_s=self._sent_at_s(turn, is_first=is_first),
            pause_behind_agents=True,
        )

    def subagent(self, k: int) -> ReplayedSession:
        """Of those that the last turn of `next_turn` waits for, number `k`."""
        number = self._due_agents[k]
        name = f"{self.name}.a{self._traced_agents.index(number)}"
        return ReplayedSession(self.replay, number, name, self._rng, family=self._family)

    @property
    def _traced(self) -> TracedSession:
        return self.replay.trace.sessions[self._number]

    @property
    def _traced_agents(self) -> list[int]:
        """All sub-agents of the session."""
        return [number for turn in self._traced.turns for number in turn.agents]

    def _first_gap_s(self, turn: TracedTurn) -> float:
        """A sub-agent begins as late as it did, a developer after a pause as they were between
        messages, or somewhere in the pause in which it is met."""
        pause_s = self.replay.timing.pause_s(turn.gap_s)
        if self._is_agent:
            return pause_s
        if self._first:
            return float(self._rng.random()) * pause_s
        return float(self._rng.choice(self.replay.human_gaps_s))

    def _sent_at_s(self, turn: TracedTurn, *, is_first: bool) -> float | None:
        """Since the session's first turn, pauses capped and times scaled; None where the pause
        decides."""
        timing = self.replay.timing
        if timing.pace == "think":
            return None
        if not is_first:
            before = self._traced.turns[self._next - 2]
            busy_s = max(0.0, turn.at_s - before.at_s - turn.gap_s)
            self._at_s += timing.scale * busy_s + timing.pause_s(turn.gap_s)
        return self._at_s


def _cuts(trace: Trace) -> dict[Place, list[int]]:
    """Of each turn, where in what it brought later prompts leave it, in tokens of its prompt."""
    cuts: dict[Place, set[int]] = {}
    for turn in trace.turns():
        place, end = turn.like, turn.kept_tokens
        while place is not None:
            brought = trace.turn(place)
            if end > brought.kept_tokens:
                if end < brought.prompt_tokens:
                    cuts.setdefault(place, set()).add(end)
                break
            place = brought.like
    return {place: sorted(ends) for place, ends in cuts.items()}
