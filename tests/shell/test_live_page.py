"""The words of the web page while a run goes on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from exporters.turns import IDLE, TurnFeed
from tests.support.records import header, turn_record
from tokenswarm.measure.record import Level
from tokenswarm.report.text.levels import COLUMNS
from tokenswarm.shell.live_page import AT_LEAST, _PageOfRun
from workload.figures import Workload

TURNS = COLUMNS.index("turns")


def page() -> tuple[_PageOfRun, TurnFeed]:
    feed = TurnFeed()
    run: Any = SimpleNamespace(feed=feed, header=header(), terms=SimpleNamespace(open_mode=True))
    return _PageOfRun(run, Workload(promises=(), laws={})), feed


def level_0_at(of_run: _PageOfRun, now_s: float, *, settled_s: float) -> list[str]:
    """The row of level 0."""
    of_run._live.sample(now_s, replace(IDLE, settled_s=settled_s))
    return of_run._words(now_s).rows[0]


def test_counts_are_a_lower_bound_while_turns_of_the_level_are_under_way():
    of_run, feed = page()
    feed.level(Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0))
    for turn in range(20):
        feed.turn(turn_record(turn=turn, scheduled_at_s=50.0 + turn, ended_at_s=60.0 + turn))
    assert level_0_at(of_run, 100.0, settled_s=80.0)[TURNS] == f"{AT_LEAST}20"
    feed.level(Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0, ended_at_s=101.0))
    assert level_0_at(of_run, 110.0, settled_s=100.5)[TURNS] == f"{AT_LEAST}20"
    assert level_0_at(of_run, 120.0, settled_s=101.0)[TURNS] == "20"


def test_the_verdict_so_far_is_on_the_levels_that_are_over():
    of_run, feed = page()
    feed.level(Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0))
    feed.turn(turn_record(scheduled_at_s=50.0, ended_at_s=60.0))

    def too_few() -> bool:
        spoken = of_run._words(100.0).verdict
        assert spoken is not None and spoken.grade in ("VALID", "SUSPECT", "INVALID")
        return any("samples" in reason for reason in spoken.reasons)

    assert not too_few()
    feed.level(Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0, ended_at_s=90.0))
    feed.level(Level(index=1, target_tpm=2e6, developers=None, started_at_s=90.0))
    assert too_few()
