"""A quick look says what it rests on, how far off it may be, and to which side it leans."""

from __future__ import annotations

from dataclasses import replace

from tests.support.records import ending, header
from tests.support.runs import ladder_run
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.result import Result, result
from tokenswarm.report.text import findings, quick, terminal
from tokenswarm.report.text.headline import details, headline
from workload.figures import Row

SHORT = ladder_run(targets_tpm=(1e6, 1.75e6, 2.5e6), level_s=160.0)
LOOK = replace(SHORT, header=header(quick=True))
HEAD = "How sure this quick look is (95% intervals):"


def test_it_stands_in_a_quick_run_alone():
    assert HEAD in terminal.text(result(LOOK)) and HEAD not in terminal.text(result(SHORT))
    assert any(said.startswith("A quick look") for said in details(result(LOOK)))
    assert not any(said.startswith("A quick look") for said in details(result(SHORT)))


def with_ttft(*intervals: Interval) -> Result:
    """The look with these instead of the p50s of its levels."""
    found = result(LOOK)
    points = [replace(p, ttft_p50_s=i) for p, i in zip(found.curve.points, intervals, strict=True)]
    return replace(found, curve=replace(found.curve, points=tuple(points)))


def test_the_turns_of_each_level_and_the_widest_interval_are_said():
    found = with_ttft(Interval(0.6, 0.5, 0.9), Interval(0.8, 0.2, 1.6), Interval(2.0, 1.0, 4.0))
    turns = [point.summary.requests for point in found.curve.points]
    assert turns == sorted(turns) and min(turns) >= 11
    said = quick.sentence(found)
    assert f"its levels rest on {', '.join(map(str, turns))} turns, " in said
    assert "TTFT p50 is known to a factor of 4.0 (95%). The ladder without" in said
    row = next(line for line in quick.text(found).splitlines() if "0.80 (0.20 to 1.60)" in line)
    assert row.split()[:3] == ["1", "1.75M", str(turns[1])]


def test_levels_without_a_bound_are_not_passed_over():
    found = with_ttft(Interval(0.6, 0.5, 0.9), Interval(0.8, 0.5, None), Interval())
    said = quick.sentence(found)
    assert "to a factor of 1.5 (95%), at 2 of them not even that. " in said
    none = with_ttft(*[Interval(0.7, 0.5, None)] * 3)
    assert "no bound on their TTFT p50 is known" in quick.sentence(none)


def test_cold_levels_lean_slow():
    """Ideal hit of the made-up turns: 87%."""
    found = result(LOOK)
    for promised, cold in ((0.95, True), (0.80, False)):
        row = Row(
            quantity="ideal hit", unit="share", target=promised, source="", realised=0.87,
            deviation=None, tolerance=None, verdict="too few",
        )  # fmt: skip
        said = quick.text(replace(found, workload=(row,)))
        assert ("Short levels lean slow, and the capacity low" in said) is cold
        assert ("87% of the prompt tokens at the coldest level, in the long run it is 95%"
                in " ".join(said.split())) is cold  # fmt: skip


def test_what_a_quick_look_missed_is_not_claimed_and_what_it_met_is():
    for threshold, bound, claimed in (("1.6s", "within", False), ("0.1s", "below", False),
                                      ("900s", "above", True)):  # fmt: skip
        slos = [Slo.parse(f"ttft_p50<{threshold}")]
        whole, look = result(SHORT, slos).curve, result(LOOK, slos).curve
        assert (whole.capacities[0].bound, whole.capacities[0].claimed) == (bound, True)
        assert look.capacities[0].claimed is claimed
        assert look.capacities[0].tpm == whole.capacities[0].tpm
        said = "Not to be claimed: a quick look, which leans low."
        assert (said in " ".join(findings.text(look).split())) is not claimed
    assert " seems to carry " in headline(result(LOOK, [Slo.parse("ttft_p50<1.6s")]))
    assert " seems to miss " in headline(result(LOOK, [Slo.parse("ttft_p50<0.1s")]))


def test_a_quick_run_that_is_invalid_or_empty_claims_nothing():
    lost = replace(LOOK, ending=ending(workers=2, workers_lost=1))
    assert not any("factor" in said for said in details(result(lost)))
    assert not any("factor" in said for said in details(result(Ledger(header(quick=True)))))
