"""Every check of the verdict: passed, at its limits, and not checked without what it needs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import failed_record, header, turn_record, unfinished_record
from tokenswarm.measure.books import BALANCED, EXPLAINED, FLAGGED, Entry
from tokenswarm.measure.ending import Ending
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger import Ledger, Target
from tokenswarm.measure.record import UNSENT, Level
from tokenswarm.measure.routing import routing
from tokenswarm.measure.tally import Tally
from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID, Evidence, Verdict, judge
from workload.fidelity import workload
from workload.figures import Row
from workload.profiles import SEED

# What twenty turns of 1,000 tokens are in it.
LEVEL = Level(index=0, target_tpm=12e3, developers=None, started_at_s=0.0, ended_at_s=100.0)
REAL = Target(url="http://127.0.0.1:8000", model="m", simulated=False)
ENDING = Ending(
    at_s=110.0,
    salted=True,
    workers=None,
    workers_lost=0,
    workers_unreported=0,
    engine_lateness_p99_s=None,
    engine_arrival_lateness_p99_s=None,
)
ROW = Row("prompt mean", "tokens", 88_000, "published", 90_000, 0.02, 0.05, "ok")


def turns(count=20, **changes):
    """Turns of a session each, due one after the other; of text that no cache holds beyond 900."""
    return [turn_record(session=f"w0.u{n}.s0", cached_tokens=900, **changes) for n in range(count)]


def health(**changes):
    values: dict[str, Any] = dict(
        process="local",
        at_s=50.0,
        interval_s=10.0,
        hub_lag_p99_s=0.001,
        hub_lag_max_s=0.01,
        cpu_share=0.2,
        rss_bytes=1,
    )
    return Health(**(values | changes))


CALM = (health(),)


def verdict(
    records=None,
    *,
    ending=ENDING,
    intervals=CALM,
    simulated=False,
    speed=1.0,
    steady=(True,),
    rows=(ROW,),
    promised=True,
    torn_lines=0,
    driven=False,
    books=(),
    routed=None,
    level=LEVEL,
    arrival_cv=0.0,
) -> Verdict:
    target = header().target if simulated else REAL
    ledger = Ledger(
        header(target=target, speed=speed, driven=driven, arrival_cv=arrival_cv),
        turns() if records is None else records,
        [level],
        torn_lines,
        list(intervals),
        workload(SEED) if promised else None,
        ending,
    )
    tally = Tally(ledger.records)
    return judge(
        Evidence(
            ledger=ledger,
            levels=[tally.summary((0.0, 100.0))],
            whole=tally.summary((0.0, 1000.0)),
            steady=steady,
            workload=rows,
            books=books,
            routing=routed,
        )
    )


def entry(state, residual, reason=""):
    """Of the server's books, where ours are 1,000 tokens."""
    server = None if residual is None else 1000 * (1 + residual)
    return Entry(
        quantity="prompt tokens",
        server=server,
        ours=1000.0,
        residual=residual,
        state=state,
        reason=reason,
    )


@pytest.mark.parametrize(
    ("books", "grade", "figure"),
    [
        ([entry(BALANCED, 0.001), entry(BALANCED, -0.002)], VALID, 0.002),
        ([entry(BALANCED, 0.001), entry(FLAGGED, 0.01, "another client")], SUSPECT, 0.01),
        ([entry(FLAGGED, -0.4, "a page is missing")], SUSPECT, 0.4),
        ([entry(EXPLAINED, 0.03, "2 turns without usage")], VALID, 0.0),
        ([entry(None, None, "not on the page")], None, None),
    ],
)
def test_the_servers_books_are_held_to_half_a_percent(books, grade, figure):
    found = check("server's books", books=books)
    assert (found.grade, found.figure) == (grade, pytest.approx(figure) if figure else figure)
    if grade != VALID:
        assert books[-1].reason in found.finding


def test_without_a_page_of_the_server_its_books_are_no_check():
    assert "server's books" not in {c.name for c in verdict().checks}


def check(name, *arguments, **keywords):
    return {c.name: c for c in verdict(*arguments, **keywords).checks}[name]


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
    ("counted", "grade"), [(1000, VALID), (1019, VALID), (970, SUSPECT), (1120, INVALID)]
)
def test_token_drift_counts_either_way(counted, grade):
    assert check("token drift", turns(prompt_tokens=counted)).grade == grade


def test_short_replies_are_suspect():
    assert check("output length", turns(output_tokens=89)).grade == SUSPECT
    assert check("output length", turns(output_tokens=None)).grade is None


def test_a_figure_of_the_workload_outside_its_tolerance_is_suspect_and_named():
    off = replace(ROW, deviation=-0.08, verdict="off")
    found = check("workload", rows=[ROW, off])
    assert found.grade == SUSPECT
    assert "prompt mean -8.0% (tolerance 5.0%)" in found.finding


def test_another_workload_is_invalid():
    assert check("workload", rows=[replace(ROW, deviation=0.3, verdict="off")]).grade == INVALID


def test_a_workload_of_too_few_turns_or_without_a_promise_is_not_checked():
    few = [replace(ROW, verdict="too few")]
    assert "too few turns" in check("workload", rows=few).finding
    assert "earlier version" in check("workload", rows=(), promised=False).finding


def first_turns(cached, prompt=50_000, shared=20_000, count=20):
    return [
        turn_record(
            session=f"w0.u{n}.s0",
            prompt_tokens=prompt,
            planned_prompt_tokens=prompt,
            ideal_cached_tokens=shared,
            cached_tokens=cached,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("cached", "grade"),
    [(0, VALID), (19_968, VALID), (20_400, VALID), (20_900, SUSPECT), (30_000, INVALID)],
)
def test_hits_on_a_sessions_first_private_text_are_contamination(cached, grade):
    assert check("cache contamination", first_turns(cached)).grade == grade


def test_later_turns_may_hit_and_unsent_ones_say_nothing():
    later = [replace(record, turn=1, cached_tokens=50_000) for record in first_turns(0)]
    unsent = [replace(r, kind=UNSENT, cached_tokens=50_000) for r in first_turns(0)]
    assert check("cache contamination", [*first_turns(0), *later, *unsent]).figure == 0.0
    assert check("cache contamination", later).grade is None


def test_contamination_of_a_warm_run_says_why():
    warm = replace(ENDING, salted=False)
    found = check("cache contamination", first_turns(30_000), ending=warm)
    assert "--warm" in found.finding


def test_a_level_with_too_few_turns_is_suspect():
    assert check("samples", turns(10)).grade == SUSPECT
    assert check("samples", turns(11)).grade == VALID


def test_a_run_that_sent_nothing_is_invalid():
    assert check("samples", []).grade == INVALID
    assert verdict([]).grade == INVALID


def test_a_run_in_which_every_turn_failed_is_measured_validly_but_thinly():
    failed = [failed_record("http_5xx", session=f"w0.u{n}.s0") for n in range(50)]
    assert check("samples", failed).grade == SUSPECT


@pytest.mark.parametrize(("cut", "grade"), [(1, VALID), (2, SUSPECT), (120, INVALID)])
def test_turns_without_a_first_token_at_the_end_are_censoring(cut, grade):
    cut_off = [unfinished_record(session=f"w0.u{n}.s1") for n in range(cut)]
    assert check("censoring", [*turns(100), *cut_off]).grade == grade


def test_a_level_that_drifts_is_suspect_only_if_the_endpoint_kept_up():
    assert check("steadiness", steady=[False]).grade == SUSPECT
    overloaded = [*turns(20), *turns(20, scheduled_at_s=20.0, ended_at_s=500.0)]
    assert check("steadiness", overloaded, steady=[False]).grade == VALID
    assert check("steadiness", steady=[None]).grade is None


def test_a_run_that_was_killed_is_invalid_and_says_so():
    found = check("end", ending=None)
    assert found.grade == INVALID and "killed" in found.finding
    assert check("end").grade == VALID


def test_a_run_of_an_earlier_version_may_have_ended():
    found = check("end", ending=None, promised=False)
    assert found.grade is None and "earlier version" in found.finding


def test_a_torn_line_is_suspect():
    assert check("torn ledgers", torn_lines=1).grade == SUSPECT


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
    lines = (Path(__file__).parents[2] / "docs" / "verdict.md").read_text().splitlines()
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


def offered(target_tpm, records=None, **keywords):
    """The check where a level of 12k TPM, or these turns, was meant to be target_tpm."""
    return check("offered load", records, level=replace(LEVEL, target_tpm=target_tpm), **keywords)


@pytest.mark.parametrize(
    ("target_tpm", "grade", "figure"),
    [
        (12e3, VALID, 0.0),
        (13.9e3, VALID, (1.9e3 - 1.38e3) / 13.9e3),  # 2.3 prompts in 100 s are chance
        (15e3, SUSPECT, (3e3 - 1.38e3) / 15e3),
        (9e3, SUSPECT, (3e3 - 1.38e3) / 9e3),  # more than asked for is another level, too
        (20e3, INVALID, (8e3 - 1.38e3) / 20e3),
    ],
)
def test_an_offer_far_from_its_target_is_another_level(target_tpm, grade, figure):
    found = offered(target_tpm)
    assert (found.grade, found.figure) == (grade, pytest.approx(figure))


def test_spread_arrivals_and_several_lines_stray_further_by_chance():
    assert offered(15e3, arrival_cv=1.0).figure == 0.0
    four = replace(ENDING, workers=4)
    assert offered(15e3, ending=four).figure == pytest.approx((3e3 - 2.76e3) / 15e3)


def named_turns(worker, count=10, **changes):
    return [
        turn_record(session=f"w{worker}.u{n}.s0", cached_tokens=900, **changes)
        for n in range(count)
    ]


def test_the_offer_names_a_worker_that_sent_nothing_and_one_that_was_lost():
    elsewhere = turn_record(session="w1.u0.s0", level=1, scheduled_at_s=150.0, sent_at_s=150.0)
    lost = replace(ENDING, workers=2, workers_lost=1)
    said = offered(24e3, [*named_turns(0), elsewhere], ending=lost).finding
    assert "level 0 was offered 25% of it (worker 1 sent nothing, 1 of 2 workers were lost)" in said


def test_the_offer_names_a_clock_that_is_off():
    # Sent in level 0 by its worker's word, and 90 s after its end by that worker's clock.
    astray = named_turns(1, scheduled_at_s=190.0, sent_at_s=190.0)
    said = offered(24e3, [*named_turns(0), *astray]).finding
    assert "the clock of worker 1 is off by 90 s or more" in said


def test_the_offer_names_places_that_are_missing_and_a_slow_generator():
    unsent = [
        turn_record(kind=UNSENT, session=f"w0.ticket{n}", sent_at_s=None, free_at_s=None)
        for n in range(3)
    ]
    assert "3 turns found no free developer" in offered(40e3, turns() + unsent).finding
    late = turns(scheduled_at_s=8.0)
    assert "the generator was slow: p90 of its lateness 2.0 s" in offered(40e3, late).finding


def test_an_offer_off_without_a_sign_of_why_says_that_the_cause_is_not_known():
    assert "(the cause is not known)" in offered(24e3).finding


def test_developers_at_their_own_pace_have_no_offer_to_keep():
    found = offered(None)
    assert (found.grade, found.figure) == (None, None)


@pytest.mark.parametrize(("failed", "grade"), [(0, VALID), (2, VALID), (3, SUSPECT), (20, SUSPECT)])
def test_a_level_that_fails_too_often_is_no_result_and_never_invalid(failed, grade):
    records = turns(20 - failed) + [
        failed_record("http_429", session=f"w0.f{n}") for n in range(failed)
    ]
    found = check("failures", records)
    assert (found.grade, found.figure) == (grade, failed / 20)
    assert ("no result (level 0)" in found.finding) == (grade == SUSPECT)


def test_failures_are_not_checked_where_no_turn_came_to_an_end():
    assert check("failures", [unfinished_record()]).grade is None


def test_a_level_cut_short_in_its_ramp_is_not_held_against_its_target():
    climbing = replace(LEVEL, target_tpm=99e3, ramp_s=30.0)
    assert check("offered load", level=climbing).grade is None
