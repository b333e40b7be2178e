from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.evidence import ENDING, check, entry, health, turns, verdict
from tests.support.records import turn_record
from tokenswarm.measure.books import BALANCED
from tokenswarm.measure.routing import routing
from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID


def test_a_clean_run_is_valid_and_everything_was_checked():
    found = verdict()
    assert found.grade == VALID
    assert found.reasons == [] and found.unchecked == []


def test_the_verdict_is_the_worst_of_its_checks_and_names_the_worst_first():
    late = turns(free_at_s=0.0, scheduled_at_s=9.5)
    found = verdict(late, intervals=[health(hub_lag_max_s=5.0)])
    assert found.grade == INVALID
    assert [(c.grade, c.name) for c in found.reasons] == [
        (INVALID, "hub stalls"),
        (SUSPECT, "generator lateness"),
    ]


def test_in_driven_time_a_busy_machine_changes_no_figure():
    busy = [health(hub_lag_max_s=5.0, cpu_share=1.0)]
    stamped = turns(stamps="engine", stamp_lag_s=0.0)
    found = verdict(stamped, intervals=busy, simulated=True, driven=True)
    assert found.grade == VALID
    assert {c.name: c.finding for c in found.unchecked} == {
        name: "in driven time a busy machine only makes the run longer, and no figure depends on it"
        for name in ("read lag", "hub stalls", "CPU")
    }
    (late,) = (c for c in found.passed if c.name == "engine lateness")
    assert (late.figure, late.finding[:17]) == (0.0, "0 by construction")


def test_a_lost_clock_is_invalid_and_says_why():
    lost = replace(ENDING, clock_lost="the engine is gone")
    found = check("engine lateness", ending=lost, simulated=True, driven=True)
    assert found.grade == INVALID and "the engine is gone" in found.finding
    assert check("engine lateness", ending=None, simulated=True, driven=True).grade is None


def test_what_is_not_known_is_never_passed():
    bare = [
        turn_record(
            session=f"w0.u{n}.s0",
            prompt_tokens=None,
            cached_tokens=None,
            output_tokens=None,
            free_at_s=None,
        )
        for n in range(20)
    ]
    found = verdict(bare, ending=None, intervals=(), steady=[None], rows=(), promised=False)
    assert {c.name for c in found.unchecked} == {
        "generator lateness",
        "hub stalls",
        "CPU",
        "workers",
        "token drift",
        "output length",
        "workload",
        "cache contamination",
        "steadiness",
        "end",
    }
    assert all(c.finding for c in found.unchecked)


def test_every_check_says_what_it_is_where_its_limit_is_from_and_how_to_mend_it():
    for c in verdict(simulated=True, ending=replace(ENDING, engine_lateness_p99_s=0.0)).checks:
        assert c.finding and c.mend and c.limits.source and c.limits.unit
        assert c.limits.suspect is not None or c.limits.invalid is not None


def test_the_page_of_the_docs_lists_every_check_with_its_limits():
    lines = (Path(__file__).parents[3] / "docs" / "verdict.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    listed = {row[0]: row[2:4] for row in rows[2:]}
    two = routing([turn_record(replica="0"), turn_record(replica="1")], ())
    booked = [entry(BALANCED, 0.0)]
    checks = verdict(simulated=True, speed=1.0, books=booked, routed=two).checks
    assert list(listed) == [c.name for c in checks]
    for c in checks:
        for limit, text in zip((c.limits.suspect, c.limits.invalid), listed[c.name], strict=True):
            if limit is None:
                assert text == "", c.name
            elif not text.startswith("5% of the lowest"):
                number = text.removesuffix(" engine s").removesuffix(" s")
                value = float(number[:-1]) / 100 if number.endswith("%") else float(number)
                assert value == pytest.approx(limit), c.name
