"""Replay: a trace's sessions have its turns, its pauses, its sharing; many of them, its figures."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from tests.support.traces import line, traced
from workload import source
from workload.life import Life
from workload.replay import Replay, ReplayedSession, Timing
from workload.session import Turn
from workload.spans import Span
from workload.tickets import Due
from workload.traces.gather import SERVICE_S

FROM_START = Timing(from_start=True)
DUE = Due(0.0)


@pytest.fixture
def replay(tmp_path) -> Replay:
    """Three sessions: one with a sub-agent, one that is cut in the middle of an earlier prompt, one
    that begins like the first."""
    return Replay(
        traced(
            tmp_path,
            line("a", 0, 1000, hash_ids=[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], block_tokens=100),
            line("a", 60, 1200, kept_tokens=1000, kind="user"),
            line("a.1", 69, 300, parent="a", service_s=20),
            line("a", 100, 1500, kept_tokens=1200),
            line("b", 0, 2000),
            line("b", 50, 2500, kept_tokens=2000),
            line("b", 90, 1800, kept_tokens=700),
            line("c", 0, 900, hash_ids=[1, 2, 3, 77, 78, 79, 80, 81, 82], block_tokens=100),
        ),
        FROM_START,
    )


def turns_of(replay: Replay, number: int, **more) -> list[Turn]:
    session = ReplayedSession(replay, number, "x", np.random.default_rng(0), **more)
    return list(iter(session.next_turn, None))


def ends(content: tuple[Span, ...] | None) -> list[int]:
    assert content is not None
    return [span.end_tokens for span in content]


def test_turns_are_those_of_the_trace(replay):
    turns = turns_of(replay, 0)
    assert [turn.prompt_tokens for turn in turns] == [1000, 1200, 1500]
    assert [turn.kind for turn in turns] == ["start", "user", "tool"]
    assert [turn.output_tokens for turn in turns] == [100] * 3
    # The pause before the last turn is what is left of it behind the sub-agent.
    assert [turn.gap_s for turn in turns[1:]] == [60 - SERVICE_S, 11]
    assert [turn.subagents for turn in turns] == [0, 0, 1]


def test_a_prompt_that_goes_back_shares_what_it_kept_and_no_more(replay):
    first, second, third = turns_of(replay, 2)
    # The first is written in two parts, since the third leaves it after 700 tokens.
    assert [ends(turn.content) for turn in (first, second, third)] == [
        [700, 2000],
        [700, 2000, 2500],
        [700, 1800],
    ]
    assert third.content[0] == first.content[0]
    assert third.content[1].key != first.content[1].key
    assert [turn.ideal_cached_tokens for turn in (first, second, third)] == [0, 2000, 700]
    assert [turn.new_tokens for turn in (first, second, third)] == [2000, 500, 1100]


def test_what_sessions_have_in_common_is_the_same_in_every_replay(replay):
    c, a = turns_of(replay, 3)[0], turns_of(replay, 0)[0]
    again = ReplayedSession(replay, 0, "y", np.random.default_rng(0)).next_turn()
    assert (ends(c.content), ends(a.content)) == ([300, 900], [300, 1000])
    assert c.content[0] == a.content[0] == again.content[0]
    assert c.content[0].everyone and not a.content[1].everyone
    assert a.content[1].key != again.content[1].key
    # Whoever comes first: the common part counts as held, as a system prompt of a profile does.
    assert (a.ideal_cached_tokens, c.ideal_cached_tokens) == (300, 300)


def test_one_met_in_mid_life_has_nothing_of_its_own_cached(replay):
    met, last = turns_of(replay, 0, first_turn=1)
    assert (met.kind, met.ideal_cached_tokens) == ("start", 300)
    assert 0 <= met.gap_s <= 60 - SERVICE_S
    assert (last.ideal_cached_tokens, last.subagents) == (1200, 1)
    (alone,) = turns_of(replay, 0, first_turn=2)
    assert alone.subagents == 0  # it is past


def test_a_sub_agent_belongs_to_the_turn_that_waits_for_it(replay):
    session = ReplayedSession(replay, 0, "x", np.random.default_rng(0))
    for _ in range(3):
        session.next_turn()
    agent = session.subagent(0)
    turn = agent.next_turn()
    assert turn is not None
    assert (turn.session, turn.prompt_tokens, turn.gap_s) == ("x.a0", 300, 1)
    assert agent.next_turn() is None


def test_a_parent_pauses_behind_its_sub_agents(replay):
    life = Life([ReplayedSession(replay, 0, "x", np.random.default_rng(0))])
    life.take(Due(0.0, grows=True))
    life.end("ok", 10.0)
    life.take(DUE)
    assert life.end("ok", 100.0) == "agents"
    life.call_agents()
    assert life.agent_over(400.0)
    assert life.ready_at_s == 411


def test_pauses_are_capped_then_scaled(replay):
    timing = Timing(scale=0.5, idle_cap_s=20)
    turns = turns_of(Replay(replay.trace, timing), 0)
    assert [turn.gap_s for turn in turns[1:]] == [10, 5.5]


def test_the_trace_s_own_times_count_from_the_session_s_first_turn(replay):
    timing = Timing(pace="original", scale=2, from_start=True)
    session = ReplayedSession(Replay(replay.trace, timing), 2, "x", np.random.default_rng(0))
    life = Life([session])
    life.open()
    life.pause(1000.0)
    begun_s = life.ready_at_s
    life.take(Due(begun_s, grows=True))
    life.end("ok", begun_s + 3)
    assert life.ready_at_s == begun_s + 100
    life.take(DUE)
    life.end("ok", begun_s + 777)  # slower than the trace: at once
    assert life.ready_at_s == begun_s + 777


def test_a_cap_shortens_original_times_by_what_it_cuts(replay):
    timing = Timing(pace="original", idle_cap_s=30, from_start=True)
    turns = turns_of(Replay(replay.trace, timing), 2)
    # Pauses of 42 and 32 s behind answers of 8 s.
    assert [turn.at_s for turn in turns] == [0, 38, 76]


def test_each_developer_begins_elsewhere_and_plays_all_sessions(replay):
    for user in range(4):
        names = [
            session._traced.name
            for session in islice(replay.sessions(seed=1, worker=0, user=user), 3)
        ]
        assert sorted(names) == ["a", "b", "c"]
    first = [next(replay.sessions(seed=1, worker=0, user=user))._traced.name for user in range(3)]
    assert sorted(first) == ["a", "b", "c"]


def test_in_mid_life_every_turn_is_as_likely(replay):
    stationary = Replay(replay.trace, Timing())
    first = [next(stationary.sessions(1, 0, user)).next_turn() for user in range(2_000)]
    sizes = [turn.prompt_tokens for turn in first if turn is not None]
    for prompt in (1000, 1200, 1500, 2000, 2500, 1800, 900):
        assert sizes.count(prompt) / len(sizes) == pytest.approx(1 / 7, abs=0.04)


def test_the_same_seed_replays_the_same(replay):
    def played(seed: int) -> list[Turn | None]:
        sessions = islice(Replay(replay.trace, Timing()).sessions(seed, 0, 0), 4)
        return [turn for session in sessions for turn in iter(session.next_turn, None)]

    assert played(1) == played(1)
    assert played(1) != played(2)


def test_what_a_trace_says_of_itself(replay):
    prompts = [1000, 1200, 1500, 300, 2000, 2500, 1800, 900]
    assert replay.mean_prompt_tokens == pytest.approx(np.mean(prompts))
    assert (replay.min_prompt_tokens, replay.max_prompt_tokens) == (300, 2500)
    # a: 8 + 60 + 11 + 8 with its sub-agent's 1 + 8; b: 8 + 50 + 40; c: 8.
    assert replay.session_tpm == pytest.approx(sum(prompts) * 60 / (96 + 98 + 8))
    targets = {p.quantity: (p.target, p.source) for p in source.workload(replay).promises}
    assert targets["prompt mean"][0] == pytest.approx(np.mean([p for p in prompts if p != 300]))
    assert targets["ideal hit"][0] == pytest.approx((300 + 1000 + 1200 + 2000 + 700 + 300) / 10_900)
    assert targets["prompt p50"][1] == "trace"
    # Its own last reply is no part of a pause, and there is one compaction: b's.
    assert targets["compactions per session"][0] == pytest.approx(1 / 3)


def test_the_fingerprint_is_of_numbers_and_timing(replay, tmp_path):
    same = Replay(replay.trace, FROM_START)
    other_time = Replay(replay.trace, Timing(scale=2))
    other = Replay(traced(tmp_path, line("a", 0, 1001)), FROM_START)
    prints = [each.fingerprint() for each in (replay, same, other_time, other)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
