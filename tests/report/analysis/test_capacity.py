from dataclasses import replace

import numpy as np
import pytest

from tests.support.known_truth import CAPACITY_TPM, known_run, queue_ttft_s
from tests.support.runs import ladder_run
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.capacity import capacities
from tokenswarm.report.analysis.sample import LevelSample, RunSample
from tokenswarm.report.analysis.steps import steps

LADDER = np.linspace(0.4e6, 2.8e6, 9)
HALF_S = Slo.parse("ttft_p50<2s")  # a queue of CAPACITY_TPM reaches it at three quarters
TRUTH_TPM = CAPACITY_TPM * 0.75


def found(ledger, *slos):
    run = RunSample(ledger)
    return capacities([LevelSample(run, step) for step in steps(ledger)], slos)


def test_capacity_is_interpolated_between_the_levels():
    (answer,) = found(known_run(LADDER, sigma=0.05, turns=400), HALF_S)
    assert (answer.bound, answer.claimed) == ("within", True)
    assert answer.tpm.value == pytest.approx(TRUTH_TPM, rel=0.02)
    assert answer.met_at_tpm == pytest.approx(2.2e6, rel=0.02)
    assert answer.missed_at_tpm == pytest.approx(2.5e6, rel=0.02)


def test_intervals_of_capacities_cover_the_truth():
    """16 noisy runs: 95% should cover, and interpolation takes a little; 13 pass."""
    hits = 0
    for seed in range(16):
        (answer,) = found(known_run(LADDER, turns=120, seed=seed), HALF_S)
        hits += answer.tpm.low <= TRUTH_TPM <= answer.tpm.high
    assert hits >= 13


def test_all_slos_together_have_the_lowest_capacity():
    ledger = known_run(LADDER, sigma=0.05, turns=400)
    strict, loose, both = found(ledger, Slo.parse("ttft_p50<1s"), HALF_S)
    assert both.tpm == strict.tpm
    assert strict.tpm.value < loose.tpm.value
    assert [slo.text for slo in both.slos] == ["ttft_p50<1s", "ttft_p50<2s"]


def test_an_slo_met_everywhere_lies_above_the_highest_level():
    (answer,) = found(known_run(LADDER), Slo.parse("ttft_p50<100s"))
    assert (answer.bound, answer.tpm.value, answer.tpm.high) == ("above", None, None)
    assert answer.met_at_tpm == pytest.approx(2.8e6, rel=0.02)
    assert answer.missed_at_tpm is None


def test_an_slo_met_nowhere_lies_below_the_lowest_level():
    (answer,) = found(known_run(LADDER), Slo.parse("ttft_p50<10ms"))
    assert (answer.bound, answer.tpm.value, answer.tpm.low) == ("below", None, None)
    assert answer.met_at_tpm is None


def test_a_level_that_meets_it_again_above_a_miss_does_not_count():
    """An overloaded engine that fails fast has a short TTFT."""

    def ttft_s(load_tpm):
        return 0.2 if load_tpm > 2.6e6 else queue_ttft_s(load_tpm)

    (answer,) = found(known_run(LADDER, ttft_s, sigma=0.05), HALF_S)
    assert answer.tpm.value == pytest.approx(TRUTH_TPM, rel=0.03)


def test_a_tail_of_too_few_turns_is_not_claimed():
    (answer,) = found(known_run(LADDER, turns=150), Slo.parse("ttft_p99<5s"))
    assert not answer.claimed
    assert "a p99 needs 662" in answer.reason


def test_an_slo_that_nobody_reports_on_is_unknown():
    ledger = known_run([1e6, 2e6])
    silent = [_without_usage(record) for record in ledger.records]
    ledger.records[:] = silent
    (answer,) = found(ledger, Slo.parse("hit_share>50%"))
    assert (answer.bound, answer.tpm.value, answer.claimed) == ("unknown", None, False)


def test_an_slo_on_tpm_itself_has_no_capacity():
    assert found(known_run([1e6, 2e6]), Slo.parse("tpm>1M")) == ()


def test_a_run_without_turns_has_no_capacity():
    ledger = known_run([1e6])
    ledger.records.clear()
    (answer,) = found(ledger, HALF_S)
    assert (answer.bound, answer.tpm.value) == ("unknown", None)


def _without_usage(record):
    return replace(record, cached_tokens=None, prompt_tokens=None, output_tokens=None)


def test_refusals_are_no_capacity():
    """The last level refuses a quarter of its turns, so the others are quick enough."""
    ledger = ladder_run(targets_tpm=(1e6, 2.5e6, 4e6))
    (answer,) = found(ledger, Slo.parse("ttft_p50<1000s"))
    carried = [LevelSample(RunSample(ledger), step).achieved_tpm.value for step in steps(ledger)]
    assert (answer.bound, answer.claimed) == ("within", True)
    assert answer.tpm.value == answer.met_at_tpm == pytest.approx(carried[1], rel=0.05)
    assert answer.missed_at_tpm == pytest.approx(4e6, rel=0.2)
    assert answer.spoiled.startswith("level 2 is no result: ")
    assert answer.spoiled.endswith("% of its turns failed")


def test_a_level_far_behind_what_was_offered_is_no_capacity():
    ledger = ladder_run(targets_tpm=(1e6, 2.5e6, 4e6))
    calm = [r for r in ledger.records if not r.failed]
    slow = [
        replace(r, ended_at_s=r.ended_at_s + 1e4) if r.level == 2 and n % 2 else r
        for n, r in enumerate(calm)
    ]
    (answer,) = found(replace(ledger, records=slow), Slo.parse("ttft_p50<1000s"))
    assert answer.bound == "within"
    assert answer.spoiled.startswith("level 2 is no result: ")
    assert answer.spoiled.endswith("% of what was offered came")
