"""The arithmetic of the published study, at list prices, and its slip set right."""

from typing import cast

import pytest

from tokenswarm.report.analysis.bill import (
    Amount,
    Gpus,
    Request,
    Team,
    gpu_bill,
    list_bill,
    per_request,
    saving_share,
    usd_per_input_million,
)
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.prices import read_prices

PRICES = read_prices()
OPUS = PRICES["claude-opus-4-6"]
KIMI = PRICES["together/moonshotai/Kimi-K2.6"]
COLD = Request(input_tokens=88_000, cached_tokens=0, output_tokens=450)
WARM = Request(input_tokens=88_000, cached_tokens=0.96 * 88_000, output_tokens=450)
TEAM = Team()  # 30 engineers at 1.5M TPM, 5 h, 250 days


def test_a_request_of_88k_in_and_450_out_costs_0_451_and_0_108_dollars():
    assert per_request(OPUS, COLD).without_cache_usd == pytest.approx(0.451, abs=5e-4)
    assert per_request(KIMI, COLD).without_cache_usd == pytest.approx(0.108, abs=5e-4)


def test_the_cheaper_one_is_76_percent_cheaper():
    dear, cheap = (per_request(price, COLD).without_cache_usd for price in (OPUS, KIMI))
    assert saving_share(dear, cheap) == pytest.approx(0.76, abs=0.005)


def test_the_team_saves_about_440k_dollars_a_year_uncached():
    assert TEAM.input_tokens_per_year() == 112.5e9
    assert TEAM.requests_per_year(COLD) == pytest.approx(1.278e6, rel=1e-3)
    dear, cheap = (list_bill(price, COLD, TEAM).team_year for price in (OPUS, KIMI))
    saved_usd = dear.without_cache_usd - cheap.without_cache_usd
    assert saved_usd == pytest.approx(440e3, rel=0.005)


def test_with_96_percent_cached_at_list_cache_prices_it_saves_about_67k_dollars():
    dear, cheap = (list_bill(price, WARM, TEAM) for price in (OPUS, KIMI))
    assert dear.request.with_cache_usd == pytest.approx(0.0755, abs=5e-5)
    assert cheap.request.with_cache_usd == pytest.approx(0.0231, abs=5e-5)
    saved_usd = dear.team_year.with_cache_usd - cheap.team_year.with_cache_usd
    assert saved_usd == pytest.approx(67e3, rel=0.005)


def test_a_bill_by_the_million_and_by_the_day():
    bill = list_bill(OPUS, WARM, TEAM)
    assert bill.input_million.without_cache_usd == 5.0
    assert bill.input_million.with_cache_usd == pytest.approx(0.96 * 0.5 + 0.04 * 6.25)
    assert (bill.cached_million_usd, bill.output_million_usd) == (0.5, 25.0)
    days = 30 * 250
    assert bill.developer_day.with_cache_usd == pytest.approx(bill.team_year.with_cache_usd / days)


def test_without_a_cache_price_or_a_cached_count_the_discounted_cost_is_unknown():
    unpriced = PRICES["together/moonshotai/Kimi-K2.5-fp4"]
    assert per_request(unpriced, WARM).with_cache_usd is None
    unknown = Request(input_tokens=88_000, cached_tokens=None, output_tokens=450)
    assert list_bill(OPUS, unknown, TEAM).request.with_cache_usd is None
    assert list_bill(OPUS, unknown, TEAM).team_year == Amount(
        list_bill(OPUS, COLD, TEAM).team_year.without_cache_usd, None
    )


def test_rented_gpus_cost_by_what_they_carry():
    """Four GPUs at $4.50 that carry 2.5M TPM: $18 for 150M tokens, $0.12 a million."""
    gpus = Gpus(usd_per_gpu_hour=4.5, count=4, capacity_tpm=2.5e6)
    bill = gpu_bill(gpus, WARM, TEAM)
    assert bill.input_million == Amount(None, cast(float, pytest.approx(0.12)))
    assert bill.request.with_cache_usd == pytest.approx(0.12 * 0.088)
    assert bill.team_year.with_cache_usd == pytest.approx(112_500 * 0.12)


def test_a_capacity_with_an_interval_makes_a_price_with_one():
    found = usd_per_input_million(4.5, 4, Interval(2.5e6, 2.0e6, None))
    assert found.value == pytest.approx(0.12)
    assert found.low is None and found.high == pytest.approx(0.15)
