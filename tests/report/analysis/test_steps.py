import pytest

from tests.support.records import header, turn_record, unfinished_record
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level
from tokenswarm.report.analysis.steps import steps, whole_run


def level(index, started_at_s, ended_at_s):
    return Level(
        index=index,
        target_tpm=1e6,
        developers=None,
        started_at_s=started_at_s,
        ended_at_s=ended_at_s,
    )


def due(at_s, **changes):
    return turn_record(
        scheduled_at_s=at_s, sent_at_s=at_s, first_token_at_s=at_s + 1, ended_at_s=at_s + 2
    )


def test_a_step_leaves_the_first_30_percent_of_its_level_out():
    ledger = Ledger(
        header(),
        [due(0.0), due(29.0), due(30.0), due(99.0), due(130.0)],
        [level(0, 0.0, 100.0), level(1, 100.0, 200.0)],
    )
    first, second = steps(ledger)
    assert first.window == (30.0, 100.0)
    assert first.summary.requests == 2
    assert first.summary.offered_tpm == pytest.approx(2000 * 60 / 70)
    assert second.window == (130.0, 200.0)
    assert second.summary.requests == 1


def test_the_warm_up_share_can_be_chosen():
    ledger = Ledger(header(), [due(5.0)], [level(0, 0.0, 100.0)])
    assert steps(ledger, warm_up_share=0)[0].summary.requests == 1
    with pytest.raises(ValueError, match="warm-up share 1.5"):
        steps(ledger, warm_up_share=1.5)


def test_a_level_without_an_end_lasts_until_the_next_or_until_the_last_turn():
    ledger = Ledger(header(), [due(60.0), due(118.0)], [level(0, 0.0, None), level(1, 100.0, None)])
    first, second = steps(ledger)
    assert first.window == (30.0, 100.0)
    assert second.window == pytest.approx((106.0, 120.0))
    assert second.summary.ok == 1
    assert second.summary.achieved_tpm == pytest.approx(1000 * 60 / 14)


def test_a_run_without_levels_is_one_step():
    (step,) = steps(Ledger(header(), [due(0.0), due(8.0)], []))
    assert step.level.target_tpm is None
    assert step.window == pytest.approx((3.0, 10.0))
    assert step.summary.requests == 1


def test_the_whole_run_holds_every_turn():
    records = [due(0.0), due(29.0), unfinished_record(scheduled_at_s=30.0, ended_at_s=35.0)]
    whole = whole_run(Ledger(header(), records, [level(0, 0.0, 30.0)]))
    assert (whole.requests, whole.ok, whole.unfinished) == (3, 2, 1)
    assert whole.achieved_tpm == pytest.approx(2000 * 60 / 35)


def test_a_run_without_turns_has_steps_without_numbers():
    (step,) = steps(Ledger(header(), [], []))
    assert step.summary.requests == 0
    assert step.summary.ttft_s.p50 is None
    assert whole_run(Ledger(header(), [], [])).requests == 0
