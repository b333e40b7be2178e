"""When a run fails so much that going on measures nothing."""

import pytest

from tests.support.records import failed_record, turn_record, unfinished_record
from tokenswarm.measure.failing import WINDOW_TURNS, Failing, too_many

OK = turn_record()
REFUSED = failed_record("http_429", detail="429: slow down")


def stops_after(records, limit=0.2):
    """How many turns it takes; None where it goes on."""
    failing = Failing(limit)
    return next((n for n, record in enumerate(records, 1) if failing.add(record)), None)


def test_the_figures_of_the_docs():
    for n, needed in ((6, 6), (20, 13), (WINDOW_TURNS, 23)):
        assert too_many(needed, n, 0.2) and not too_many(needed - 1, n, 0.2)


def test_a_server_that_only_refuses_ends_the_run_after_six_turns():
    assert stops_after([REFUSED] * 10) == 6


def test_one_that_breaks_in_the_middle_ends_it_within_half_a_window():
    assert stops_after([OK] * 200 + [REFUSED] * 40) == 223


def test_failures_that_the_limit_allows_go_on():
    assert stops_after([OK, OK, OK, OK, REFUSED] * 400) is None


def test_without_any_allowed_the_first_one_ends_it():
    assert stops_after([OK, OK, REFUSED], limit=0.0) == 3


def test_turns_that_the_end_cuts_off_say_nothing():
    assert stops_after([unfinished_record()] * 100) is None


@pytest.mark.parametrize("detail", ["429: slow down", ""])
def test_the_reason_names_the_kind_and_the_servers_words(detail):
    failing = Failing(0.2)
    reasons = [failing.add(failed_record("http_429", detail=detail)) for _ in range(6)]
    said = f": {detail}" if detail else ""
    assert reasons[-1] == (
        "6 of the last 6 turns failed, and 20% are allowed (--max-failures); most with "
        f"http_429{said}"
    )
