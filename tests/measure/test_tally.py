import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import failed_record, turn_record, turn_records, unfinished_record
from tokenswarm.measure.record import TurnRecord
from tokenswarm.measure.tally import Tally

MINUTE = (0.0, 60.0)


def test_offered_counts_every_turn_due_in_the_window_and_achieved_only_the_answered():
    tally = Tally(
        [
            turn_record(prompt_tokens=1100),
            failed_record("http_429"),  # planned 1000
            unfinished_record(),  # planned 1000
            turn_record(outcome="cancelled", prompt_tokens=None),  # planned 1000
            turn_record(scheduled_at_s=60.0, ended_at_s=70.0),  # outside
        ]
    )
    summary = tally.summary(MINUTE)
    assert summary.offered_tpm == 4100
    assert summary.achieved_tpm == 2100
    assert (summary.requests, summary.ok, summary.cancelled, summary.unfinished) == (4, 1, 1, 1)
    assert summary.failures == {"http_429": 1}
    assert summary.failed == 1
    assert summary.failure_share == pytest.approx(1 / 3)


def test_a_turn_is_offered_when_due_and_achieved_when_its_stream_ended():
    tally = Tally([turn_record(scheduled_at_s=10.0, ended_at_s=35.0)])
    first, second = tally.summary((0.0, 30.0)), tally.summary((30.0, 60.0))
    assert (first.offered_tpm, first.achieved_tpm) == (2000, 0)
    assert (second.offered_tpm, second.achieved_tpm) == (0, 2000)


def test_output_tokens_of_all_users_are_of_turns_answered_that_have_a_count():
    tally = Tally(
        [
            turn_record(output_tokens=100),
            turn_record(output_tokens=200, scheduled_at_s=1.0, ended_at_s=59.0),
            turn_record(output_tokens=None, outcome="cancelled"),
            failed_record("stream_error", output_tokens=50),
            turn_record(output_tokens=900, ended_at_s=61.0),
        ]
    )
    assert tally.summary(MINUTE).output_tps == 5.0
    assert tally.summary((100.0, 160.0)).output_tps is None
    assert Tally([turn_record(output_tokens=None)]).summary(MINUTE).output_tps is None


def test_a_window_is_half_open():
    tally = Tally([turn_record(scheduled_at_s=10.0)])
    assert tally.summary((10.0, 11.0)).requests == 1
    assert tally.summary((9.0, 10.0)).requests == 0


def test_times_are_those_of_the_formulas():
    summary = Tally(
        [turn_record(scheduled_at_s=9.0, first_visible_at_s=12.0, last_token_at_s=13.0)]
    ).summary(MINUTE)
    assert summary.ttft_s.p50 == 1.0
    assert summary.visible_ttft_s.p50 == 2.0
    assert summary.ttft_from_schedule_s.p50 == 2.0
    assert summary.lateness_s.p50 == 1.0
    assert summary.e2e_s.p50 == 3.0
    assert summary.decode_tps.p50 == 99 / 2
    assert summary.tpot_s.p50 == 2 / 99


def test_percentiles_are_exact_on_the_turns_of_the_window():
    firsts = [10.0 + 0.1 * step for step in range(1, 102)]  # TTFT 0.1 … 10.1 s
    tally = Tally([turn_record(first_token_at_s=at, ended_at_s=30.0) for at in firsts])
    ttft = tally.summary(MINUTE).ttft_s
    assert ttft.count == 101
    assert (ttft.p50, ttft.p90, ttft.p99) == pytest.approx((5.1, 9.1, 10.0))


def test_ttft_is_of_turns_that_did_not_fail_and_those_cut_off_took_longer_than_they_waited():
    tally = Tally(
        [
            turn_record(),
            unfinished_record(first_token_at_s=13.0),
            unfinished_record(),
            turn_record(outcome="truncated", first_token_at_s=19.0),
            turn_record(outcome="cancelled", first_token_at_s=12.0),
        ]
    )
    summary = tally.summary(MINUTE)
    assert summary.ttft_s.count == 3
    assert summary.ttft_s.p50 == 2.5  # of 1, 2, 3 and more than 10 s
    assert (summary.ttft_s.p99, summary.ttft_s.cut_off_at) == (None, 10.0)
    assert summary.unfinished == 2
    assert summary.without_first_token == 1


def test_hit_shares_weigh_tokens():
    tally = Tally(
        [
            turn_record(prompt_tokens=1000, cached_tokens=900),
            turn_record(prompt_tokens=3000, cached_tokens=0, planned_prompt_tokens=3000),
        ]
    )
    summary = tally.summary(MINUTE)
    assert summary.hit_share == 900 / 4000
    assert summary.inferred_misses == 0
    assert summary.ideal_hit_share == 1800 / 4000
    assert summary.achieved_tpm == 4000
    assert summary.cached_tpm == pytest.approx(900)
    assert summary.uncached_tpm == pytest.approx(3100)


def test_a_server_that_reports_hits_and_is_silent_on_a_turn_has_missed():
    tally = Tally(
        [
            turn_record(prompt_tokens=1000, cached_tokens=900),
            turn_record(prompt_tokens=3000, cached_tokens=None),
        ]
    )
    summary = tally.summary(MINUTE)
    assert summary.inferred_misses == 1
    assert summary.hit_share == 900 / 4000
    assert summary.cached_tpm == pytest.approx(900)
    assert summary.uncached_tpm == pytest.approx(3100)


def test_a_window_of_misses_alone_is_known_by_a_hit_outside_of_it():
    miss = turn_record(prompt_tokens=3000, cached_tokens=None)
    alone = Tally([miss]).summary(MINUTE)
    assert (alone.hit_share, alone.inferred_misses, alone.cached_tpm) == (None, 0, None)
    hit_later = turn_record(scheduled_at_s=70.0, ended_at_s=75.0, cached_tokens=800)
    beside = Tally([miss, hit_later]).summary(MINUTE)
    assert (beside.hit_share, beside.inferred_misses, beside.cached_tpm) == (0, 1, 0)
    assert beside.uncached_tpm == 3000


def test_turns_cut_short_or_without_usage_are_no_inferred_misses():
    tally = Tally(
        [
            turn_record(prompt_tokens=1000, cached_tokens=900),
            turn_record(prompt_tokens=None, cached_tokens=None),
            turn_record(outcome="cancelled", prompt_tokens=1000, cached_tokens=None),
            turn_record(outcome="stream_error", prompt_tokens=1000, cached_tokens=None),
            unfinished_record(prompt_tokens=1000),
        ]
    )
    summary = tally.summary(MINUTE)
    assert (summary.hit_share, summary.inferred_misses) == (0.9, 0)


def test_what_the_server_does_not_report_is_unknown_and_not_zero():
    summary = Tally([turn_record(prompt_tokens=None, cached_tokens=None)]).summary(MINUTE)
    assert summary.hit_share is None
    assert summary.cached_tpm is None
    assert summary.uncached_tpm is None
    assert summary.token_drift is None
    assert summary.achieved_tpm == 1000


def test_sizes_are_of_the_turns_due_and_outputs_of_the_ok_ones():
    tally = Tally(
        [
            turn_record(output_tokens=100, prompt_tokens=2000),
            turn_record(output_tokens=300),
            turn_record(output_tokens=5, outcome="cancelled"),
        ]
    )
    summary = tally.summary(MINUTE)
    assert (summary.output_tokens.mean, summary.output_tokens.p50) == (200, 200)
    assert summary.prompt_tokens.mean == pytest.approx(4000 / 3)
    assert summary.new_tokens.mean == 100


def test_token_drift_is_reported_over_planned_less_one():
    tally = Tally(
        [
            turn_record(planned_prompt_tokens=1000, prompt_tokens=1020, text_tokens=800),
            turn_record(planned_prompt_tokens=3000, prompt_tokens=3000, text_tokens=2416),
            turn_record(planned_prompt_tokens=9000, prompt_tokens=None, text_tokens=1),
        ]
    )
    assert tally.summary(MINUTE).token_drift == pytest.approx(0.005)
    assert tally.summary(MINUTE).tokenizer_drift == pytest.approx(0.25)


def test_answers_that_ask_to_stay_away_are_counted():
    waits = [None, 0.0, 3.0, 86_400.0, 1e308]
    tally = Tally(failed_record("http_429", retry_after_s=wait_s) for wait_s in waits)
    assert tally.summary(MINUTE).told_to_wait == 3


def test_withheld_answers_are_carried_traffic_and_no_failures():
    summary = Tally([turn_record(outcome="withheld"), failed_record("empty")]).summary(MINUTE)
    assert (summary.withheld, summary.failed, summary.failure_share) == (1, 1, 0.5)
    assert summary.achieved_tpm == 1000.0


def test_how_well_it_was_seen():
    tally = Tally(
        [
            turn_record(stamp_lag_s=0.002, coalesced_chunks=5),
            turn_record(stamps="clock", stamp_lag_s=0.0, first_chunk_tokens=None),
        ]
    )
    summary = tally.summary(MINUTE)
    assert (summary.stamp_lag_s.count, summary.stamp_lag_s.p99) == (1, 0.002)
    assert summary.coalesced_share == 5 / 200
    assert summary.estimated_first_chunk_share == 0.5


def test_an_empty_window_has_no_percentiles_and_no_shares():
    summary = Tally().summary(MINUTE)
    assert summary.requests == 0
    assert (summary.offered_tpm, summary.achieved_tpm) == (0, 0)
    assert summary.ttft_s.p50 is None
    assert summary.failure_share is None
    assert summary.hit_share is None
    assert summary.coalesced_share is None


def test_a_window_without_length_has_no_rate():
    summary = Tally([turn_record()]).summary((10.0, 10.0))
    assert summary.offered_tpm is None
    assert summary.achieved_tpm is None
    assert summary.cached_tpm is None


@given(st.lists(turn_records(), max_size=8), st.lists(turn_records(), max_size=8))
def test_merging_two_tallies_is_tallying_both(a, b):
    merged = Tally(b)
    merged.merge(Tally(a))
    window = (0.0, 1e5)
    assert merged.summary(window) == Tally(a + b).summary(window)
    assert len(merged) == len(a) + len(b)


@given(st.lists(turn_records(), max_size=12))
def test_every_turn_due_ends_in_exactly_one_way(records):
    summary = Tally(records).summary((0.0, 5e4))
    ended = summary.ok + summary.cancelled + summary.withheld + summary.unfinished + summary.failed
    assert summary.requests == ended


def test_a_turn_that_was_never_sent_was_offered_and_is_censored():
    unsent = TurnRecord.unsent("w0.ticket0", 5.0, 9.0, 700)
    found = Tally([unsent]).summary((0.0, 60.0))
    assert (found.offered_tpm, found.achieved_tpm) == (700.0, 0.0)
    assert (found.requests, found.unfinished, found.without_first_token) == (1, 1, 1)
    assert found.lateness_s.count == 0  # it was never sent
