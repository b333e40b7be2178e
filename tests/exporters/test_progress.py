"""The line that says how the run is going."""

from __future__ import annotations

import io
import re

from exporters.progress import Plan, Progress
from exporters.turns import TurnFeed
from tests.support.records import turn_record
from tokenswarm.measure.record import Level


def test_the_line_tells_the_level_so_far_and_writes_unknown_as_a_dash():
    feed = TurnFeed()
    progress = Progress(feed, lambda: 60.0, lambda: None, unit="engine s", out=io.StringIO())
    try:
        assert progress.line() == "[60 engine s] starting"
        feed.level(Level(index=2, target_tpm=2e6, developers=None, started_at_s=0.0))
        dashes = "achieved 0.00M, in flight -, turns 0, failed 0, TTFT p50 - s, TPS p50 -"
        assert progress.line() == f"[60 engine s] level 2, 2.00M TPM: {dashes}"
        feed.turn(turn_record(scheduled_at_s=1.0, ended_at_s=30.0, prompt_tokens=1_500_000))
        assert "achieved 1.50M" in progress.line() and "turns 1" in progress.line()
    finally:
        progress.close()


def test_the_line_tells_who_was_told_to_wait_and_nothing_where_nobody_was():
    feed, away = TurnFeed(), iter((0, 3))
    progress = Progress(
        feed, lambda: 60.0, lambda: 1, unit="s", told_to_wait=lambda: next(away), out=io.StringIO()
    )
    try:
        feed.level(Level(index=0, target_tpm=2e6, developers=None, started_at_s=0.0))
        assert "told to wait" not in progress.line()
        assert progress.line().endswith(", 3 developers told to wait (Retry-After)")
    finally:
        progress.close()


def test_the_line_tells_which_level_of_how_many_and_what_is_left_at_the_pace_so_far():
    feed, now_s, wall_s = TurnFeed(), iter((0.0, 600.0, 2400.0)), iter((1000.0, 1030.0))
    progress = Progress(
        feed,
        lambda: next(now_s),
        lambda: 3,
        unit="engine s",
        plan=lambda: Plan(levels=6, ends_at_s=2400.0),
        wall_s=lambda: next(wall_s),
        out=io.StringIO(),
    )
    try:
        feed.level(Level(index=1, target_tpm=1e6, developers=None, started_at_s=400.0))
        line = progress.line()
        assert line.startswith("[600 engine s] level 1 (2 of 6), 1.00M TPM: ")
        assert re.search("; over in 90 s|; over in 2 min", line) and "what is in flight" in line
        assert "over in" not in progress.line()  # nothing is left but what is in flight
    finally:
        progress.close()
