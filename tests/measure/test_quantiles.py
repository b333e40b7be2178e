import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.measure.quantiles import (
    Spread,
    censored_quantiles,
    claimable,
    quantile,
    samples_needed,
)


def test_a_quantile_interpolates_linearly_between_order_statistics():
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert quantile([0.0, 10.0], 0.9) == pytest.approx(9.0)
    assert quantile([7.0], 0.99) == 7.0


def test_the_quantile_of_nothing_is_unknown():
    assert quantile([], 0.5) is None
    assert Spread.of([None]) == Spread(
        count=0, mean=None, p10=None, p50=None, p90=None, p95=None, p99=None
    )


def test_a_spread_leaves_unknown_samples_out():
    spread = Spread.of([1.0, None, 3.0])
    assert (spread.count, spread.mean, spread.p50) == (2, 2.0, 2.0)
    assert spread.p10 == pytest.approx(1.2)
    assert [spread.at(percent) for percent in (10, 50)] == [spread.p10, spread.p50]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_lies_between_the_extremes(samples, q):
    value = quantile(samples, q)
    assert min(samples) <= value <= max(samples)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 99))
def test_a_spread_holds_every_percentile(samples, percent):
    assert Spread.of(samples).at(percent) == quantile(samples, percent / 100)


def test_a_spread_holds_the_percentiles_that_objectives_are_on():
    spread = Spread.of(range(1, 102))
    assert [spread.at(percent) for percent in (10, 50, 90, 95, 99)] == [11, 51, 91, 96, 100]


def test_a_p99_needs_662_samples_a_p90_64_and_a_median_11():
    assert [samples_needed(q) for q in (0.99, 0.9, 0.5)] == [662, 64, 11]
    assert samples_needed(0.1) == 64
    assert claimable(0.99, 662) and not claimable(0.99, 661)


@pytest.mark.parametrize("q", (0.0, 1.0, 1.5))
def test_the_extremes_can_never_be_claimed(q):
    with pytest.raises(ValueError, match="between 0 and 1"):
        samples_needed(q)


def test_with_enough_samples_two_lie_beyond_the_true_p99_in_99_of_100_runs():
    """4,000 runs of 662 uniform samples: binomial error 0.16%, tolerance four times that."""
    rng = np.random.default_rng(1)
    beyond = rng.binomial(662, 0.01, size=4000)
    assert np.mean(beyond >= 2) == pytest.approx(0.99, abs=0.0065)


def test_the_order_of_the_samples_does_not_matter():
    samples = [random.Random(2).expovariate(1) for _ in range(500)]
    assert Spread.of(samples) == Spread.of(sorted(samples))


def test_a_censored_sample_gives_its_mass_to_the_longer_ones():
    """Kaplan and Meier by hand: of 1, 2 or more, 3, 4 the mass of the second goes to 3 and 4."""
    values, censored = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, False])
    found = censored_quantiles(values, censored, (0.0, 1 / 3, 2 / 3, 1.0))
    assert found == pytest.approx([1.0, 3.0, 3.0, 4.0])  # masses 1, 0, 1.5, 1.5


def test_without_censored_samples_the_quantiles_are_the_ordinary_ones():
    values = np.random.default_rng(1).gamma(2, size=50)
    found = censored_quantiles(values, np.zeros(50, dtype=bool), (0.1, 0.5, 0.99))
    assert found.tolist() == [quantile(values.tolist(), q) for q in (0.1, 0.5, 0.99)]


def test_a_percentile_beyond_everything_seen_is_unknown_and_longer_than_every_wait():
    spread = Spread.of_censored(np.array([1.0, 2.0, np.nan]), np.array([np.nan, np.nan, 9.0]))
    assert (spread.count, spread.mean, spread.p99, spread.cut_off_at) == (2, None, None, 9.0)
    assert spread.p10 == pytest.approx(1.2)
