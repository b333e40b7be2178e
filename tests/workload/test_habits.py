"""Habits: what each does to the prompts of a session, and what a cache can still hold of them."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import islice

import numpy as np
import orjson
import pytest

from tests.support.traces import line, traced
from tokenswarm.client.dialects import CHAT
from tokenswarm.engine.server.prompt_tokens import PromptReader, TokenCounter, hash_pieces
from workload import fidelity, source
from workload.corpus import Corpus
from workload.habits import HABITS, HabitError, HabitSession, require_habits
from workload.profiles import SEED
from workload.replay import Replay, Timing
from workload.retold import Retold
from workload.session import Session, Turn
from workload.source import Habitual, load_source
from workload.tokens import GENERATION_PROMPT_TOKENS, Tokenizer, count_message, count_tools

TURNS = 30
TOOLS, SHARED = 12_000, 20_000


@pytest.fixture
def replay(tmp_path) -> Replay:
    """One session: tools and system text, a first message, then 1,000 tokens a turn, 200 of them
    the reply; every sixth turn is a user's."""
    lines = [line("a", 0, SHARED + 5_000, 200)]
    for n in range(1, TURNS):
        tokens = SHARED + 5_000 + 1_000 * n
        kind = "tool" if n % 6 else "user"
        lines.append(line("a", 30 * n, tokens, 200, kept_tokens=tokens - 1_000, kind=kind))
    return Replay(traced(tmp_path, *lines), Timing(from_start=True))


def played(replay: Replay, *habits: str) -> list[Turn]:
    (session,) = replay.each_session()
    return list(iter(HabitSession(session, habits).next_turn, None))


@pytest.fixture(autouse=True)
def opening(monkeypatch):
    """The trace does not say how much of its first prompt are tools and system text."""
    monkeypatch.setattr("workload.replay._OPENING_TOKENS", SHARED)
    monkeypatch.setattr("workload.replay.Replay._opening_tokens", lambda *_: SHARED)


# Of turns 1 and 10: prompt tokens, and what an endless cache holds of them.
PLAIN = [(26_000, 25_000), (35_000, 34_000)]
EXPECTED = {
    "billing-line": [(26_000, TOOLS), (35_000, TOOLS)],
    "clock": [(26_000, SHARED), (35_000, SHARED)],
    "tools-reordered": [(26_000, 0), (35_000, 0)],
    "tools-toggled": [PLAIN[0], (35_000, 0)],
    "reserialised": [PLAIN[0], (35_000, SHARED)],
    "memory-on-top": [(28_000, 27_000), (37_000, SHARED)],
    "image-reencoded": [PLAIN[0], (35_000, 25_000)],
    # At turn 10 results of turns 1 to 5 are stubs, that of turn 5 for the first time.
    "results-truncated": [PLAIN[0], (35_000 - 5 * 780, 25_000 + 4 * 220)],
    "summary": [PLAIN[0], PLAIN[1]],
    # At turn 6 the user writes, so by turn 10 the replies that turns 1 to 6 brought have lost half.
    "reasoning-dropped": [PLAIN[0], (34_400, 33_400)],
}


@pytest.mark.parametrize("habit", HABITS)
def test_each_habit_keeps_what_it_should(replay, habit):
    turns = played(replay, habit)
    assert len(turns) == TURNS
    for n, expected in zip((1, 10), EXPECTED[habit], strict=True):
        assert (turns[n].prompt_tokens, turns[n].ideal_cached_tokens) == expected, (habit, n)
    assert all(turn.new_tokens + turn.ideal_cached_tokens == turn.prompt_tokens for turn in turns)


def test_without_a_habit_nothing_changes(replay):
    (session,) = replay.each_session()
    plain = list(iter(session.next_turn, None))
    numbers = [(t.prompt_tokens, t.ideal_cached_tokens, t.kind, t.gap_s) for t in plain]
    assert [(t.prompt_tokens, t.ideal_cached_tokens, t.kind, t.gap_s) for t in played(replay)] == (
        numbers
    )


def test_a_summary_leaves_tools_system_text_and_itself(replay):
    turns = played(replay, "summary")
    assert (turns[20].prompt_tokens, turns[20].ideal_cached_tokens) == (SHARED + 3_000, SHARED)
    assert (turns[21].prompt_tokens, turns[21].ideal_cached_tokens) == (
        SHARED + 4_000,
        SHARED + 3_000,
    )


def test_reasoning_is_dropped_when_the_user_writes(replay):
    """At turn 12 the replies that turns 7 to 12 brought lose half, 100 tokens each."""
    turns = played(replay, "reasoning-dropped")
    assert turns[12].ideal_cached_tokens == SHARED + 5_000 + 6 * 900
    assert turns[12].prompt_tokens == SHARED + 5_000 + 12 * 900


def test_several_habits_add_up(replay):
    both = played(replay, "summary", "billing-line")
    assert both[21].prompt_tokens == SHARED + 4_000
    assert both[21].ideal_cached_tokens == TOOLS


def test_a_profile_s_sessions_have_habits_too():
    session = HabitSession(Session(SEED, np.random.default_rng(3), "x"), ())
    plain = Session(SEED, np.random.default_rng(3), "x")
    last_reply = 0
    for turn, other in zip(iter(session.next_turn, None), iter(plain.next_turn, None), strict=True):
        assert turn.prompt_tokens == other.prompt_tokens
        # Histories carry scripted replies, which no cache holds.
        assert turn.ideal_cached_tokens == other.ideal_cached_tokens - last_reply
        last_reply = other.reply_tokens


@pytest.mark.parametrize("habit", HABITS)
def test_the_texts_lose_what_was_predicted(
    corpus: Corpus, tokenizer: Tokenizer, replay: Replay, habit: str
):
    """As the embedded engine reads the requests, with a cache that forgets nothing: within a point
    of the prediction."""
    conversation = Retold(corpus, CHAT.frames, seed=1, salt="run", growth_tokens=1_000)
    counter = TokenCounter(
        "embedded",
        lambda message: count_message(tokenizer, message),
        lambda tools: count_tools(tokenizer, tools),
        GENERATION_PROMPT_TOKENS,
    )
    reader = PromptReader(counter)
    seen: set[Hashable] = set()
    prompt_tokens = cached = predicted = 0
    for turn in islice(played(replay, habit), 24):
        conversation.advance(turn)
        shared = conversation.shared
        opening = CHAT.opening("m", shared.tools, shared.system, {})
        closing = CHAT.closing(9, min_tokens=None, field="max_tokens")
        body = orjson.loads(b"".join((opening, *conversation.segments, closing)))
        pieces = hash_pieces(body.get("tools", []), body["messages"])
        reader.remember(reader.count(reader.new_pieces(pieces)))
        prompt = reader.prompt(pieces)
        held = 0
        for segment in prompt.segments:
            if segment.key not in seen:
                break
            held = 64 * segment.end
        seen.update(segment.key for segment in prompt.segments)
        prompt_tokens += prompt.num_tokens
        cached += held
        predicted += turn.ideal_cached_tokens
        assert prompt.num_tokens == pytest.approx(turn.prompt_tokens, rel=0.01)
    assert cached / prompt_tokens == pytest.approx(predicted / prompt_tokens, abs=0.01)


def test_a_source_with_habits_promises_what_it_sends(replay):
    habitual = Habitual(replay, ("tools-reordered",))
    assert habitual.name == f"{replay.name}+tools-reordered"
    assert habitual.fingerprint() != replay.fingerprint()
    targets = {p.quantity: p.target for p in source.workload(Habitual(SEED, ("clock",))).promises}
    plain = {p.quantity: p.target for p in fidelity.workload(SEED).promises}
    assert targets["prompt mean"] == pytest.approx(plain["prompt mean"], rel=0.03)
    assert targets["ideal hit"] < 0.3 < plain["ideal hit"]
    assert source.session_tpm(habitual) == pytest.approx(replay.session_tpm)


def test_a_habit_that_there_is_not():
    with pytest.raises(HabitError, match="--habit 'smoking': accepted are billing-line, clock"):
        require_habits(["clock", "smoking"])
    with pytest.raises(HabitError):
        load_source("seed", None, Timing(), ["smoking"])
