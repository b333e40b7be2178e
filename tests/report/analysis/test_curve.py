from dataclasses import replace

import pytest

from tests.support.known_truth import known_run
from tests.support.records import header, turn_record
from tests.support.runs import ladder_run
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.quantiles import quantile
from tokenswarm.measure.record import Level
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.tally import Tally
from tokenswarm.report.analysis.curve import curve
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.steps import steps

SLOS = [Slo.parse("ttft_p50<2s"), Slo.parse("failures<1%")]


def curve_of(ledger, slos=()):
    return curve(ledger, steps(ledger), slos)


def test_a_point_has_the_figures_of_its_summary_with_intervals():
    ledger = known_run([1e6, 2e6], failures=0.05)
    for point in curve_of(ledger, SLOS).points:
        summary = point.summary
        due = Tally(ledger.records).scheduled(point.window)
        good = [r.outcome == "ok" and r.ttft_s is not None and r.ttft_s < 2 for r in due]
        assert point.censored == 0
        for found, value in (
            (point.ttft_p50_s, summary.ttft_s.p50),
            (point.ttft_p90_s, summary.ttft_s.p90),
            (point.ttft_p99_s, summary.ttft_s.p99),
            (point.decode_tps_p50, summary.decode_tps.p50),
            (point.offered_tpm, summary.offered_tpm),
            (point.achieved_tpm, summary.achieved_tpm),
            (point.failure_share, summary.failure_share),
            (point.hit_share, summary.hit_share),
            (point.goodput, sum(good) / len(good)),
        ):
            assert found.value == pytest.approx(value)
            assert found.low <= found.value <= found.high


def test_no_failure_in_a_hundred_turns_is_not_a_failure_share_of_zero_for_sure():
    (point,) = curve_of(known_run([1e6], turns=143)).points
    assert point.failure_share.value == 0.0
    assert point.failure_share.high == pytest.approx(0.037, abs=0.003)  # Wilson, 100 turns


def test_censored_turns_raise_the_percentiles_of_a_saturated_level():
    point = curve_of(ladder_run()).points[-1]
    assert point.censored == point.summary.without_first_token > 0
    seen = [r.ttft_s for r in Tally(ladder_run().records).scheduled(point.window) if not r.failed]
    assert point.ttft_p50_s.value > quantile([ttft_s for ttft_s in seen if ttft_s], 0.5)
    assert point.ttft_p50_s.value == pytest.approx(point.summary.ttft_s.p50)
    assert point.ttft_p99_s.value is None  # beyond the end of the run
    assert point.summary.ttft_s.p99 is None


def test_tpm_per_gpu():
    """The seed's figure: 2.5M on four GPUs is 625k each; undeclared GPUs are unknown."""
    four = curve_of(known_run([1e6]))
    assert four.per_gpu(Interval(2.5e6, 2.4e6, 2.6e6)) == Interval(625e3, 600e3, 650e3)
    undeclared = replace(header(), target=replace(header().target, gpus=None))
    assert replace(four, header=undeclared).per_gpu(Interval(2.5e6)) == Interval()


def test_the_same_ledger_gives_the_same_curve():
    assert curve_of(known_run([1e6, 2e6]), SLOS) == curve_of(known_run([1e6, 2e6]), SLOS)


@pytest.mark.parametrize("records", ([], [turn_record()]))
def test_a_run_of_no_or_one_turn_has_a_curve_of_unknowns(records):
    level = Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0, ended_at_s=30.0)
    (point,) = curve_of(Ledger(header(), records, [level]), SLOS).points
    assert point.ttft_p50_s.low is None
    assert point.steadiness.steady is None


def test_a_level_without_length_is_unknown():
    level = Level(index=0, target_tpm=1e6, developers=None, started_at_s=5.0, ended_at_s=5.0)
    (point,) = curve_of(Ledger(header(), [turn_record()], [level]), SLOS).points
    assert point.offered_tpm == Interval()
