import math
import warnings
from dataclasses import replace

import numpy as np

from tests.support.known_truth import known_run
from tests.support.runs import ladder_run
from tokenswarm.measure.ledger import Ledger
from tokenswarm.report.analysis.sample import LevelSample, RunSample
from tokenswarm.report.analysis.steady import steadiness
from tokenswarm.report.analysis.steps import steps


def found(ledger: Ledger, level: int = 0):
    run = RunSample(ledger)
    return steadiness(LevelSample(run, steps(ledger)[level]))


def test_a_level_that_keeps_up_is_steady():
    answer = found(known_run([1e6]))
    assert answer.steady is True
    assert answer.reason == ""
    assert answer.ttft_ratio.low < 1 < answer.ttft_ratio.high
    assert abs(answer.backlog_share.value) < 0.05


def test_a_half_without_a_turn_warns_nobody():
    ledger = known_run([1e6])
    early = [r for r in ledger.records if r.scheduled_at_s < 390]  # the first half of the window
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found(replace(ledger, records=early)).ttft_ratio.value is None


def test_an_overloaded_level_piles_up_and_is_not_steady():
    answer = found(ladder_run(), 6)
    assert answer.steady is False
    assert answer.backlog_share.low > 0
    assert "13% of the offered tokens piled up" in answer.reason


def test_a_second_half_that_saw_no_first_tokens_is_not_steady():
    answer = found(ladder_run((2e6, 4.5e6)), 1)
    assert answer.steady is False
    assert "the TTFT p50 of the second half lies beyond the end of the run" in answer.reason


def test_ttft_that_grows_within_the_level_is_not_steady():
    ledger = known_run([1e6], sigma=0.1)
    for row, record in enumerate(ledger.records):
        if record.scheduled_at_s > 390:  # the second half of the window
            later = record.first_token_at_s + 0.75
            ledger.records[row] = replace(record, first_token_at_s=later)
    answer = found(ledger)
    assert answer.steady is False
    assert answer.reason == "TTFT p50 of the second half is 2 times that of the first"


def test_steady_levels_are_rarely_called_unsteady():
    """Of 100 levels of a constant queue at most 3 (2% and two standard deviations: 5)."""
    called = [found(known_run([1e6], turns=120, seed=seed)).steady for seed in range(100)]
    assert called.count(False) <= 5


def remembering(seed: int, grows: float = 1.0) -> Ledger:
    """120 turns of a queue that remembers for minutes, as one near saturation does: the logarithms
    of TTFT have a standard deviation of 0.8, half of it with a memory of 90 s. grows: the factor
    between the halves of the window."""
    ledger = known_run([1e6], turns=120, sigma=0.4)
    rng, state = np.random.default_rng(seed), 0.0
    kept = math.exp(-5.0 / 90.0)  # a turn every 5 s
    for row, record in enumerate(ledger.records):
        state = kept * state + math.sqrt(1 - kept**2) * rng.normal()
        factor = math.exp(0.57 * (state + rng.normal())) * (grows if row >= 78 else 1.0)
        ledger.records[row] = replace(record, first_token_at_s=record.scheduled_at_s + factor)
    return ledger


def test_a_queue_that_remembers_is_no_drift():
    """4% of these levels; 14% without regard to the memory, at 95%."""
    called = [found(remembering(seed)).steady for seed in range(100)]
    assert called.count(False) <= 5


def test_ttft_that_grows_fivefold_is_found_in_such_a_queue_too():
    """In two of three."""
    called = [found(remembering(seed, grows=5.0)).steady for seed in range(40)]
    assert called.count(False) >= 20


def test_too_few_turns_say_nothing():
    answer = found(known_run([1e6], turns=20))
    assert answer.steady is None
    assert answer.reason == "7 turns in half of the level, 11 are needed"
