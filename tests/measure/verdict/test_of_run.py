import pytest

from tests.support.evidence import check, entry, turns, verdict
from tests.support.records import failed_record, unfinished_record
from tokenswarm.measure.books import BALANCED, EXPLAINED, FLAGGED
from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID


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
