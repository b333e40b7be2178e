"""Virtual time: the definitions of measure, the physics that the documentation promises."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import replace
from statistics import mean, median

import pytest

from tests.support.records import turn_record
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.core.step_time import Coefficients
from tokenswarm.engine.offline import run as offline_run
from tokenswarm.engine.offline.estimate import over_seeds
from tokenswarm.engine.offline.run import Figures, Load, SimulatedRun
from tokenswarm.engine.offline.sweep import Case, sweep
from tokenswarm.engine.offline.traffic import SimulatedTurn
from tokenswarm.engine.physics.presets import PRESETS, Preset
from tokenswarm.engine.physics.what_if import WhatIf
from tokenswarm.measure.record import TurnRecord
from tokenswarm.measure.tally import Tally
from workload.profile import Subagents
from workload.profiles import AGENTIC, SEED, SMALL

TRTLLM = PRESETS["trtllm-like"]
# Interrupts, sub-agents and a queue that overflows, in one.
WILD_TRAFFIC = replace(SEED, interrupt_share=0.5, subagents=Subagents(session_share=0.8))
BUSY = replace(TRTLLM, policy=replace(TRTLLM.policy, queue_limit=2))

# docs/workload.md 3.6: LRU pools at 2.5M TPM, hit share in percent, churn x1, x2 and x4.
LRU_HITS = {4e6: (96.8, 94.9, 91.2), 2e6: (95.6, 93.6, 89.7), 1e6: (92.1, 90.6, 87.1)}
CHURN = (1, 2, 4)
# Almost no service time: the table's LRU "has no feedback from slowness".
FAST = replace(
    WhatIf(host_kv_tokens=0, acceptance=1.0).apply(TRTLLM),
    cost=Coefficients(t0_s=0.01, a1_s=1e-7, a2_s=0, d0_s=0.03, d1_s=0, d2_s=0),
)


def level(tpm: float, minutes: float = 10) -> Load:
    return Load(levels_tpm=(tpm,), hold_s=60 * minutes, ramp_s=18 * minutes)


def record_of(turn: SimulatedTurn, cut_s: float) -> TurnRecord:
    """As the client would have written it down, cut off at the end of the drain."""
    over = turn.ended_at_s is not None
    answered = turn.outcome == "ok"
    return turn_record(
        session=turn.session,
        turn=turn.turn,
        kind=turn.kind,
        planned_prompt_tokens=turn.prompt_tokens,
        ideal_cached_tokens=turn.ideal_cached_tokens,
        scheduled_at_s=turn.scheduled_at_s,
        sent_at_s=turn.sent_at_s,
        first_token_at_s=turn.first_token_at_s,
        last_token_at_s=turn.ended_at_s if over else None,
        ended_at_s=turn.ended_at_s if over else cut_s,
        prompt_tokens=turn.prompt_tokens,
        cached_tokens=turn.cached_tokens if answered else None,
        output_tokens=turn.output_tokens,
        output_chunks=turn.output_chunks,
        first_chunk_tokens=1,
        outcome=turn.outcome,
    )


def simulate(preset: Preset, load: Load, seed: int = 1, profile=SEED) -> SimulatedRun:
    return offline_run.run(preset, profile, load, seed)


@pytest.mark.parametrize(
    ("preset", "profile", "tpm"),
    [(TRTLLM, SEED, 2e6), (BUSY, WILD_TRAFFIC, 3e6), (PRESETS["sglang-like"], SEED, 4e6)],
    ids=["keeps up", "interrupted, refused", "saturated"],
)
def test_figures_are_those_of_the_tally_of_the_same_turns(preset, profile, tpm):
    load = replace(level(tpm), drain_s=60, max_developers=1_000)
    run = offline_run.run(preset, profile, load, seed=3)
    mine = run.figures(0)
    records = (record_of(turn, load.cut_s) for turn in run.turns)
    tally = Tally(records).summary(load.window(0))
    assert (mine.turns, mine.failed, mine.unfinished) == (
        tally.requests,
        tally.failed,
        tally.unfinished,
    )
    assert mine.without_first_token == tally.without_first_token
    assert mine.offered_tpm == pytest.approx(tally.offered_tpm)
    assert mine.achieved_tpm == pytest.approx(tally.achieved_tpm)
    assert mine.ttft_p50_s == pytest.approx(tally.ttft_s.p50)
    assert mine.ttft_p90_s == pytest.approx(tally.ttft_s.p90)
    assert mine.tps_p50 == pytest.approx(tally.decode_tps.p50)
    assert mine.hit_share == pytest.approx(tally.hit_share)
    assert mine.ideal_hit_share == pytest.approx(tally.ideal_hit_share)
    assert mine.prompt_mean_tokens == pytest.approx(tally.prompt_tokens.mean)
    assert mine.new_mean_tokens == pytest.approx(tally.new_tokens.mean)


def test_a_median_that_half_the_turns_did_not_live_to_see_is_cut_off():
    """An engine that answers nothing after the first minutes: half the turns still wait."""
    stuck = WhatIf(prefix_cache=False, prefill_speed=0.1).apply(TRTLLM)
    figures = simulate(stuck, replace(level(2.5e6), drain_s=10)).figures(0)
    assert figures.without_first_token > 0.5 * figures.turns
    assert figures.ttft_p50_s == figures.ttft_p90_s == math.inf


def test_tickets_that_nobody_takes_are_offered_and_unfinished():
    load = replace(level(3e6), max_developers=3)
    figures = simulate(TRTLLM, load).figures(0)
    assert figures.offered_tpm == pytest.approx(3e6, rel=0.1)
    assert figures.achieved_tpm < 0.6e6
    assert figures.unfinished > 0.5 * figures.turns


def test_interrupts_and_refusals_and_subagents_happen_and_leave_no_block():
    run = offline_run.run(BUSY, WILD_TRAFFIC, level(3e6), seed=3)
    outcomes = {turn.outcome for turn in run.turns}
    assert outcomes == {"ok", "cancelled", "http_429"}
    assert any(".a" in turn.session for turn in run.turns)
    for turn in run.turns:
        if turn.outcome == "cancelled":
            assert turn.output_chunks == turn.cancel_after_chunks
    assert run.fleet.replicas[0].cache.usage == 0
    waited = {t.session: t for t in run.turns if t.kind == "tool"}
    assert len(waited) > 10


@pytest.mark.parametrize(
    ("load", "seed", "outcomes", "mean_sent_at_s", "digest"),
    [
        (
            level(1e6),
            1,
            {"context_overflow": 6, "http_429": 39, "ok": 149},
            317.0048486543704,
            "ed628d6be38d1454",
        ),
        (
            level(1e6),
            2,
            {"context_overflow": 4, "http_429": 25, "ok": 170},
            309.4457663999306,
            "5698db3698c9d75d",
        ),
        (
            Load(developers=12, hold_s=900),
            1,
            {"cancelled": 1, "context_overflow": 10, "http_429": 124, "ok": 231},
            416.06782759706044,
            "33db9003e95e63fa",
        ),
        (
            Load(developers=12, hold_s=900),
            2,
            {"cancelled": 1, "context_overflow": 5, "http_429": 73, "ok": 248},
            477.81109964593537,
            "434a75c0c95da57f",
        ),
    ],
)
def test_the_turns_of_a_seed_stay_what_they_are(load, seed, outcomes, mean_sent_at_s, digest):
    """Golden values: what a developer does next may move house, not change."""
    small_pool = WhatIf(kv_tokens=100_000, host_kv_tokens=0).apply(BUSY)
    run = offline_run.run(small_pool, WILD_TRAFFIC, load, seed)
    assert dict(Counter(turn.outcome for turn in run.turns)) == outcomes
    assert mean(turn.sent_at_s for turn in run.turns) == pytest.approx(mean_sent_at_s)
    order = "\n".join(f"{turn.session} {turn.turn} {turn.outcome}" for turn in run.turns)
    assert hashlib.sha256(order.encode()).hexdigest()[:16] == digest


def test_a_turn_waits_for_its_subagents():
    run = offline_run.run(TRTLLM, WILD_TRAFFIC, Load(developers=6, hold_s=1_200), seed=1)
    ended: dict[str, float] = {}
    for turn in run.turns:
        if ".a" in turn.session:
            parent = turn.session.rpartition(".")[0]
            ended[parent] = max(ended.get(parent, 0.0), turn.ended_at_s)
    parents = [t for t in run.turns if t.session in ended and t.kind == "tool"]
    first = {t.session: t for t in reversed(parents)}
    assert len(first) >= 3
    assert all(t.sent_at_s >= ended[name] for name, t in first.items())


def test_a_prompt_beyond_the_context_ends_the_session():
    small_pool = WhatIf(kv_tokens=100_000, host_kv_tokens=0).apply(TRTLLM)
    run = simulate(small_pool, level(0.3e6))
    too_long = [turn for turn in run.turns if turn.outcome == "context_overflow"]
    assert too_long
    for turn in too_long:
        assert turn.prompt_tokens + turn.sequence.output_tokens > 100_000 // BLOCK_TOKENS * 64
        later = [t for t in run.turns if t.session == turn.session and t.turn > turn.turn]
        assert not later


def test_open_mode_offers_what_was_asked_level_after_level():
    load = Load(levels_tpm=(1e6, 2e6), hold_s=900, ramp_s=120)
    run = simulate(PRESETS["together-like"], load)
    for index, asked in enumerate(load.levels_tpm):
        figures = run.figures(index)
        assert figures.offered_tpm == pytest.approx(asked, rel=0.05)
        assert figures.achieved_tpm == pytest.approx(asked, rel=0.08)


def test_developers_follow_their_own_pauses():
    """Three times the developers, three times the tokens; 500 and 1,500 turns scatter by 12 %."""
    few, many = (simulate(FAST, Load(developers=n, hold_s=4_800)).figures(0) for n in (12, 36))
    assert many.achieved_tpm / few.achieved_tpm == pytest.approx(3, rel=0.35)
    assert many.offered_tpm == pytest.approx(many.achieved_tpm, rel=0.05)


def test_the_same_seed_gives_the_same_turns_and_another_seed_others():
    def trace(seed):
        run = simulate(TRTLLM, level(2.5e6), seed)
        return [(t.session, t.turn, t.sent_at_s, t.first_token_at_s) for t in run.turns]

    assert trace(5) == trace(5)
    assert trace(5) != trace(6)


def test_one_process_and_two_give_the_same_points():
    cases = [
        Case(label=str(tpm), preset=TRTLLM, source=SMALL, load=level(tpm, minutes=2))
        for tpm in (5e4, 1e5)
    ]
    assert sweep(cases, range(3), processes=1) == sweep(cases, range(3), processes=2)


def over(preset: Preset, load: Load, seeds: int, profile=SEED) -> list[Figures]:
    return [simulate(preset, load, seed, profile).figures(0) for seed in range(seeds)]


def test_ttft_rises_with_load_and_tps_falls():
    """Medians of 4 seeds; the levels are 30 % and more apart, seeds scatter by 14 %."""
    levels = [over(TRTLLM, level(tpm), 4) for tpm in (0.5e6, 2.5e6, 4e6)]
    ttfts = [median(f.ttft_p50_s for f in figures) for figures in levels]
    speeds = [median(f.tps_p50 for f in figures) for figures in levels]
    assert ttfts[0] * 1.15 < ttfts[1] and ttfts[1] * 1.5 < ttfts[2]
    assert speeds[0] > 1.3 * speeds[1] > 1.3 * 1.3 * speeds[2]


def test_without_a_host_tier_the_pool_of_four_gpus_is_past_its_cliff():
    """docs/engine.md 6.1: 745k tokens thrash at 2 to 2.5M TPM, p50 above 100 s; here 716k."""
    alone = WhatIf(host_kv_tokens=0).apply(TRTLLM)
    with_tier, without = (over(p, level(2e6, 20), 3) for p in (TRTLLM, alone))
    assert median(f.ttft_p50_s for f in with_tier) < 1.2
    assert median(f.ttft_p50_s for f in without) > 30
    assert median(f.hit_share for f in without) < 0.6


def test_without_a_prefix_cache_four_gpus_saturate_near_1m_tpm():
    """docs/engine.md 6.1: saturated at about 0.95M TPM with the first coefficients; +-25 %."""
    off = WhatIf(prefix_cache=False).apply(PRESETS["together-like"])
    carried = median(f.achieved_tpm for f in over(off, level(2.5e6, 20), 3))
    assert 0.7e6 < carried < 1.2e6
    assert all(f.hit_share == 0 for f in over(off, level(0.3e6), 2))


@pytest.mark.parametrize("kv_tokens", LRU_HITS)
def test_hit_share_falls_with_churn_as_the_lru_table_says(kv_tokens):
    """Within 3 points, replies echoed as in the table; 2 seeds of 40 minutes."""
    preset = WhatIf(kv_tokens=int(kv_tokens)).apply(FAST)
    load = replace(level(2.5e6, 40), history="echo", max_developers=2_000)
    hits = []
    for churn in CHURN:
        profile = replace(AGENTIC, end_hazard=AGENTIC.end_hazard * churn)
        hits.append(100 * mean(f.hit_share for f in over(preset, load, 2, profile)))
    assert hits == pytest.approx(LRU_HITS[kv_tokens], abs=3)
    assert hits[0] > hits[1] > hits[2]


def test_the_interval_of_a_median_holds_in_95_percent_of_samples():
    """Order statistics: 24 seeds give ranks 7 and 18 (binomial tables), fewer than 6 give none."""
    assert over_seeds(range(1, 25)) == (12.5, 7, 18)
    assert over_seeds([3.0, 1.0, None, 2.0]) == (2.0, None, None)
    assert over_seeds([1, 2, 3, 4, 5, 6]) == (3.5, 1, 6)
    assert over_seeds([None]) is None
