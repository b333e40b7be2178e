import numpy as np

from tests.support.known_truth import known_run
from tests.support.runs import ladder_run
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.curve import curve
from tokenswarm.report.analysis.steps import steps
from tokenswarm.report.text.findings import text

LADDER = np.linspace(0.4e6, 2.8e6, 9)


def shown(ledger, *slos):
    return text(curve(ledger, steps(ledger), [Slo.parse(slo) for slo in slos]))


def test_knee_and_capacity_are_said_with_their_intervals_and_per_gpu():
    lines = shown(known_run(LADDER, sigma=0.05, turns=400), "ttft_p50<2s").splitlines()
    assert lines[0].startswith("Knee: 1.5")
    assert "per GPU, TTFT p50 1.0" in lines[0]
    assert lines[1].startswith("Capacity under ttft_p50<2s: 2.2")
    assert "2.20M met it, 2.50M did not" in " ".join(lines[1:])


def test_a_capacity_beyond_the_levels_says_which_way():
    ledger = known_run(LADDER)
    text = shown(ledger, "ttft_p50<100s", "ttft_p90<10ms")
    assert "ttft_p50<100s: 2.8" in text and "M or more, no level tried missed it" in text
    assert "ttft_p90<10ms: less than 400k, the lowest tried" in text


def test_a_knee_that_cannot_be_found_says_why():
    assert shown(known_run([1e6])).startswith("Knee: unknown, a knee needs 3 levels")
    above = shown(known_run([0.5e6, 0.7e6, 0.9e6, 1.1e6], sigma=0.05))
    assert above.startswith("Knee: above the highest level tried")


def test_a_level_that_had_not_settled_is_named():
    shown_text = " ".join(shown(ladder_run()).split())
    assert "Level 6 had not settled: 13% of the offered tokens piled up." in shown_text
    assert "Level 1" not in shown_text
