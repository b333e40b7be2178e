from dataclasses import replace

import pytest

from tests.support.evidence import ENDING, LEVEL, check, turns
from tests.support.records import failed_record, turn_record, unfinished_record
from tokenswarm.measure.record import UNSENT
from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID


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


AT_ONCE = {"scheduled_at_s": 1.0, "sent_at_s": 1.0}


def named_turns(worker, count=10, **changes):
    return [
        turn_record(session=f"w{worker}.u{n}.s0", cached_tokens=900, **changes)
        for n in range(count)
    ]


def test_the_offer_names_a_worker_that_sent_nothing_and_one_that_was_lost():
    elsewhere = turn_record(session="w1.u0.s0", level=1, scheduled_at_s=150.0, sent_at_s=150.0)
    lost = replace(ENDING, workers=2, workers_lost=1)
    said = offered(24e3, [*named_turns(0, **AT_ONCE), elsewhere], ending=lost).finding
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


def test_the_offer_names_a_start_without_traffic():
    said = offered(40e3, turns(scheduled_at_s=13.6, sent_at_s=13.6)).finding
    assert "(no turn was due in its first 13.6 s)" in said
    assert "no turn was due" not in offered(40e3, turns(scheduled_at_s=1.9)).finding


def test_an_offer_off_without_a_sign_of_why_says_that_the_cause_is_not_known():
    assert "(the cause is not known)" in offered(24e3, turns(**AT_ONCE)).finding


def test_a_level_in_which_the_master_was_killed_has_no_offer_that_is_known():
    cut = replace(LEVEL, target_tpm=100e3, ended_at_s=None)
    assert check("offered load", level=cut, ending=None).grade is None
    whole = replace(cut, ended_at_s=100.0)
    assert check("offered load", level=whole, ending=None).grade == INVALID


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
