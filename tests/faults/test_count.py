"""What `make faults` counts, and which fault a seed draws."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from scripts.faults.count import Counted, Request, back_after_s, count
from scripts.faults.plan import KINDS, LASTING, draw, expected
from tests.support.records import turn_record


def request(session: str, digest: str, sent_at: float | None = 5.0) -> Request:
    return Request(session=session, digest=digest, began_at=1.0, last_at=sent_at, sent_at=sent_at)


def turns(session: str, *numbers: int):
    return [turn_record(session=session, turn=n) for n in numbers]


def test_a_turn_that_the_server_finished_and_no_ledger_has_is_lost():
    requests = [request("a", "1"), request("a", "2"), request("b", "3", sent_at=None)]
    found = count(requests, [turns("a", 0), turns("a", 0)], None)
    assert found == Counted(finished=2, answered=1, lost=1, in_the_air=0, duplicated=0, invented=0)
    killed = count(requests, [turns("a", 0)], killed_at=5.1)
    assert (killed.lost, killed.in_the_air) == (0, 1)


def test_a_body_sent_twice_and_a_turn_recorded_twice_are_seen():
    assert count([request("a", "1"), request("a", "1")], [turns("a", 0, 1)], None).duplicated == 1
    assert count([request("a", "1")], [turns("a", 0, 0)], None).duplicated == 1


def test_an_answer_that_the_server_never_gave_is_invented():
    assert count([request("a", "1", sent_at=None)], [turns("a", 0)], None).invented == 1


def test_the_rate_is_back_where_it_stays_on_the_line():
    one_a_second = [
        replace(turn, sent_at_s=float(n), planned_prompt_tokens=1000)
        for n, turn in enumerate(turns("a", *range(30)))
    ]
    assert back_after_s(one_a_second, 60_000, 10.0, 29.0) == 3.0  # the first window
    gap = [turn for turn in one_a_second if not 12 <= turn.sent_at_s < 18]
    late = back_after_s(gap, 60_000, 10.0, 29.0)
    assert late is not None and 10.0 <= late <= 12.0
    assert back_after_s(gap, 60_000, 10.0, 18.0) is None


def test_a_seed_draws_one_fault_and_all_kinds_come():
    assert draw(7) == draw(7)
    drawn = Counter(draw(seed).kind for seed in range(500))
    assert drawn.keys() == KINDS.keys()
    for seed in range(100):
        fault = draw(seed)
        assert (fault.for_s is not None) is (fault.kind in LASTING)
        assert expected(fault).workers >= fault.workers
