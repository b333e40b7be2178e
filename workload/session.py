"""Session: the numbers of a developer's turns, one after the other. Numbers only, no text.

Everything random comes from the generator passed in; `sessions` seeds one for each session from
(seed, worker, user, number), so a user replays the same sessions whenever the seed is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from workload.day import day
from workload.lengths import Lognormal, whole_tokens
from workload.profile import MAX_THRESHOLD_Z, Profile
from workload.spans import Span

# Whole turns lived before a developer is met in mid-session: this many mean sessions, plus a
# uniform part of one. Session lengths vary by 0.7 to 1 of their mean, so the start is long past.
BURN_IN_SESSIONS = 4

MEETINGS_TRIED = 100  # guess: a profile whose sessions have a second turn once in 20 is met in it

# Turns that go on from no earlier one: a cache can hold nothing of them but the shared prefix.
FROM_NOTHING = frozenset({"start", "met", "compaction"})

MAX_CHUNK_TOKENS = 4  # one token and three accepted drafts (the study: EAGLE with 3 draft tokens)


@dataclass(frozen=True, slots=True)
class Turn:
    """One request to send. prompt_tokens = ideal_cached_tokens + new_tokens."""

    session: str
    index: int
    kind: str  # what triggered it: "start", "met", "tool", "user", "compaction"
    gap_s: float  # natural pause between the previous answer's end and this turn
    prompt_tokens: int  # target size of the prompt
    new_tokens: int  # not in the previous prompt or its reply
    ideal_cached_tokens: int  # previous prompt + reply; the shared prefix where FROM_NOTHING
    output_tokens: int  # reply to ask for
    reply_tokens: int  # what of this turn's reply enters the history
    cancel_after_chunks: int | None  # planned user interrupt: close after this many output chunks
    subagents: int  # sub-agent sessions to finish before this turn is sent
    # What the prompt consists of; None: what its kind says, see workload.prompts.
    content: tuple[Span, ...] | None = None
    at_s: float | None = None  # not earlier than this after the session's first turn, if it says so
    pause_behind_agents: bool = False  # the pause begins when the sub-agents are through


class Session:
    """A developer's session: `next_turn` until it returns None.

    Fresh, it starts with a prompt of profile.start_tokens after a human gap. Stationary, the
    developer is met at any moment of its day (workload.day): between two sessions, and then it is
    a fresh one; in a pause, and then the first turn is any later turn of a session; or while a
    turn is answered, and then it is the next one. The gap is what is left of the pause, or of the
    answer and the whole pause after it. A first turn in mid-session is of kind "met": no cache
    holds what came before it. Its sub-agents, if it had any, are past.
    """

    def __init__(
        self, profile: Profile, rng: np.random.Generator, name: str, *, stationary: bool = False
    ) -> None:
        self.profile = profile
        self.name = name
        self._rng = rng
        self._index = -1
        self._over = False
        self._agents = 0  # sub-agents this session has sent or will send
        self._agents_due = 0
        self._agent_seed = 0
        self._first = "start"
        self._begin()
        moment = day(profile).moment(rng.random()) if stationary else "start"
        if moment == "start":
            self._choose_subagents()
            human = profile.human_gap_s
            self._first_gap_s = human.one_residual(rng) if stationary else human.one(rng)
        elif moment == "service":
            self._meet_in_service()
        else:
            self._meet_in_pause(profile.human_gap_s if moment == "user" else profile.tool_gap_s)

    def next_turn(self) -> Turn | None:
        """The next turn, or None: the session is over."""
        kind: str | None = self._first if self._index < 0 else self._step()
        if kind is None or self._over:
            self._over = True
            return None
        if self._index >= 0:
            self._answer(kind)
        self._index += 1
        return Turn(
            self.name,
            self._index,
            kind,
            self._gap_s(kind),
            self._prompt_tokens,
            self._prompt_tokens - self._cached_tokens,
            self._cached_tokens,
            self._output_tokens,
            self._reply_tokens,
            self._cancel_after_chunks,
            self._due_subagents(kind),
        )

    @property
    def growth_tokens(self) -> int:
        """What a turn adds to the prompt before it, typically: the grain of a history."""
        return round(self.profile.growth_tokens.mean + self.profile.output_tokens.mean)

    def subagent(self, k: int) -> Session:
        """The session of sub-agent `k` (0-based): the same one whenever it is asked for."""
        if not 0 <= k < self._agents:
            raise IndexError(f"session {self.name} has {self._agents} sub-agents, no number {k}")
        rng = np.random.default_rng(np.random.SeedSequence((self._agent_seed, k)))
        agent = Session(self.profile.subagent(), rng, f"{self.name}.a{k}")
        agent._first_gap_s = 0.0
        return agent

    def _meet_in_pause(self, pause: Lognormal) -> None:
        """What is left of it comes before a turn that is any but a session's first."""
        if any(self._live_on() != "start" for _ in range(MEETINGS_TRIED)):
            self._meet(pause.one_residual(self._rng))
        else:  # sessions of one turn, whatever the laws say: the pause is one before a session
            self._choose_subagents()
            self._first_gap_s = pause.one_residual(self._rng)

    def _meet_in_service(self) -> None:
        """Any turn is under way; the developer's next one is what will be sent."""
        self._live_on()
        left_s = day(self.profile).service_s * self._rng.random()
        kind = self._step()
        if kind is None:
            self._begin()
            self._choose_subagents()
            self._first_gap_s = left_s + self.profile.human_gap_s.one(self._rng)
        else:
            self._answer(kind)
            self._meet(left_s + self._gap_s(kind))

    def _meet(self, gap_s: float) -> None:
        self._first, self._first_gap_s = "met", gap_s
        self._cached_tokens = self.profile.shared_prefix_tokens

    def _begin(self) -> None:
        """A new life: a start prompt, of which a cache can hold the shared prefix."""
        self._prompt_tokens = whole_tokens(self.profile.start_tokens.one(self._rng))
        self._cached_tokens = self.profile.shared_prefix_tokens
        self._draw_threshold()
        self._answer("start")

    def _step(self) -> str | None:
        """Moves to the next prompt; returns what triggers it, None if the session ends instead."""
        profile, rng = self.profile, self._rng
        if self._over or rng.random() < profile.hazard(self._prompt_tokens):
            return None
        history = self._prompt_tokens + self._reply_tokens
        prompt = history + whole_tokens(profile.growth_tokens.one(rng))
        if profile.compaction is not None and prompt > self._threshold_tokens:
            self._prompt_tokens = whole_tokens(profile.compaction.to_tokens.one(rng))
            self._cached_tokens = profile.shared_prefix_tokens
            self._draw_threshold()
            return "compaction"
        if prompt > profile.max_prompt_tokens:
            return None
        self._prompt_tokens, self._cached_tokens = prompt, history
        if self._cancel_after_chunks is not None:
            return "user"  # who interrupts an answer also writes next
        return "tool" if rng.random() < profile.tool_share else "user"

    def _answer(self, kind: str) -> None:
        """Draws the reply. Of an interrupted one only what was surely streamed stays: a token for
        each chunk, since a chunk holds at least one; so an endless cache does hold it."""
        profile, rng = self.profile, self._rng
        output = min(whole_tokens(profile.output_tokens.one(rng)), profile.max_output_tokens)
        self._output_tokens = self._reply_tokens = output
        self._cancel_after_chunks: int | None = None
        if kind == "user" and profile.interrupt_share and rng.random() < profile.interrupt_share:
            chunks = max(1, int(rng.random() * output / MAX_CHUNK_TOKENS))
            self._cancel_after_chunks = self._reply_tokens = chunks

    def _draw_threshold(self) -> None:
        """The prompt size beyond which this life is compacted."""
        compaction = self.profile.compaction
        if compaction is not None:
            z = min(max(self._rng.standard_normal(), -MAX_THRESHOLD_Z), MAX_THRESHOLD_Z)
            self._threshold_tokens = compaction.at_tokens * (1 + compaction.spread * z)

    def _live_on(self) -> str:
        """Burn-in: whole turns, one session after the other, so that the turn met is any turn.
        Says what triggered it."""
        mean_turns, kind = self.profile.expected_turns(), "start"
        for _ in range(int(mean_turns * (BURN_IN_SESSIONS + self._rng.random())) + 1):
            stepped = self._step()
            if stepped is None:
                self._begin()
            else:
                self._answer(stepped)
            kind = stepped or "start"
        return kind

    def _gap_s(self, kind: str) -> float:
        if kind in ("start", "met"):
            return self._first_gap_s
        if kind == "user":
            return self.profile.human_gap_s.one(self._rng)
        if kind == "compaction" and self._rng.random() >= self.profile.tool_share:
            return self.profile.human_gap_s.one(self._rng)
        return self.profile.tool_gap_s.one(self._rng)

    def _choose_subagents(self) -> None:
        options = self.profile.subagents
        if options is None or self._rng.random() >= options.session_share:
            return
        weights = np.array(options.group_weights)
        sizes = np.arange(1, len(weights) + 1)
        self._agents = self._agents_due = int(self._rng.choice(sizes, p=weights / weights.sum()))
        self._agent_seed = int(self._rng.integers(2**63))

    def _due_subagents(self, kind: str) -> int:
        """All of the group before the first tool turn, none before any other."""
        if kind != "tool":
            return 0
        due, self._agents_due = self._agents_due, 0
        return due


def sessions(profile: Profile, seed: int, worker: int, user: int) -> Iterator[Session]:
    """The endless sessions of one developer: the first as it is met, later ones fresh."""
    for number in count():
        rng = np.random.default_rng(np.random.SeedSequence((seed, worker, user, number)))
        yield Session(profile, rng, f"w{worker}.u{user}.s{number}", stationary=number == 0)
