import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.measure.search import Search, hold_s, turns_needed
from tokenswarm.measure.slo import Slo


def searched(capacity_tpm, lowest=0.5e6, highest=40e6, tolerance=0.1):
    """The search against an endpoint that is good enough up to capacity_tpm, and what it tried."""
    search = Search(lowest_tpm=lowest, highest_tpm=highest, tolerance=tolerance)
    tried = []
    while (tpm := search.next_tpm) is not None:
        tried.append(tpm)
        search = search.answered(tpm <= capacity_tpm)
    return search, tried


def test_it_doubles_then_bisects():
    search, tried = searched(2.7e6)
    assert [round(tpm / 1e6, 2) for tpm in tried] == [0.5, 1.0, 2.0, 4.0, 2.83, 2.38, 2.59]
    assert search.met_tpm == pytest.approx(2.59e6, rel=0.01)
    assert search.missed_tpm == pytest.approx(2.83e6, rel=0.01)


@given(st.floats(0.5e6, 39.9e6), st.floats(0.01, 0.9))
def test_the_capacity_is_known_within_the_tolerance(capacity_tpm, tolerance):
    search, tried = searched(capacity_tpm, tolerance=tolerance)
    assert search.met_tpm <= capacity_tpm < search.missed_tpm
    assert search.missed_tpm <= (1 + tolerance) * search.met_tpm
    assert len(set(tried)) == len(tried)
    assert all(0.5e6 <= tpm <= 40e6 for tpm in tried)
    # one octave at most is left when bisecting begins; each level halves its logarithm
    halvings = math.ceil(math.log2(math.log(2) / math.log1p(tolerance)))
    assert len(tried) <= 2 + math.ceil(math.log2(capacity_tpm / 0.5e6) + 1e-9) + max(0, halvings)


def test_a_miss_at_the_lowest_rate_ends_it():
    search, tried = searched(0.3e6)
    assert tried == [0.5e6]
    assert (search.met_tpm, search.missed_tpm) == (None, 0.5e6)


def test_it_never_asks_for_more_than_the_highest_rate():
    search, tried = searched(1e9, highest=3e6)
    assert tried == [0.5e6, 1e6, 2e6, 3e6]
    assert (search.met_tpm, search.missed_tpm) == (3e6, None)


def test_an_answer_after_the_end_is_refused():
    search, _ = searched(2.7e6)
    with pytest.raises(ValueError, match="the search is over"):
        search.answered(True)


def test_a_level_lasts_until_its_percentiles_may_be_claimed():
    slos = [Slo.parse("ttft_p50<1s"), Slo.parse("ttft_p90<3s"), Slo.parse("failures<1%")]
    assert turns_needed(slos) == 64
    assert turns_needed([Slo.parse("failures<1%")]) == 1
    # 80 prompts of 88k at 2.5M TPM are 2.816 minutes, 70% of the level
    assert hold_s(2.5e6, 88e3, 64, 0.3, 60.0) == pytest.approx(2.816 * 60 / 0.7)
    assert hold_s(2.5e6, 88e3, 64, 0.3, 480.0) == 480.0
