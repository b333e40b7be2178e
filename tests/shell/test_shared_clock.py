"""Second 0 of a master's run, from questions and answers that take their time."""

from __future__ import annotations

import pytest

from tokenswarm.shell.shared_clock import LIMIT_S, ClockError, Reading, agreed, reading

ORIGIN = 5000.0  # of the run, on the worker's monotonic clock
SPEED = 20.0


def test_an_answer_that_takes_as_long_as_the_question_is_exact():
    asked_at, way_s = 5060.0, 0.2
    run_s = (asked_at + way_s - ORIGIN) * SPEED
    found = reading(asked_at, asked_at + 2 * way_s, run_s, SPEED)
    assert found.origin == pytest.approx(ORIGIN)
    assert found.uncertainty_s == pytest.approx(way_s)


@pytest.mark.parametrize("there_s", [0.0, 0.1, 0.4])
def test_one_that_does_not_is_wrong_by_no_more_than_it_says(there_s):
    asked_at, both_s = 5060.0, 0.4
    run_s = (asked_at + there_s - ORIGIN) * SPEED
    found = reading(asked_at, asked_at + both_s, run_s, SPEED)
    assert abs(found.origin - ORIGIN) <= found.uncertainty_s + 1e-9


def test_the_answer_with_the_shortest_way_counts():
    near, far = Reading(ORIGIN, 0.001), Reading(ORIGIN + 0.2, 0.3)
    assert agreed([far, near, far]) == near


def test_a_clock_that_is_not_known_well_enough_is_refused():
    with pytest.raises(ClockError, match="takes 1.2 s, .* accepted: 0.5 s"):
        agreed([Reading(ORIGIN, LIMIT_S + 0.1)])
    with pytest.raises(ClockError, match="answered no question"):
        agreed([])
