import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workload.lengths import LengthError, Lognormal, Mixture, ShiftedGamma, tokens, whole_tokens
from workload.profiles import MAX_OUTPUT_TOKENS, OUTPUT_TOKENS

LAWS = (
    Lognormal(300, 1.755, at_most=40_000),
    Lognormal.from_mean(7_500, 1.0, at_most=60_000, beyond="clip"),
    Lognormal(35_000, 0.45, at_least=15_000, at_most=100_000),
    Lognormal(6.0, 0.9),
    ShiftedGamma(45_000, 2, 6_000, at_most=60_000),
    OUTPUT_TOKENS,
)


def test_a_million_replies_have_the_published_mean_median_and_p99():
    drawn = tokens(OUTPUT_TOKENS, np.random.default_rng(1), 1_000_000)
    replies = np.minimum(drawn, MAX_OUTPUT_TOKENS)
    assert replies.mean() == pytest.approx(450, rel=0.01)
    assert np.percentile(replies, 50) == pytest.approx(293, rel=0.01)
    assert np.percentile(replies, 99) == pytest.approx(2_230, rel=0.01)


def test_the_mixture_knows_its_published_figures_in_closed_form():
    assert OUTPUT_TOKENS.mean == pytest.approx(450, rel=0.001)
    assert OUTPUT_TOKENS.quantile(0.50) == pytest.approx(293, rel=0.001)
    assert OUTPUT_TOKENS.quantile(0.99) == pytest.approx(2_230, rel=0.001)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_mean_is_the_mean_of_many_draws(law):
    drawn = law.draw(np.random.default_rng(2), 400_000)
    noise = drawn.std() / math.sqrt(len(drawn))
    assert law.mean == pytest.approx(drawn.mean(), abs=4 * noise)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_one_at_a_time_is_the_same_law_as_many_at_once(law):
    rng = np.random.default_rng(3)
    singles = np.array([law.one(rng) for _ in range(20_000)])
    many = law.draw(rng, 20_000)
    shares = np.linspace(0.05, 0.95, 19)
    ranks = np.searchsorted(np.sort(many), np.quantile(singles, shares)) / len(many)
    assert np.abs(ranks - shares).max() < 0.02  # 4 standard errors of a median


@pytest.mark.parametrize(
    "law", [law for law in LAWS if not isinstance(law, ShiftedGamma)], ids=repr
)
@pytest.mark.parametrize("share", (0.1, 0.5, 0.9))
def test_quantile_leaves_its_share_of_draws_below(law, share):
    drawn = law.draw(np.random.default_rng(4), 200_000)
    assert (drawn <= law.quantile(share)).mean() == pytest.approx(share, abs=0.005)
    assert law.cdf(law.quantile(share)) == pytest.approx(share, abs=1e-6)


def test_redrawing_and_clipping_differ_where_the_published_number_tells_them_apart():
    redrawn = Lognormal.from_mean(7_500, 1.0, at_most=60_000)
    clipped = Lognormal.from_mean(7_500, 1.0, at_most=60_000, beyond="clip")
    assert (clipped.draw(np.random.default_rng(5), 100_000) == 60_000).mean() > 0.003
    assert redrawn.draw(np.random.default_rng(5), 100_000).max() < 60_000
    assert redrawn.mean < clipped.mean < 7_500


@given(
    median=st.floats(0.01, 1e6),
    sigma=st.floats(0, 3),
    low=st.floats(0.1, 0.9),
    high=st.floats(1.1, 100),
    beyond=st.sampled_from(["redraw", "clip"]),
    seed=st.integers(0, 99),
)
def test_no_draw_leaves_its_bounds(median, sigma, low, high, beyond, seed):
    try:
        law = Lognormal(median, sigma, median * low, median * high, beyond)
    except LengthError as error:  # too little of the law lies inside
        assert "fewer than 5%" in str(error)
        return
    rng = np.random.default_rng(seed)
    drawn = [*law.draw(rng, 50), *(law.one(rng) for _ in range(20))]
    assert min(drawn) >= law.at_least and max(drawn) <= law.at_most
    assert law.at_least <= law.mean <= law.at_most
    residuals = [law.one_residual(rng) for _ in range(20)]
    assert all(0 <= residual <= law.at_most for residual in residuals)


@pytest.mark.parametrize(
    "law",
    (Lognormal(6.0, 0.9), Lognormal(0.285, 3.0, at_most=600), Lognormal(84, 2.1, at_most=3600)),
)
def test_what_is_left_of_a_pause_has_half_the_length_biased_mean(law):
    rng = np.random.default_rng(6)
    left = np.array([law.one_residual(rng) for _ in range(60_000)])
    drawn = law.draw(rng, 2_000_000)
    expected = (drawn**2).mean() / (2 * drawn.mean())  # renewal theory
    assert left.mean() == pytest.approx(expected, rel=0.03)


def test_token_counts_are_whole_and_at_least_one():
    drawn = tokens(Lognormal(0.5, 2.0), np.random.default_rng(7), 1_000)
    assert drawn.dtype == np.int64 and drawn.min() == 1
    assert (whole_tokens(0.01), whole_tokens(2.6)) == (1, 3)


def test_same_seed_same_draws():
    for law in LAWS:
        first = law.draw(np.random.default_rng(8), 100)
        assert (first == law.draw(np.random.default_rng(8), 100)).all()


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Lognormal(0, 1), "median"),
        (lambda: Lognormal(math.nan, 1), "median"),
        (lambda: Lognormal(math.inf, 1), "median"),
        (lambda: Lognormal(1, -0.1), "sigma"),
        (lambda: Lognormal(1, math.nan), "sigma"),
        (lambda: Lognormal(1, 1, at_least=-1), "at_least"),
        (lambda: Lognormal(1, 1, at_least=2, at_most=1), "at_most"),
        (lambda: Lognormal(1, 1, at_most=math.nan), "at_most"),
        (lambda: Lognormal(1, 0.1, at_least=100), "median"),
        (lambda: Lognormal(1, 1, beyond="bend"), "beyond"),  # type: ignore[arg-type]
        (lambda: ShiftedGamma(-1, 2, 3), "shift"),
        (lambda: ShiftedGamma(1, 0, 3), "shape"),
        (lambda: ShiftedGamma(1, 2, math.inf), "scale"),
        (lambda: ShiftedGamma(100, 2, 3, at_most=50), "at_most"),
        (lambda: ShiftedGamma(100, 2, 3_000, at_most=101), "scale"),
        (lambda: Mixture((), ()), "weights"),
        (lambda: Mixture((0.5,), (Lognormal(1, 1),)), "weights"),
        (lambda: Mixture((1.5, -0.5), (Lognormal(1, 1), Lognormal(2, 1))), "weights"),
    ],
)
def test_impossible_laws_name_the_parameter_and_the_value(make, field):
    with pytest.raises(LengthError, match=f"^{field} = ") as caught:
        make()
    assert caught.value.field == field


@given(st.floats(0.01, 10), st.floats(10, 1e5))
def test_scaling_a_law_scales_its_mean(factor, median):
    laws = (
        Lognormal(median, 0.7, at_most=10 * median),
        ShiftedGamma(median, 2, median, 9 * median),
    )
    for law in laws:
        assert law.scaled(factor).mean == pytest.approx(factor * law.mean, rel=1e-9)
