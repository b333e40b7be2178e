"""The line that says how the run is going."""

from __future__ import annotations

import io

from exporters.progress import Progress
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
