"""What the live page says must be what the report will say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporters.turns import IDLE
from exporters.web.live_run import DOTS, FIRST_WIDTH_S, MOST_WINDOWS, LiveRun
from tests.support.records import turn_record
from tests.support.runs import ladder_run
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.tally import Tally
from tokenswarm.report.analysis.steps import Step, steps


def fed(ledger: Ledger) -> LiveRun[Step]:
    """The run as the page would have met it: levels and turns in the order of their ends."""
    run = LiveRun(lambda level, turns: steps(Ledger(ledger.header, turns, [level]))[0])
    events: list[tuple[float, Level | TurnRecord]] = [(r.ended_at_s, r) for r in ledger.records]
    for level in ledger.levels:
        assert level.ended_at_s is not None
        events += [(level.started_at_s, replace(level, ended_at_s=None)), (level.ended_at_s, level)]
    for _, event in sorted(events, key=lambda entry: entry[0]):
        run.level(event) if isinstance(event, Level) else run.add(event)
    run.end(max(r.ended_at_s for r in ledger.records) + 1)
    return run


def without_cached(ledger: Ledger, cached: str) -> Ledger:
    """Cached tokens reported by every turn, late in the run only, or never."""
    keep = {"reported": 0, "late": len(ledger.records) // 2, "never": len(ledger.records)}[cached]
    ledger.records[:keep] = [replace(r, cached_tokens=None) for r in ledger.records[:keep]]
    return ledger


@pytest.mark.parametrize("cached", ["reported", "late", "never"])
def test_every_window_equals_the_tally_of_the_whole_run(cached: str):
    ledger = without_cached(ladder_run(), cached)
    run, tally = fed(ledger), Tally(ledger.records)
    windows = run.view(0.0)["windows"]
    assert 100 < len(windows) <= MOST_WINDOWS
    for window in windows:
        summary = tally.summary((window["start_s"], window["end_s"]))
        assert window["ttft_p99_s"] == summary.ttft_s.p99
        assert window["tps_p50"] == summary.decode_tps.p50
        assert window["offered_tpm"] == summary.offered_tpm
        assert window["achieved_tpm"] == summary.achieved_tpm
        assert window["hit_share"] == summary.hit_share
        assert window["failed"] == summary.failed
    assert sum(window["turns"] for window in windows) == tally.summary((0, 1e9)).ttft_s.count


@pytest.mark.parametrize("cached", ["reported", "late", "never"])
def test_the_steps_are_those_of_the_report(cached: str):
    ledger = without_cached(ladder_run(), cached)
    assert fed(ledger).steps(1e5) == steps(ledger)


def test_a_level_that_lasts_is_summed_up_as_if_it_ended_now():
    ledger = ladder_run()
    run = LiveRun(lambda level, turns: steps(Ledger(ledger.header, turns, [level]))[0])
    run.level(replace(ledger.levels[0], ended_at_s=None))
    early = [r for r in ledger.records if r.ended_at_s < 200.0]
    for record in early:
        run.add(record)
    now = [replace(ledger.levels[0], ended_at_s=200.0)]
    assert run.steps(200.0) == steps(Ledger(ledger.header, early, now))


def test_a_later_view_holds_only_what_is_new_and_together_they_hold_everything():
    run = LiveRun(lambda level, turns: None)
    for at_s in range(1000):
        run.add(turn_record(turn=at_s, scheduled_at_s=at_s, ended_at_s=at_s + 3.0))
    first = run.view(990.0)
    assert len(first["windows"]) == 33 and len(first["dots"]) == 1000
    run.add(turn_record(turn=1001, scheduled_at_s=505.0, ended_at_s=995.0, first_token_at_s=12.5))
    second = run.view(1001.0, since=first["serial"], seen_s=first["now_s"])
    assert [window["start_s"] for window in second["windows"]] == [480, 960]
    assert second["dots"] == [(505.0, 2.5)]
    known = {w["start_s"]: w for w in first["windows"]} | {
        w["start_s"]: w for w in second["windows"]
    }
    assert list(known.values()) == run.view(1001.0)["windows"]


def test_windows_widen_so_that_their_number_stays_bounded_and_lose_no_turn():
    run = LiveRun(lambda level, turns: None)
    for hour in range(60):
        run.add(turn_record(turn=hour, scheduled_at_s=hour * 600.0, ended_at_s=hour * 600.0 + 700))
        run.sample(hour * 600.0 + 700, replace(IDLE, in_flight=hour))
    run.end(36_101.0)
    view = run.view(0.0)
    assert view["width_s"] == 240.0 and len(view["windows"]) <= MOST_WINDOWS
    assert sum(window["turns"] for window in view["windows"]) == 60
    achieved = sum(w["achieved_tpm"] * (w["end_s"] - w["start_s"]) / 60 for w in view["windows"])
    assert achieved == pytest.approx(60 * 1000)
    assert [w["in_flight"] for w in view["windows"] if w["in_flight"] is not None] == list(
        range(60)
    )


def test_a_page_that_knows_every_turn_gets_all_windows_anew_when_they_widen():
    """It drops the narrow ones: their figures would be gone from its charts."""
    run, over_s = LiveRun(lambda level, turns: None), MOST_WINDOWS * FIRST_WIDTH_S
    for turn in range(100):
        run.add(turn_record(turn=turn, scheduled_at_s=70.0 * turn, ended_at_s=70.0 * turn + 5))
    known = run.view(over_s - 1)
    run.sample(over_s + 1, IDLE)  # no turn has ended since
    widened = run.view(over_s + 1, since=known["serial"], seen_s=known["now_s"])
    assert widened["width_s"] == 2 * FIRST_WIDTH_S
    assert widened["windows"] == run.view(over_s + 1)["windows"]
    assert len(widened["windows"]) == MOST_WINDOWS / 2


def test_the_turns_it_holds_and_shows_are_bounded():
    run = LiveRun(lambda level, turns: None)
    for second in range(DOTS + 500):
        run.add(turn_record(turn=second, scheduled_at_s=float(second), chunk_gaps_s=(0.1,) * 100))
    assert len(run.view(1e4)["dots"]) == DOTS
    assert all(turn.chunk_gaps_s == () for turn in run.turns)


def test_the_window_that_is_not_over_is_not_shown_until_the_run_ends():
    run = LiveRun(lambda level, turns: None)
    run.add(turn_record(scheduled_at_s=32.0, ended_at_s=34.0))
    run.sample(34.0, IDLE)
    assert [window["end_s"] for window in run.view(34.0)["windows"]] == [30.0]
    run.end(35.0)
    last = run.view(99.0)["windows"][-1]
    assert (last["end_s"], last["achieved_tpm"], last["in_flight"]) == (35.0, 12_000, 0)
