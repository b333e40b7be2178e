import numpy as np
import pytest

from tests.support.known_truth import CAPACITY_TPM, known_run
from tokenswarm.report.analysis.knee import knee
from tokenswarm.report.analysis.sample import LevelSample, RunSample
from tokenswarm.report.analysis.steps import steps

LADDER = np.linspace(0.4e6, 2.8e6, 9)


def found(ledger):
    run = RunSample(ledger)
    return knee([LevelSample(run, step) for step in steps(ledger)])


def bent_ttft_s(load_tpm):
    """Flat at 0.5 s up to 2M TPM, then ten times as long for each further 0.5M."""
    return 0.5 * 10 ** (max(0.0, load_tpm - 2.0e6) / 0.5e6)


def test_the_knee_of_a_queue_is_half_of_its_capacity():
    answer = found(known_run(LADDER, sigma=0.05, turns=400))
    assert answer.bound == "within"
    assert answer.tpm.value == pytest.approx(CAPACITY_TPM / 2, rel=0.05)
    assert answer.ttft_p50_s == pytest.approx(1.0, rel=0.05)  # twice that of an idle engine


def test_the_knee_of_a_sharp_bend_is_the_bend():
    answer = found(known_run([1e6, 1.5e6, 2e6, 2.5e6, 3e6], bent_ttft_s))
    assert answer.tpm.value == pytest.approx(2e6, rel=0.03)
    assert answer.tpm.low == pytest.approx(1.5e6, rel=0.03)  # the levels on both sides
    assert answer.tpm.high == pytest.approx(2.5e6, rel=0.03)


def test_intervals_of_knees_cover_the_truth():
    """16 noisy runs: 95% or more should cover; 13 pass (fewer once in 150)."""
    truth = CAPACITY_TPM / 2
    answers = [found(known_run(LADDER, turns=120, seed=seed)).tpm for seed in range(16)]
    bounded = [a for a in answers if a.low is not None and a.high is not None]
    assert sum(a.low <= truth <= a.high for a in bounded) >= 13
    assert sum(a.high - a.low < 2e6 for a in bounded) >= 13  # and they say something


def test_a_ladder_below_the_knee_says_that_it_lies_above():
    answer = found(known_run([0.5e6, 0.7e6, 0.9e6, 1.1e6], sigma=0.05))
    assert (answer.bound, answer.tpm.value, answer.tpm.high) == ("above", None, None)


def test_a_ladder_above_the_knee_says_that_it_lies_below():
    answer = found(known_run([2e6, 2.3e6, 2.6e6, 2.8e6], sigma=0.05))
    assert (answer.bound, answer.tpm.value, answer.tpm.low) == ("below", None, None)


def test_two_levels_have_no_knee():
    answer = found(known_run([1e6, 2e6]))
    assert (answer.bound, answer.tpm.value) == ("unknown", None)
    assert answer.reason == "a knee needs 3 levels with turns, there are 2"
