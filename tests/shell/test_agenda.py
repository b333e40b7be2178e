"""What is planned comes out by time, and of one time as it was put in."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.shell.agenda import Agenda

TIMES = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40)


@given(TIMES)
def test_items_come_out_by_time_then_by_order(planned):
    agenda: Agenda[int] = Agenda()
    entries = [agenda.put(float(at_s), n) for n, (at_s, _) in enumerate(planned)]
    for entry, (_, dropped) in zip(entries, planned, strict=True):
        if dropped:
            agenda.drop(entry)
    kept = [n for n, (_, dropped) in enumerate(planned) if not dropped]
    expected = sorted(kept, key=lambda n: (planned[n][0], n))
    seen = []
    while not math.isinf(at_s := agenda.next_s):
        seen.append(agenda.pop())
        assert planned[seen[-1]][0] == at_s
    assert seen == expected


def test_an_empty_agenda_has_nothing():
    agenda: Agenda[int] = Agenda()
    assert agenda.next_s == math.inf
    with pytest.raises(IndexError):
        agenda.pop()
    with pytest.raises(ValueError, match="not a number"):
        agenda.put(math.nan, 1)
