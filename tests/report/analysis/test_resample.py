"""Intervals against known truth. The long Monte Carlo is in scripts/bench_report.py."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.measure.quantiles import quantile
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.resample import (
    MOST_BINS,
    MOST_CLUSTERS,
    RESAMPLES,
    Clusters,
    blocks,
    interval,
    quantiles,
    ratio,
    wilson,
)

SHARES = (0.1, 0.5, 0.9, 0.99)


def drawn(codes, count=None, seed=0):
    codes = np.asarray(codes)
    count = int(codes.max()) + 1 if count is None else count
    return Clusters.drawn(codes, count, np.random.default_rng(seed))


def repeats(codes, clusters):
    """Each resample's turns spelled out: (resamples, list of row numbers)."""
    return [
        np.repeat(np.arange(len(codes)), row[codes].astype(int)) for row in clusters.weights[:40]
    ]


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=60), st.integers(0, 9))
def test_without_censoring_the_estimate_is_the_quantile_of_the_tool(values, seed):
    codes = np.random.default_rng(seed).integers(0, 5, len(values))
    found, _ = quantiles(
        np.array(values), np.zeros(len(values), bool), codes, drawn(codes, 5), SHARES
    )
    assert found.tolist() == pytest.approx([quantile(values, share) for share in SHARES])


def test_a_resample_is_the_quantile_of_the_turns_it_drew():
    rng = np.random.default_rng(3)
    values, codes = rng.lognormal(size=90), rng.integers(0, 12, 90)
    clusters = drawn(codes, 12)
    _, found = quantiles(values, np.zeros(90, bool), codes, clusters, SHARES)
    for row, turns in enumerate(repeats(codes, clusters)):
        assert found[row].tolist() == pytest.approx(np.quantile(values[turns], SHARES).tolist())


def test_many_turns_are_binned_in_resamples_and_exact_in_the_estimate():
    rng = np.random.default_rng(4)
    n = 5 * MOST_BINS + 77
    values, codes = rng.lognormal(size=n), rng.integers(0, 300, n)
    clusters = drawn(codes, 300)
    found, replicates = quantiles(values, np.zeros(n, bool), codes, clusters, SHARES)
    assert found.tolist() == pytest.approx(np.quantile(values, SHARES).tolist())
    for row, turns in enumerate(repeats(codes, clusters)[:10]):
        expected = np.quantile(values[turns], SHARES)
        assert replicates[row] == pytest.approx(expected, rel=0.03)  # its own error


def test_thousands_of_sessions_are_drawn_in_groups_that_stay_together():
    codes = np.repeat(np.arange(3 * MOST_CLUSTERS), 2)
    clusters = drawn(codes)
    assert clusters.weights.shape == (RESAMPLES, MOST_CLUSTERS)
    assert (clusters.codes[0::2] == clusters.codes[1::2]).all()
    assert (np.bincount(clusters.codes) == 6).all()


def test_a_censored_turn_gives_its_mass_to_the_larger_values():
    # Kaplan-Meier by hand: S(1) = 4/5, 2 is censored, S(3) = 4/5 * 2/3, S(4) = 4/5 * 1/3, S(5) = 0
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    lost = np.array([False, True, False, False, False])
    codes = np.arange(5)
    found, _ = quantiles(values, lost, codes, drawn(codes), (0.0, 0.5, 0.8))
    # masses 1, 0, 4/3, 4/3, 4/3: rank 2 lies in 3, rank 3.2 between ranks 3 (4) and 4 (5)
    assert found.tolist() == pytest.approx([1.0, 3.0, 4.2])


def test_dropping_the_censored_turns_would_be_too_low_and_this_is_not():
    """Exponential waits of mean 10 s watched for at most 0 to 20 s: the truth is 6.93 s."""
    rng = np.random.default_rng(5)
    n = 4000
    waits, ends = rng.exponential(10.0, n), rng.uniform(0, 20, n)
    lost = waits > ends
    codes = np.arange(n) % 500
    found, _ = quantiles(np.minimum(waits, ends), lost, codes, drawn(codes), (0.5,))
    assert np.median(waits[~lost]) < 5
    assert found[0] == pytest.approx(10 * math.log(2), rel=0.06)


def test_a_tail_cut_off_by_the_end_of_the_run_is_open_above():
    values = np.concatenate([np.full(60, 1.0), np.full(40, 2.0)])
    lost = values == 2.0
    codes = np.arange(100) % 20
    clusters = drawn(codes)
    (p50, p90), found = quantiles(values, lost, codes, clusters, (0.5, 0.9))
    assert p50 == 1.0 and math.isinf(p90)
    assert interval(p90, [found[:, 1]], [20]) == Interval(None, None, None)
    assert interval(p50, [found[:, 0]], [20]).low == 1.0


def test_a_ratio_of_sums_is_resampled_by_cluster():
    over, under = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 10.0, 10.0, 10.0])
    codes = np.array([0, 0, 1, 1])
    clusters = drawn(codes)
    value, found = ratio(over, under, codes, clusters)
    assert value == 0.25
    assert set(np.round(found, 6)) == {0.15, 0.25, 0.35}


def test_a_ratio_of_nothing_is_unknown():
    value, found = ratio(np.empty(0), np.empty(0), np.empty(0, int), drawn(np.arange(3)))
    assert math.isnan(value) and np.isnan(found).all()


def test_few_clusters_bear_no_interval():
    assert interval(2.0, [np.linspace(1, 3, 1000)], [4]) == Interval(2.0)
    assert interval(math.nan, [np.linspace(1, 3, 1000)], [40]) == Interval()


def test_an_interval_has_the_outer_ends_of_all_ways_of_drawing():
    many = 10_000  # clusters: plain percentiles
    found = interval(2.0, [np.linspace(1, 3, 1001), np.linspace(1.5, 4, 1001)], [many, many])
    assert found.low == pytest.approx(1.05, abs=0.005)
    assert found.high == pytest.approx(3.9375, abs=0.005)


def test_fewer_clusters_make_a_wider_interval():
    widths = []
    for clusters in (6, 20, 200):
        found = interval(0.0, [np.linspace(-1, 1, 1001)], [clusters])
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)


def test_blocks_cut_a_window_evenly():
    codes = blocks(np.array([-1.0, 0.0, 9.9, 10.0, 39.99, 40.0]), (0.0, 40.0), 4)
    assert codes.tolist() == [-1, 0, 0, 1, 3, -1]


def test_wilson_bounds_what_never_happened():
    """The textbook case: none of 20 is 0 to 16.1%."""
    found = wilson(0, 20)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(0.1611, abs=1e-3)
    assert wilson(20, 20).low == pytest.approx(1 - 0.1611, abs=1e-3)
    assert wilson(0, 0) == Interval()


@pytest.mark.parametrize(("share", "alike"), [(0.5, 0.0), (0.5, 0.5), (0.9, 0.3)])
def test_intervals_cover_the_truth_at_the_stated_rate(share, alike):
    """60 sessions of 6.5 turns, 120 runs: 95% should cover; 88% to 100% passes (3.5 sigma).

    Drawing single turns covers only about 75% where half of the variance is the session's.
    """
    truth = {0.5: 1.0, 0.9: math.exp(1.2816)}[share]
    hits = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        codes = np.repeat(np.arange(60), rng.geometric(1 / 6.5, 60))
        own, shared = rng.normal(size=len(codes)), rng.normal(size=60)[codes]
        values = np.exp(math.sqrt(alike) * shared + math.sqrt(1 - alike) * own)
        clusters = drawn(codes, 60, seed)
        (value,), found = quantiles(values, np.zeros(len(codes), bool), codes, clusters, (share,))
        covered = interval(value, [found[:, 0]], [60])
        hits += covered.low <= truth <= covered.high
    assert hits >= 0.88 * 120
