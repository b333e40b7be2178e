"""Retold: prompts of a trace as chats of known size that share bytes as the trace shares tokens."""

from __future__ import annotations

from itertools import islice
from os.path import commonprefix

import numpy as np
import orjson
import pytest

from tests.support.traces import SAMPLE, line, needs_sample, traced
from tokenswarm.client.dialects import CHAT, DIALECTS, Dialect
from workload.corpus import Corpus
from workload.replay import Replay, ReplayedSession, Timing
from workload.retold import Retold
from workload.session import Turn
from workload.tokens import Tokenizer, count_message, count_tools
from workload.traces.read import read_trace

# A prompt ends with a whole line, and a message has words of its own.
TOKENS_OFF = 80


def retold(corpus: Corpus, dialect: Dialect = CHAT, **more) -> Retold:
    return Retold(
        corpus, dialect.frames, **{"seed": 1, "salt": "run", "growth_tokens": 800, **more}
    )


def body(conversation: Retold, dialect: Dialect = CHAT) -> bytes:
    shared = conversation.shared
    parts = (
        dialect.opening("m", shared.tools, shared.system, {}),
        *conversation.segments,
        dialect.closing(10, min_tokens=None, field=dialect.output_fields[0]),
    )
    assert sum(map(len, conversation.segments)) == conversation.body_bytes
    return b"".join(parts)


def counted(tokenizer: Tokenizer, request: bytes) -> int:
    """As the embedded engine counts: tools, then each message, then the opened reply."""
    chat = orjson.loads(request)
    messages = sum(count_message(tokenizer, message) for message in chat["messages"])
    return count_tools(tokenizer, chat.get("tools", ())) + messages + 3


@pytest.fixture
def replay(tmp_path) -> Replay:
    trace = traced(
        tmp_path,
        line("a", 0, 9_000, hash_ids=[1, 2, 3, 4, 5, 6, 7, 8, 9], block_tokens=1000),
        line("a", 30, 11_000, 400, kept_tokens=9_000),
        line("a", 60, 12_500, 400, kept_tokens=11_000, kind="user"),
        line("a", 90, 10_500, kept_tokens=5_000),
        line("a", 120, 12_000, kept_tokens=10_500),
        line("a", 150, 8_000),
        line("c", 0, 8_000, hash_ids=[1, 2, 3, 14, 15, 16, 17, 18], block_tokens=1000),
    )
    return Replay(trace, Timing(from_start=True))


def turns_of(replay: Replay, number: int = 0, name: str = "x") -> list[Turn]:
    session = ReplayedSession(replay, number, name, np.random.default_rng(0))
    return list(iter(session.next_turn, None))


def test_prompts_have_the_trace_s_sizes(corpus, tokenizer, replay):
    conversation = retold(corpus)
    for turn in turns_of(replay):
        conversation.advance(turn)
        tokens = counted(tokenizer, body(conversation))
        assert tokens == pytest.approx(conversation.prompt_tokens, abs=8)
        assert tokens == pytest.approx(turn.prompt_tokens, abs=TOKENS_OFF)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_what_is_kept_is_kept_byte_for_byte_and_then_all_is_new(corpus, tokenizer, replay, dialect):
    """Of the text alone: what is common to a prompt and the earlier ones is as long as in the
    trace, by the corpus' count. (The frames and a cache's marks are the dialect's own.)"""
    conversation = retold(corpus, dialect)
    sent: list[tuple[list[bytes], list[int]]] = []
    for turn in turns_of(replay):
        conversation.advance(turn)
        orjson.loads(body(conversation, dialect))
        assert conversation.ideal_cached_tokens == pytest.approx(
            turn.ideal_cached_tokens, abs=TOKENS_OFF
        )
        texts = [bytes(piece) for piece in conversation.segments if isinstance(piece, memoryview)]
        whole = [bytes(conversation.shared.system), *texts]
        ends = np.cumsum([tokenizer.count(orjson.loads(b'"%b"' % text)) for text in whole]).tolist()
        shared = [_alike(whole, earlier) for earlier, _ in sent]
        longest = max(shared, default=0)
        held = ends[longest - 1] if longest else 0
        # Tools, calls and message frames are not among the texts.
        assert held <= conversation.ideal_cached_tokens + TOKENS_OFF
        if turn.ideal_cached_tokens > 5_000:
            assert held > 0.4 * turn.ideal_cached_tokens
        sent.append((whole, ends))


def _common(one: bytes, other: bytes) -> bytes:
    return one[: len(commonprefix([one, other]))]


def _alike(one: list[bytes], other: list[bytes]) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def test_a_cut_back_prompt_is_the_one_that_would_have_been_written_at_once(corpus, replay):
    turns = turns_of(replay)
    one, other = retold(corpus), retold(corpus)
    for turn in turns[:4]:
        one.advance(turn)
    other.advance(turns[3])
    assert body(one) == body(other)


def test_sessions_that_begin_alike_in_the_trace_do_so_in_text(corpus, tokenizer, replay):
    bodies = []
    for number, name in ((0, "x"), (1, "y"), (0, "z")):
        conversation = retold(corpus)
        conversation.advance(turns_of(replay, number, name)[0])
        bodies.append(body(conversation))
    for one, other in ((0, 1), (0, 2)):
        common = _common(bodies[one], bodies[other])
        assert tokenizer.count(common.decode()) == pytest.approx(3_000, rel=0.15)


def test_sessions_that_do_not_share_no_more_than_the_name_of_a_tool(corpus, tmp_path):
    trace = traced(tmp_path, line("a", 0, 30_000), line("b", 0, 30_000))
    bodies = []
    for number in range(2):
        conversation = retold(corpus)
        conversation.advance(turns_of(Replay(trace, Timing()), number)[0])
        bodies.append(body(conversation))
    head = len(CHAT.opening("m", (), b"", {}))
    assert len(commonprefix(bodies)) < head + 200


@pytest.mark.parametrize("salt", ["other", ""])
def test_a_run_s_salt_sets_it_apart(corpus, replay, salt):
    turn = turns_of(replay)[0]
    one, other = retold(corpus), retold(corpus, salt=salt)
    one.advance(turn)
    other.advance(turn)
    assert len(commonprefix([body(one), body(other)])) < len(CHAT.opening("m", (), b"", {})) + 200


def test_drift_is_followed_in_what_is_written_next(corpus, replay):
    """Where the server counts 10% more, later prompts are planned 10% shorter, but what all
    developers send stays as it is."""
    turns = turns_of(replay)
    conversation = retold(corpus)
    conversation.advance(turns[0])
    conversation.calibrate(round(1.1 * conversation.prompt_tokens))
    before = [bytes(piece) for piece in conversation.segments]
    conversation.advance(turns[1])
    assert conversation.segments[: len(before)] == before
    assert conversation.prompt_tokens == pytest.approx(turns[1].prompt_tokens / 1.1, abs=TOKENS_OFF)
    assert conversation.planned_prompt_tokens == pytest.approx(
        turns[1].prompt_tokens, abs=TOKENS_OFF
    )
    other = retold(corpus, drift=1.3)
    other.advance(turns[0])
    assert other.shared == conversation.shared


@needs_sample
def test_the_sample_s_prompts_have_its_sizes(corpus):
    replay = Replay(read_trace(SAMPLE), Timing(from_start=True))
    planned, written = [], []
    for session in islice(replay.sessions(1, 0, 0), 26):
        conversation = retold(corpus, growth_tokens=replay.growth_tokens)
        for turn in iter(session.next_turn, None):
            conversation.advance(turn)
            planned.append(turn.prompt_tokens)
            written.append(conversation.prompt_tokens)
    assert len(planned) == 860
    for share in (1, 10, 50, 90, 99):
        assert np.percentile(written, share) == pytest.approx(
            np.percentile(planned, share), rel=0.01
        )
