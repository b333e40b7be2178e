"""A trace in virtual time: the engine sees its lengths, and caches what it shares."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.support.traces import SAMPLE, line, needs_sample, traced
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.core.step_time import Coefficients
from tokenswarm.engine.offline import run as offline_run
from tokenswarm.engine.offline.run import Load, SimulatedRun
from tokenswarm.engine.offline.traffic import SimulatedTurn
from tokenswarm.engine.physics.presets import PRESETS
from workload.replay import Replay, Timing
from workload.traces.read import read_trace

# Forgets nothing, and answers in no time worth the name.
ENDLESS = replace(
    PRESETS["trtllm-like"],
    kv_tokens=10**9,
    cost=Coefficients(t0_s=1e-3, a1_s=1e-9, a2_s=0, d0_s=1e-4, d1_s=0, d2_s=0),
)
FROM_START = Timing(from_start=True, idle_cap_s=1.0)


def played(replay: Replay, developers: int, hold_s: float = 150) -> SimulatedRun:
    load = Load(developers=developers, hold_s=hold_s, drain_s=60, context_tokens=10**7)
    return offline_run.run(ENDLESS, replay, load, seed=1)


def once(run: SimulatedRun) -> list[SimulatedTurn]:
    """Of each developer the first session, with its sub-agents."""
    return [turn for turn in run.turns if turn.session.split(".")[2] == "s0"]


def test_cached_tokens_are_the_trace_s(tmp_path):
    trace = traced(
        tmp_path,
        line("a", 0, 6400),
        line("a", 10, 12_800, kept_tokens=6400),
        line("a", 20, 9600, kept_tokens=3200),
        line("a", 30, 9600, kept_tokens=0),
        line("a", 40, 10_000, kept_tokens=9600),
    )
    turns = once(played(Replay(trace, FROM_START), 1, hold_s=100))
    assert [turn.cached_tokens for turn in turns] == [0, 6400, 3200, 0, 9600]
    assert [turn.ideal_cached_tokens for turn in turns] == [0, 6400, 3200, 0, 9600]


def test_a_parent_waits_for_all_of_its_sub_agents_who_work_side_by_side(tmp_path):
    trace = traced(
        tmp_path,
        line("a", 0, 1000, service_s=1),
        line("b", 2, 2000, parent="a", service_s=1),
        line("c", 3, 3000, parent="a", service_s=1),
        line("b", 4, 2500, kept_tokens=2000, service_s=4),
        line("a", 13, 1500, kept_tokens=1000, service_s=1),
    )
    turns = once(played(Replay(trace, Timing(from_start=True)), 1, hold_s=60))
    at_s = {(turn.session, turn.turn): turn for turn in turns}
    first, last = at_s["w0.u0.s0", 0], at_s["w0.u0.s0", 1]
    b0, b1 = at_s["w0.u0.s0.a0", 0], at_s["w0.u0.s0.a0", 1]
    c0 = at_s["w0.u0.s0.a1", 0]
    assert first.ended_at_s is not None and b1.ended_at_s is not None and b0.ended_at_s is not None
    assert b0.sent_at_s == pytest.approx(first.ended_at_s + 1)
    assert c0.sent_at_s == pytest.approx(first.ended_at_s + 2)
    assert b1.sent_at_s == pytest.approx(b0.ended_at_s + 1)
    assert last.sent_at_s == pytest.approx(b1.ended_at_s + 5)
    assert last.cached_tokens == 1000 // BLOCK_TOKENS * BLOCK_TOKENS


def test_original_times_are_kept_where_the_engine_is_fast_enough(tmp_path):
    trace = traced(tmp_path, *(line("a", at_s, 1000) for at_s in (5, 30, 95, 100)))
    timing = Timing(pace="original", from_start=True)
    turns = once(played(Replay(trace, timing), 1, hold_s=200))
    begun_s = turns[0].sent_at_s
    assert [turn.sent_at_s - begun_s for turn in turns] == pytest.approx([0, 25, 90, 95])


@pytest.fixture(scope="module")
def sample() -> SimulatedRun:
    """Every session of the published sample once, each by a developer of its own."""
    replay = Replay(read_trace(SAMPLE), FROM_START)
    return played(replay, developers=len(replay.trace.roots))


@needs_sample
def test_the_sample_comes_out_as_it_is(sample):
    turns = once(sample)
    assert Counter(turn.outcome for turn in turns) == {"ok": 962}
    # Sub-agents that begin together find what another of them has sent, or do not yet.
    turns = [turn for turn in turns if ".a" not in turn.session]
    trace = sample.source.trace
    recorded = [turn for root in trace.roots for turn in trace.sessions[root].turns]
    assert len(turns) == len(recorded) == 860
    for replayed, published in (
        ([t.prompt_tokens for t in turns], [t.prompt_tokens for t in recorded]),
        ([t.output_tokens for t in turns], [max(1, t.output_tokens) for t in recorded]),
        (
            [t.prompt_tokens - (t.cached_tokens or 0) for t in turns],
            [t.prompt_tokens - t.kept_tokens // 64 * 64 for t in recorded],
        ),
    ):
        for share in (1, 5, 10, 25, 50, 75, 90, 95, 99):
            assert np.percentile(replayed, share) == pytest.approx(
                np.percentile(published, share), rel=0.01
            )


@needs_sample
def test_an_endless_cache_hits_what_the_sample_s_own_hashes_hit(sample):
    turns = once(sample)
    prompt_tokens = sum(turn.prompt_tokens for turn in turns)
    hit = sum(turn.cached_tokens or 0 for turn in turns) / prompt_tokens
    kept = sum(turn.kept_tokens // 64 * 64 for turn in sample.source.trace.turns())
    assert hit == pytest.approx(kept / prompt_tokens, abs=0.01)
    assert hit == pytest.approx(
        sum(turn.ideal_cached_tokens for turn in turns) / prompt_tokens, abs=0.01
    )
