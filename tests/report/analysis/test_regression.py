from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.known_truth import known_run, queue_ttft_s
from tests.support.records import fingerprint, header
from tokenswarm.report.analysis.compare import ComparisonError, StoredRun
from tokenswarm.report.analysis.regression import Limit, regression_text, regressions

LEVEL = [1e6]


def held(limit, base, now, at=None):
    (found,) = regressions(
        StoredRun(Path("runs/now"), now),
        StoredRun(Path("runs/main"), base),
        [Limit.parse(limit)],
        at,
    )
    return found


def slower(factor):
    return lambda load_tpm: factor * queue_ttft_s(load_tpm)


@pytest.mark.parametrize(
    ("text", "metric", "percent", "allowed"),
    [
        ("ttft_p50=10%", "ttft", 50, 0.1),
        ("tps_p10 = 5%", "tps", 10, 0.05),
        ("e2e_p99=150%", "e2e", 99, 1.5),
        ("failures=0.5%", "failures", None, 0.005),
        ("tpm=2%", "tpm", None, 0.02),
    ],
)
def test_a_limit_is_read_as_typed(text, metric, percent, allowed):
    limit = Limit.parse(text)
    assert (limit.metric, limit.percent) == (metric, percent)
    assert limit.allowed == pytest.approx(allowed)


@pytest.mark.parametrize(
    "text",
    ("", "ttft_p50", "ttft=10%", "ttft_p100=10%", "speed_p50=10%", "failures_p50=1%",
     "ttft_p50=10", "ttft_p50=-1%", "ttft_p50<10%", "tps_p50=150%", "hit_share=101%"),
)  # fmt: skip
def test_a_limit_that_does_not_parse_names_itself_and_what_is_accepted(text):
    with pytest.raises(ValueError) as caught:
        Limit.parse(text)
    assert f"--max-regress {text!r}" in str(caught.value)
    assert "accepted" in str(caught.value)


def test_a_clear_regression_fails():
    found = held("ttft_p50=10%", known_run(LEVEL, seed=1), known_run(LEVEL, slower(2), seed=2))
    assert found.fails is True
    assert found.worse == pytest.approx(1.0, abs=0.5)


def test_an_improvement_does_not():
    found = held("ttft_p50=10%", known_run(LEVEL, slower(2), seed=1), known_run(LEVEL, seed=2))
    assert found.fails is False
    assert found.worse < 0


def test_a_regression_within_what_is_allowed_does_not_fail():
    found = held("ttft_p50=10%", known_run(LEVEL), known_run(LEVEL, slower(1.05)))
    assert (found.fails, found.change.seen) == (False, True)  # paired: seen, and allowed


def test_a_difference_inside_the_noise_does_not_fail_and_says_what_would_have():
    few: dict[str, Any] = dict(turns=60, sigma=1.0)
    found = held(
        "ttft_p50=10%",
        known_run(LEVEL, seed=5, **few),
        known_run(LEVEL, slower(1.2), seed=6, **few),
    )
    assert found.fails is False and not found.change.seen
    assert found.detectable > 0.3
    assert "(inside the noise)" in regression_text(found)
    assert "% worse would be seen in 4 of 5 runs" in regression_text(found)


def test_slower_decoding_is_worse_by_what_is_lost():
    base = known_run(LEVEL)
    now = known_run(LEVEL)
    for row, record in enumerate(now.records):
        now.records[row] = replace(record, last_token_at_s=record.first_token_at_s + 2.5)
    found = held("tps_p50=10%", base, now)  # 49.5 to 39.6
    assert found.fails is True
    assert found.worse == pytest.approx(0.2)


def test_a_share_is_limited_in_points():
    base, now = known_run(LEVEL, turns=600), known_run(LEVEL, turns=600, failures=0.1)
    assert held("failures=1%", base, now).fails is True
    assert held("failures=20%", base, now).fails is False


def test_it_is_judged_at_the_highest_level_that_the_baseline_kept_up_with():
    base = known_run([1e6, 2e6], lambda load_tpm: 1.0 if load_tpm < 1.5e6 else 400.0)
    assert held("ttft_p50=10%", base, base).load == "1.00M input TPM"
    assert held("ttft_p50=10%", base, base, at=2e6).load == "2.00M input TPM"


def test_too_few_sessions_cannot_be_judged():
    few = known_run(LEVEL, turns=20)
    found = held("ttft_p50=10%", few, few)
    assert (found.fails, found.reason) == (None, "too few sessions for an interval")


def test_another_workload_is_refused():
    other = replace(
        known_run(LEVEL), header=replace(header(), fingerprint=fingerprint(profile="wild"))
    )
    with pytest.raises(ComparisonError, match="profile: wild against seed|seed against wild"):
        held("ttft_p50=10%", other, known_run(LEVEL))


def test_an_unchanged_endpoint_rarely_fails_and_a_slower_one_often_does():
    """Runs of 250 turns in sessions that are alike. Of 25 pairs without a change 2.5%
    should fail (3 pass: three standard deviations), of those 60% slower 80% or more (17 pass)."""

    def fails(factor, seed):
        base, now = (
            known_run(LEVEL, slower(by), turns=250, seed=seed + own)
            for own, by in ((0, 1.0), (1, factor))
        )
        return bool(held("ttft_p50=10%", base, now).fails)

    assert sum(fails(1.0, 2 * pair) for pair in range(25)) <= 3
    assert sum(fails(1.6, 2 * pair) for pair in range(25)) >= 17


def test_a_baseline_that_had_not_settled_cannot_fail_a_run():
    """Close to saturation runs of one engine differ by more than their turns tell."""
    base = known_run(LEVEL, sigma=0.1)
    for row, record in enumerate(base.records):
        if record.scheduled_at_s > 390:  # the second half of the window
            base.records[row] = replace(record, first_token_at_s=record.first_token_at_s + 1.0)
    found = held("ttft_p50=10%", base, known_run(LEVEL, slower(9), sigma=0.1))
    assert (found.fails, found.reason) == (None, "the baseline had not settled at this level")
