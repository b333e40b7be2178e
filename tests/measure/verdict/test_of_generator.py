from dataclasses import replace
from typing import Any

import pytest

from tests.support.evidence import ENDING, check, health, turns, verdict
from tokenswarm.measure.record import Level
from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID


@pytest.mark.parametrize(("lateness_s", "grade"), [(0.2, VALID), (0.3, SUSPECT), (1.1, INVALID)])
def test_lateness_with_a_developer_free_is_the_generators(lateness_s, grade):
    late = turns(scheduled_at_s=10.0 - lateness_s, free_at_s=0.0)
    assert check("generator lateness", late).grade == grade


def test_lateness_for_want_of_a_developer_is_the_engines():
    waited = turns(scheduled_at_s=0.0, free_at_s=9.99)
    assert check("generator lateness", waited).grade == VALID


def test_lateness_of_an_earlier_version_is_not_checked():
    assert check("generator lateness", turns(free_at_s=None)).grade is None


def test_kernel_stamps_need_no_hub():
    assert check("first-token stamps", intervals=()).grade == VALID


@pytest.mark.parametrize(("lag_s", "grade"), [(0.005, VALID), (0.02, SUSPECT), (0.06, INVALID)])
def test_clock_stamps_are_as_good_as_the_hub_is_quick_against_ttft(lag_s, grade):
    by_clock = turns(stamps="clock")  # TTFT 1 s
    found = check("first-token stamps", by_clock, intervals=[health(hub_lag_p99_s=lag_s)])
    assert found.grade == grade
    assert found.figure == pytest.approx(lag_s)


def test_clock_stamps_without_a_measured_hub_are_not_checked():
    assert check("first-token stamps", turns(stamps="clock"), intervals=()).grade is None


def test_read_lag_is_wall_time():
    lagging = turns(stamp_lag_s=0.4)
    assert check("read lag", lagging).grade == SUSPECT
    assert check("read lag", lagging, speed=20.0, simulated=True).grade == VALID


@pytest.mark.parametrize(("reads", "grade"), [(5, VALID), (6, SUSPECT), (26, INVALID)])
def test_coalesced_reads_are_counted_against_the_chunks(reads, grade):
    assert check("coalesced reads", turns(coalesced_chunks=reads)).grade == grade


@pytest.mark.parametrize(("stall_s", "grade"), [(0.5, VALID), (0.6, SUSPECT), (3.1, INVALID)])
def test_the_longest_hub_stall_counts(stall_s, grade):
    found = check("hub stalls", intervals=[health(), health(hub_lag_max_s=stall_s)])
    assert found.grade == grade


def test_a_stall_before_the_first_level_does_not_count():
    before = health(at_s=5.0, hub_lag_max_s=9.0)  # began at -5 s
    assert check("hub stalls", intervals=[before, health()]).grade == VALID
    assert check("hub stalls", intervals=[before]).grade is None


def test_a_stall_of_a_level_that_an_interval_outlasts_counts():
    level = Level(index=0, target_tpm=1e6, developers=None, started_at_s=44.0, ended_at_s=62.0)
    late = health(at_s=54.2, hub_lag_max_s=1.5)  # the worker heard of the level 0.2 s later
    beyond = health(at_s=66.0, hub_lag_max_s=1.5)  # 6 of its 10 s are the level's
    drain = health(at_s=72.1, hub_lag_max_s=1.5)
    for interval, grade in ((late, SUSPECT), (beyond, SUSPECT), (drain, None)):
        assert check("hub stalls", level=level, intervals=[interval]).grade == grade


def test_the_busiest_process_is_judged_by_its_own_intervals():
    busy = [health(process="worker-1", cpu_share=0.95)] * 3
    found = check("CPU", intervals=[*[health(process="worker-0")] * 20, *busy])
    assert found.grade == SUSPECT
    assert "worker-1" in found.finding


def test_a_single_busy_interval_among_many_does_not_count():
    calm = [health(at_s=20.0 + n) for n in range(19)]
    assert check("CPU", intervals=[*calm, health(cpu_share=1.0)]).grade == VALID


@pytest.mark.parametrize("missing", ["workers_lost", "workers_unreported"])
def test_a_lost_or_silent_worker_makes_the_run_invalid(missing):
    lost: dict[str, Any] = {missing: 1}
    ending = replace(ENDING, workers=4, **lost)
    assert check("workers", ending=ending).grade == INVALID


def test_a_run_without_an_end_does_not_know_its_workers():
    found = check("workers", ending=None)
    assert found.grade is None and "killed" in found.finding


@pytest.mark.parametrize(
    ("wall_s", "grade"),
    # TTFT p50 is 1 engine s, so 0.05 is suspect; at speed 20 that is 2.5 ms.
    [(0.002, VALID), (0.003, SUSPECT), (0.006, INVALID), (None, None)],
)
def test_the_embedded_engines_own_lateness(wall_s, grade):
    ending = replace(ENDING, engine_lateness_p99_s=wall_s)
    found = check("engine lateness", simulated=True, speed=20.0, ending=ending)
    assert found.grade == grade


def test_the_lateness_of_a_real_engine_is_no_question():
    assert "engine lateness" not in {c.name for c in verdict().checks}
