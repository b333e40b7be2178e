import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import failed_record, turn_record, turn_records, unfinished_record
from tokenswarm.measure.columns import Columns
from tokenswarm.measure.tally import Tally


@settings(deadline=None)  # a busy machine is slow at times
@given(st.lists(turn_records(), max_size=12))
def test_columns_hold_what_the_records_say(records):
    columns = Columns.of(records)
    for row, record in enumerate(records):
        assert columns.sessions[columns.session[row]] == record.session
        assert columns.failed[row] == record.failed
        ttft_s = None if record.failed else record.ttft_s
        assert _known(columns.ttft_s[row]) == ttft_s
        assert _known(columns.decode_tps[row]) == (None if record.failed else record.decode_tps)


@settings(deadline=None)  # a busy machine is slow at times
@given(st.lists(turn_records(), max_size=12))
def test_a_window_of_columns_adds_up_as_the_tally_does(records):
    window = (1e3, 5e4)
    columns, summary = Columns.of(records), Tally(records).summary(window)
    scheduled, answered = columns.scheduled_in(window), columns.answered_in(window)
    assert len(scheduled) == summary.requests
    assert columns.failed[scheduled].sum() == summary.failed
    cached, prompt = columns.cached_tokens[answered], columns.prompt_tokens[answered]
    known = ~np.isnan(cached)
    share = cached[known].sum() / prompt[known].sum() if prompt[known].sum() else None
    assert share == summary.hit_share


def test_a_turn_cut_off_before_its_first_token_is_censored_at_its_wait():
    records = [
        turn_record(),
        unfinished_record(sent_at_s=12.0, ended_at_s=20.0),
        unfinished_record(sent_at_s=None),  # a ticket that nobody took
        failed_record("stall_timeout"),
    ]
    columns = Columns.of(records)
    assert columns.ttft_censored_s[1] == 8.0
    assert np.isnan(columns.ttft_censored_s[[0, 2, 3]]).all()


def _known(value):
    return None if np.isnan(value) else value
