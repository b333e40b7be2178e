"""Arrivals: the target line's integral, and tickets that keep to it."""

from __future__ import annotations

import math
from itertools import chain, cycle, islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workload.arrivals import ArrivalError, Arrivals, TargetLine, TicketQueue
from workload.profiles import SEED
from workload.session import sessions

HOUR_S = 3600.0


@pytest.fixture(scope="module")
def prompt_sizes() -> list[int]:
    """Prompts of the seed profile, of many sessions interleaved as a run's are."""
    developers = (islice(sessions(SEED, 1, 0, user), 8) for user in range(150))
    lives = [[t.prompt_tokens for s in own for t in iter(s.next_turn, None)] for own in developers]
    return list(chain.from_iterable(zip(*lives, strict=False)))


def line_through(*changes: tuple[float, float, float]) -> TargetLine:
    """Changes of (at_s, tpm, ramp_s)."""
    line = TargetLine()
    for at_s, tpm, ramp_s in changes:
        line.set_tpm(at_s, tpm, ramp_s)
    return line


def test_a_line_without_a_rate_asks_for_nothing():
    line = TargetLine()
    assert line.tokens_at(100.0) == 0.0
    assert line.time_of(1.0) == math.inf


def test_the_line_is_the_integral_of_its_pieces():
    line = TargetLine()
    line.set_tpm(0.0, 60.0)
    assert [line.tokens_at(t) for t in (0.0, 10.0)] == [0.0, 10.0]
    line.set_tpm(10.0, 600.0)
    assert [line.tokens_at(t) for t in (10.0, 20.0)] == [10.0, 110.0]
    line.set_tpm(20.0, 0.0)
    assert line.tokens_at(1000.0) == 110.0
    line.set_tpm(30.0, 60.0)
    assert line.tokens_at(40.0) == 120.0


def test_a_ramp_climbs_evenly_from_the_old_rate_to_the_new():
    line = line_through((0.0, 60.0, 0.0), (10.0, 180.0, 20.0))
    # 10 tokens, then from 1 to 3 per second within 20 s, then 3 per second.
    assert [line.tokens_at(t) for t in (10.0, 20.0, 30.0, 40.0)] == [10.0, 25.0, 50.0, 80.0]
    assert [line.tpm_at(t) for t in (10.0, 20.0, 30.0, 99.0)] == [60.0, 120.0, 180.0, 180.0]
    assert [line.time_of(n) for n in (25.0, 50.0, 80.0)] == pytest.approx([20.0, 30.0, 40.0])


def test_a_ramp_cut_short_goes_on_from_where_it_was():
    line = line_through((0.0, 0.0, 0.0), (0.0, 600.0, 10.0), (5.0, 0.0, 10.0))
    assert line.tokens_at(5.0) == pytest.approx(12.5)  # half way up: 5 per second
    assert line.tpm_at(5.0) == pytest.approx(300.0)
    assert line.tokens_at(15.0) == line.tokens_at(99.0) == pytest.approx(37.5)


def test_a_line_that_comes_to_rest_is_never_reached_above():
    line = line_through((0.0, 600.0, 0.0), (10.0, 0.0, 10.0))
    assert line.time_of(149.0) < 20.0
    assert line.time_of(150.5) == math.inf


def test_no_time_lies_before_the_last_change():
    line = line_through((0.0, 600.0, 0.0), (60.0, 6_000.0, 0.0))
    assert line.time_of(100.0) == 60.0


RATES_TPM = st.just(0.0) | st.floats(1, 1e7)
RAMPS_S = st.just(0.0) | st.floats(0.01, 600)
TIMES_S = st.floats(0, 1e4)


@given(RATES_TPM, RATES_TPM, RAMPS_S, st.floats(0, 1e3))
def test_time_and_tokens_are_inverse_to_each_other(from_tpm, to_tpm, ramp_s, elapsed_s):
    line = line_through((0.0, from_tpm, 0.0), (100.0, to_tpm, ramp_s))
    tokens = line.tokens_at(100.0 + elapsed_s)
    reached_s = line.time_of(tokens)
    if math.isfinite(reached_s):
        assert line.tokens_at(reached_s) == pytest.approx(tokens, rel=1e-6, abs=1e-3)
    else:
        # At rest; to a rounding at the very end of the ramp.
        assert to_tpm == 0
        assert elapsed_s >= ramp_s or elapsed_s == pytest.approx(ramp_s, rel=1e-6)


@given(RATES_TPM, RATES_TPM, RAMPS_S, st.lists(TIMES_S, min_size=2))
def test_the_line_never_falls(from_tpm, to_tpm, ramp_s, times_s):
    line = line_through((0.0, from_tpm, 0.0), (0.0, to_tpm, ramp_s))
    values = [line.tokens_at(t) for t in sorted(times_s)]
    assert all(after >= before - 1e-6 * before for before, after in pairwise(values))


def offered_against_line(
    arrivals: Arrivals, line: TargetLine, sizes, until_s: float, seen: list[float]
) -> None:
    """Sends every ticket when it is due; notes the distance from the line before and after."""
    while (due_s := arrivals.next_due_s()) <= until_s:
        seen.append(arrivals.offered_tokens - line.tokens_at(due_s))
        arrivals.issue()
        arrivals.took(next(sizes))
        seen.append(arrivals.offered_tokens - line.tokens_at(due_s))
    seen.append(arrivals.offered_tokens - line.tokens_at(until_s))


@pytest.mark.parametrize("tpm", [0.5e6, 2.5e6, 10e6])
def test_paced_tickets_keep_within_two_mean_prompts_of_the_line(tpm, prompt_sizes):
    mean = float(np.mean(prompt_sizes))
    line = line_through((0.0, tpm, 0.0))
    arrivals = Arrivals(line, mean, cv=0, rng=np.random.default_rng(1))
    seen: list[float] = []
    offered_against_line(arrivals, line, cycle(prompt_sizes), 2 * HOUR_S, seen)
    assert len(seen) > 2 * 2 * 60 * tpm / mean * 0.97
    assert min(seen) >= -mean / 2 - 1
    assert max(seen) <= SEED.max_prompt_tokens - mean / 2 + 1
    assert max(seen) < 2 * mean


def test_paced_tickets_keep_to_the_line_across_levels_ramps_and_rests(prompt_sizes):
    mean = float(np.mean(prompt_sizes))
    line = TargetLine()
    arrivals = Arrivals(line, mean, cv=0, rng=np.random.default_rng(1))
    levels = [(0.5e6, 0.0), (2.5e6, 120.0), (3e6, 0.0), (0.0, 60.0), (1e6, 120.0), (0.2e6, 0.0)]
    sizes = cycle(prompt_sizes)
    seen: list[Any] = []
    for n, (tpm, ramp_s) in enumerate(levels):
        line.set_tpm(n * 1200.0, tpm, ramp_s)
        offered_against_line(arrivals, line, sizes, (n + 1) * 1200.0, seen)
    assert max(map(abs, seen)) < 2 * mean
    assert arrivals.offered_tokens == pytest.approx(line.tokens_at(7200.0), abs=2 * mean)


@pytest.mark.parametrize("behind", [1, 5, 40])
def test_tickets_taken_late_are_corrected_when_their_size_is_known(behind, prompt_sizes):
    mean = float(np.mean(prompt_sizes))
    line = line_through((0.0, 2.5e6, 0.0))
    arrivals = Arrivals(line, mean, cv=0, rng=np.random.default_rng(1))
    sizes = cycle(prompt_sizes)
    taken = 0
    for n in range(5_000):
        due_s = arrivals.next_due_s()
        arrivals.issue()
        if n >= behind:
            size = next(sizes)
            taken += size
            arrivals.took(size)
    assert arrivals.offered_tokens == pytest.approx(taken + behind * mean)
    assert arrivals.offered_tokens == pytest.approx(line.tokens_at(due_s), abs=2 * mean)


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_random_gaps_have_the_spread_asked_for_at_the_rate_asked_for(cv, prompt_sizes):
    """200,000 gaps, in tokens per token of the prompt before. The mean's standard error is 0.22% x
    cv, the offered rate's 0.25% x cv (long prompts weigh more), so 1% x cv is four of them. Over
    20,000 it would be 0.8%, and one seed in five would miss 1%."""
    mean = float(np.mean(prompt_sizes))
    line = line_through((0.0, 2.5e6, 0.0))
    arrivals = Arrivals(line, mean, cv=cv, rng=np.random.default_rng(1))
    sizes = list(islice(cycle(prompt_sizes), 200_000))
    due_s = []
    for size in sizes:
        due_s.append(arrivals.next_due_s())
        arrivals.issue()
        arrivals.took(size)
    due_s.append(arrivals.next_due_s())
    gaps = np.diff(due_s) * 2.5e6 / 60 / np.array(sizes)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)
    assert gaps.mean() == pytest.approx(1.0, rel=0.01 * cv)
    offered_tpm = sum(sizes) / (due_s[-1] - due_s[0]) * 60
    assert offered_tpm == pytest.approx(2.5e6, rel=0.01 * cv)


def test_the_same_generator_gives_the_same_due_times():
    def due_times() -> list[float]:
        arrivals = Arrivals(
            line_through((0.0, 1e6, 0.0)), 88_000, cv=1.0, rng=np.random.default_rng(3)
        )
        times_s = []
        for _ in range(50):
            times_s.append(arrivals.next_due_s())
            arrivals.issue()
            arrivals.took(70_000)
        return times_s

    assert due_times() == due_times()


def test_no_ticket_is_due_while_the_target_is_nothing():
    arrivals = Arrivals(TargetLine(), 88_000, cv=0, rng=np.random.default_rng(1))
    assert arrivals.next_due_s() == math.inf


@pytest.mark.parametrize("tpm", [-1.0, math.inf, math.nan])
def test_a_bad_rate_is_refused(tpm):
    with pytest.raises(ArrivalError, match=r"tpm .*accepted are finite rates >= 0"):
        TargetLine().set_tpm(0.0, tpm)


@pytest.mark.parametrize("ramp_s", [-1.0, math.inf, math.nan])
def test_a_bad_ramp_is_refused(ramp_s):
    with pytest.raises(ArrivalError, match=r"ramp .*accepted"):
        TargetLine().set_tpm(0.0, 1.0, ramp_s)


def test_a_change_before_the_last_one_is_refused():
    line = line_through((10.0, 60.0, 0.0))
    with pytest.raises(ArrivalError, match=r"rate change at 9.0 s lies before the last one, 10.0"):
        line.set_tpm(9.0, 60.0)


@pytest.mark.parametrize("cv", [-0.1, math.inf, math.nan])
def test_a_bad_spread_is_refused(cv):
    with pytest.raises(ArrivalError, match=r"--arrival-cv .*accepted are finite numbers >= 0"):
        Arrivals(TargetLine(), 88_000, cv=cv, rng=np.random.default_rng(1))


def test_tickets_are_taken_oldest_first():
    tickets = TicketQueue()
    for due_s in (1.0, 2.0, 3.0):
        tickets.put(due_s)
    assert [tickets.take(), tickets.take(), len(tickets)] == [1.0, 2.0, 1]
    tickets.take()
    with pytest.raises(IndexError):
        tickets.take()


def test_the_last_token_of_a_ramp_down_to_rest_has_a_time():
    line = line_through((0.0, 500_000.0, 0.0), (0.0, 0.0, 465.0))
    assert line.time_of(1_937_500.0) == pytest.approx(465.0)
