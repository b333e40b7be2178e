import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workload.day import SERVICE_S, day
from workload.fidelity import simulate
from workload.figures import Sample
from workload.lengths import Lognormal, Mixture, ShiftedGamma
from workload.profile import Compaction, Profile, Subagents
from workload.profiles import AGENTIC, PROFILES, SEED, WILD
from workload.session import Session, Turn, sessions

WEKA = Path(__file__).parents[3] / "shared" / "data" / "quantiles.json"


def life(profile: Profile, seed: int = 0, *, stationary: bool = False) -> list[Turn]:
    session = Session(profile, np.random.default_rng(seed), "s", stationary=stationary)
    return list(iter(session.next_turn, None))


@pytest.fixture(scope="module", params=["seed", "agentic"])
def many(request) -> tuple[Profile, Sample]:
    """20,000 sessions: 131k turns of seed, 526k of agentic."""
    profile = PROFILES[request.param]
    return profile, simulate(profile, 20_000, seed=7)


def test_the_mean_prompt_is_88k(many):
    _, sample = many
    assert sample.prompt_tokens.mean() == pytest.approx(88_000, rel=0.01)


def test_every_prompt_has_45k_to_200k_tokens(many):
    _, sample = many
    assert sample.prompt_tokens.min() >= 45_000 and sample.prompt_tokens.max() <= 200_000


def test_sessions_have_the_published_number_of_turns(many):
    profile, sample = many
    assert sample.session_turns.mean() == pytest.approx(
        {"seed": 6.5, "agentic": 26.3}[profile.name], rel=0.03
    )


def test_an_endless_cache_holds_the_published_share(many):
    profile, sample = many
    hit = sample.ideal_cached_tokens.sum() / sample.prompt_tokens.sum()
    assert hit == pytest.approx({"seed": 0.87, "agentic": 0.971}[profile.name], abs=0.01)


def test_prompt_quantiles_are_the_designed_ones(many):
    profile, sample = many
    quantiles = np.percentile(sample.prompt_tokens, [10, 25, 50, 75, 90, 99])
    designed = {
        "seed": [50_500, 57_700, 76_500, 109_000, 146_000, 191_000],
        "agentic": [56_600, 65_400, 81_100, 104_000, 130_000, 177_000],
    }[profile.name]
    assert quantiles == pytest.approx(designed, rel=0.02)


def test_expected_turns_are_near_the_simulated_ones(many):
    profile, sample = many
    assert profile.expected_turns() == pytest.approx(sample.session_turns.mean(), rel=0.05)


@pytest.mark.parametrize("profile", (SEED, AGENTIC), ids=lambda p: p.name)
def test_a_crowd_sends_what_its_profile_promises_from_the_first_minute_on(profile):
    """1,500 developers on their own pauses, each answer taking 8 s: in every stretch of time the
    rate of turns, the mean prompt and the share of new sessions are those of an endless run."""
    turns = [turn for user in range(1_500) for turn in timed(profile, user, until_s=600.0)]
    starts = 1 / profile.expected_turns()
    for start_s, end_s in ((0.0, 120.0), (120.0, 600.0)):
        here = [turn for at_s, turn in turns if start_s <= at_s < end_s]
        per_s = len(here) / 1_500 / (end_s - start_s)
        assert per_s == pytest.approx(1 / day(profile).turn_s, rel=0.05)
        prompts = [turn.prompt_tokens for turn in here]
        assert np.mean(prompts) == pytest.approx(88_000, rel=0.03)
        assert np.percentile(prompts, 90) == pytest.approx(
            profile.target("prompt p90").value, rel=0.05
        )
        assert np.mean([turn.kind == "start" for turn in here]) == pytest.approx(starts, rel=0.12)


def timed(profile, user, until_s):
    """(second, turn) of a developer who is met at second 0."""
    at_s = 0.0
    for session in sessions(profile, 11, 0, user):
        for turn in iter(session.next_turn, None):
            at_s += turn.gap_s
            if at_s >= until_s:
                return
            yield at_s, turn
            at_s += SERVICE_S


def met(profile=SEED, users=2_000):
    """First turns of developers who are met."""
    return [
        Session(profile, np.random.default_rng(u), "s", stationary=True).next_turn()
        for u in range(users)
    ]


def test_a_developer_met_in_mid_session_has_nothing_but_the_shared_prefix_in_a_cache():
    firsts = met()
    assert {turn.kind for turn in firsts} == {"start", "met"}
    for turn in firsts:
        assert (turn.index, turn.ideal_cached_tokens) == (0, 20_000)
        assert turn.new_tokens == turn.prompt_tokens - 20_000


def test_one_met_between_two_sessions_begins_a_fresh_one():
    of_day = day(SEED)
    firsts = met()
    # A session that ends while its last turn is answered is followed by a fresh one as well.
    between = (of_day.start_s + of_day.service_s / SEED.expected_turns()) / of_day.turn_s
    starts = [turn.prompt_tokens for turn in firsts if turn.kind == "start"]
    assert len(starts) / len(firsts) == pytest.approx(between, rel=0.07)
    assert np.mean(starts) == pytest.approx(51_000, rel=0.01)


def test_a_first_gap_is_what_is_left_of_a_length_biased_pause_or_of_an_answer_and_a_pause():
    """Renewal theory: mean residual = E[gap^2] / 2 E[gap] over pauses and answers alike."""
    gaps = simulate(SEED, 20_000, seed=3).gaps_s
    of_day = day(SEED)
    pauses_s = of_day.turn_s - of_day.service_s
    expected = (gaps**2).mean() / (2 * gaps.mean()) * pauses_s
    expected += of_day.service_s * (of_day.service_s / 2 + gaps.mean())
    left = np.array([turn.gap_s for turn in met(users=6_000)])
    assert left.mean() == pytest.approx(expected / of_day.turn_s, rel=0.08)


def test_sessions_of_one_turn_are_met_at_their_start():
    short = replace(SEED, end_hazard=1.0, end_hazard_slope=0.0)
    assert {turn.kind for turn in met(short, users=20)} == {"start"}


def test_a_fresh_session_begins_after_a_human_pause():
    gaps = [life(SEED, seed)[0].gap_s for seed in range(2_000)]
    assert np.median(gaps) == pytest.approx(200, rel=0.1)


def test_the_same_seed_replays_the_same_sessions_and_other_workers_differ():
    def first_turns(seed, worker, user):
        return [life_.next_turn() for life_ in islice(sessions(AGENTIC, seed, worker, user), 3)]

    assert first_turns(1, 2, 3) == first_turns(1, 2, 3)
    starts = {
        tuple(turn.prompt_tokens for turn in first_turns(*key))
        for key in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (3, 2, 1))
    }
    assert len(starts) == 5


def test_sessions_are_named_after_worker_user_and_number():
    names = [session.name for session in islice(sessions(SEED, 0, 4, 7), 3)]
    assert names == ["w4.u7.s0", "w4.u7.s1", "w4.u7.s2"]


def test_an_ended_session_stays_ended():
    session = Session(SEED, np.random.default_rng(0), "s")
    while session.next_turn() is not None:
        pass
    assert [session.next_turn() for _ in range(3)] == [None, None, None]


@st.composite
def profiles(draw) -> Profile:
    """Any possible profile, with any of the options."""
    low = draw(st.integers(1, 50_000))
    high = low + draw(st.integers(1_000, 300_000))
    shared = draw(st.integers(0, low))
    start_at_most = low + draw(st.integers(100, high - low))
    compaction = None
    if draw(st.booleans()):
        at = int(high / 1.2)
        if at * 0.8 > low * 2:
            to = Lognormal(low * 1.3, 0.3, at_least=low, at_most=low * 1.6)
            compaction = Compaction(at, 0.06, to)
    return Profile(
        name="any",
        min_prompt_tokens=low,
        max_prompt_tokens=high,
        shared_prefix_tokens=shared,
        start_tokens=ShiftedGamma(low, 2, (start_at_most - low) / 4, at_most=start_at_most),
        growth_tokens=Lognormal(draw(st.floats(50, 20_000)), draw(st.floats(0, 2))),
        end_hazard=draw(st.floats(0.02, 0.5)),
        end_hazard_slope=draw(st.floats(0, 5)),
        output_tokens=Mixture((1.0,), (Lognormal(draw(st.floats(1, 2_000)), 0.8),)),
        max_output_tokens=draw(st.integers(1, 5_000)),
        tool_share=draw(st.floats(0, 1)),
        tool_gap_s=Lognormal(1.0, 1.0),
        human_gap_s=Lognormal(60.0, 1.0),
        compaction=compaction,
        subagents=draw(st.none() | st.just(Subagents())) if high > 20_000 else None,
        interrupt_share=draw(st.sampled_from([0.0, 0.3, 1.0])),
    )


@given(profiles(), st.integers(0, 1_000), st.booleans())
@settings(deadline=None, max_examples=150)
def test_prompts_grow_append_only_within_their_limits(profile, seed, stationary):
    turns = life(profile, seed, stationary=stationary)
    assert turns[0].kind in (("start", "met") if stationary else ("start",))
    for index, turn in enumerate(turns):
        assert turn.index == index
        assert profile.min_prompt_tokens <= turn.prompt_tokens <= profile.max_prompt_tokens
        assert turn.prompt_tokens == turn.ideal_cached_tokens + turn.new_tokens
        assert 1 <= turn.reply_tokens <= turn.output_tokens <= profile.max_output_tokens
        assert turn.gap_s >= 0
        if turn.kind in ("start", "met", "compaction"):
            assert turn.ideal_cached_tokens == profile.shared_prefix_tokens
    for before, turn in zip(turns, turns[1:], strict=False):
        assert turn.kind not in ("start", "met")
        if turn.kind != "compaction":
            assert turn.ideal_cached_tokens == before.prompt_tokens + before.reply_tokens
            assert turn.new_tokens >= 1
        if before.cancel_after_chunks is not None:
            assert turn.kind in ("user", "compaction")


def test_compaction_drops_the_history_but_not_the_shared_prefix():
    turns = [turn for seed in range(60) for turn in life(WILD, seed)]
    drops = [
        (before, turn)
        for before, turn in zip(turns, turns[1:], strict=False)
        if turn.kind == "compaction"
    ]
    assert len(drops) == pytest.approx(60 * 0.85, rel=0.4)
    for before, turn in drops:
        assert before.prompt_tokens > 100_000 and turn.prompt_tokens <= 100_000
        assert turn.ideal_cached_tokens == 15_000 and turn.subagents == 0
    assert np.median([turn.prompt_tokens for _, turn in drops]) == pytest.approx(36_000, rel=0.2)


def test_without_the_option_nothing_is_cancelled():
    assert all(turn.cancel_after_chunks is None for turn in life(SEED, 5))


def test_a_share_of_user_turns_is_interrupted_and_leaves_part_of_its_reply():
    profile = replace(AGENTIC, interrupt_share=0.07)
    turns = [turn for seed in range(1_500) for turn in life(profile, seed)]
    user = [turn for turn in turns if turn.kind == "user"]
    cut = [turn for turn in turns if turn.cancel_after_chunks is not None]
    assert {turn.kind for turn in cut} == {"user"}
    assert len(cut) / len(user) == pytest.approx(0.07, abs=0.012)
    assert 0.007 <= len(cut) / len(turns) <= 0.011
    for turn in cut:
        assert 1 <= turn.cancel_after_chunks == turn.reply_tokens
        assert turn.cancel_after_chunks <= max(1, turn.output_tokens / 4)


def test_subagents_come_before_the_first_tool_turn_and_are_a_fifth_of_requests():
    """21.5% of requests (8,000 sessions); AgentX 24.3%, where a session may send a second group."""
    profile = replace(AGENTIC, subagents=Subagents())
    own = theirs = using = 0
    for number in range(1_000):
        session = Session(profile, np.random.default_rng(number), f"s{number}")
        turns = list(iter(session.next_turn, None))
        own += len(turns)
        groups = [turn for turn in turns if turn.subagents]
        assert len(groups) <= 1
        for turn in groups:
            using += 1
            assert turn.kind == "tool" and 1 <= turn.subagents <= 5
            assert all(earlier.kind != "tool" for earlier in turns[: turn.index])
            for k in range(turn.subagents):
                theirs += sum(1 for _ in iter(session.subagent(k).next_turn, None))
    assert using / 1_000 == pytest.approx(0.29, abs=0.045)
    assert theirs / (own + theirs) == pytest.approx(0.215, abs=0.03)


def test_a_subagent_is_a_short_session_of_tool_turns_from_10k():
    profile = replace(AGENTIC, subagents=Subagents(session_share=1.0), interrupt_share=1.0)
    lives = []
    for number in range(400):
        session = Session(profile, np.random.default_rng(number), "s")
        agent = session.subagent(0)
        assert agent.name == "s.a0"
        lives.append(list(iter(agent.next_turn, None)))
        assert lives[-1] == list(iter(session.subagent(0).next_turn, None))  # replayed
    turns = [turn for agent_life in lives for turn in agent_life]
    assert {turn.kind for turn in turns} == {"start", "tool"}
    assert not any(turn.subagents or turn.cancel_after_chunks for turn in turns)
    assert all(agent_life[0].gap_s == 0 for agent_life in lives)
    assert len(turns) / len(lives) == pytest.approx(10.7, rel=0.12)
    assert np.mean([turn[0].prompt_tokens for turn in lives]) == pytest.approx(10_300, rel=0.03)
    assert np.mean([turn.prompt_tokens for turn in turns]) == pytest.approx(45_000, rel=0.15)


def test_asking_for_a_subagent_that_does_not_exist_says_how_many_there_are():
    with pytest.raises(IndexError, match="session s has 0 sub-agents, no number 0"):
        Session(SEED, np.random.default_rng(0), "s").subagent(0)


@pytest.mark.skipif(not WEKA.exists(), reason="the extract of real traces is not here")
def test_outputs_and_growth_have_the_shape_of_real_claude_code_traces():
    """Short replies: p10 and p25 over p50 within 5%. Growth: p50, p90 of the real traces."""
    real = json.loads(WEKA.read_text())
    at = {p: i for i, p in enumerate(real["percentiles"])}
    outputs = real["weka_output_tokens"]["q"]
    for percent in (10, 25):
        ours = AGENTIC.output_tokens.quantile(percent / 100) / AGENTIC.output_tokens.quantile(0.5)
        assert ours == pytest.approx(outputs[at[percent]] / outputs[at[50]], rel=0.05)
    growth = real["weka_external_new_tokens"]["q"]
    for percent in (50, 75, 90, 95, 99):
        ours = AGENTIC.growth_tokens.quantile(percent / 100)
        assert ours == pytest.approx(growth[at[percent]], rel=0.15)
