"""The words of the web page while a run goes on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from exporters.turns import IDLE, TurnFeed
from tests.support.records import header, turn_record
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.slo import Slo
from tokenswarm.report.text.levels import COLUMNS
from tokenswarm.shell.live_page import AT_LEAST, _copy_hint, _PageOfRun
from tokenswarm.shell.options import COMPOSE_SERVICE_VARIABLE
from workload.figures import Workload

TURNS = COLUMNS.index("turns")


def page() -> tuple[_PageOfRun, TurnFeed]:
    feed = TurnFeed()
    gate = SimpleNamespace(slos=(Slo.parse("ttft_p50<1500ms"),))
    run: Any = SimpleNamespace(
        feed=feed,
        header=header(),
        terms=SimpleNamespace(open_mode=True),
        options=SimpleNamespace(gate=gate),
        stopped=None,
    )
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

    assert of_run._words(100.0).verdict is None  # nothing to judge is not green
    feed.level(Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0, ended_at_s=90.0))
    feed.level(Level(index=1, target_tpm=2e6, developers=None, started_at_s=90.0))
    spoken = of_run._words(100.0).verdict
    assert spoken is not None and any("samples" in reason for reason in spoken.reasons)
    assert "workers: told at the end of the run." in spoken.open
    assert not [said for said in spoken.open if "killed" in said]


def endpoint_after(*turns: TurnRecord) -> tuple[str, bool | None]:
    of_run, feed = page()
    feed.level(Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0))
    for turn in turns:
        feed.turn(turn)
    said = of_run._words(120.0).endpoint
    assert said is not None
    return said.word, said.well


def turns(count: int, **changes: Any) -> list[TurnRecord]:
    return [
        turn_record(turn=n, **({"scheduled_at_s": 40.0 + n, "sent_at_s": 40.0 + n,
                    "first_token_at_s": 41.0 + n, "last_token_at_s": 43.0 + n,
                    "ended_at_s": 43.0 + n} | changes))
        for n in range(count)
    ]  # fmt: skip


def test_the_endpoints_health_stands_beside_the_generators_verdict():
    assert endpoint_after() == ("nothing to say yet", None)
    assert endpoint_after(*turns(30)) == ("keeps up", True)
    slow = [replace(turn, first_token_at_s=turn.sent_at_s + 1.9) for turn in turns(30)]
    assert endpoint_after(*slow) == ("misses", False)
    behind = [replace(turn, ended_at_s=200.0) for turn in turns(30)]
    assert endpoint_after(*behind) == ("falls behind", False)
    refused = [replace(turn, outcome="http_429", detail="slow down") for turn in turns(5)]
    assert endpoint_after(*turns(30), *refused) == ("fails", False)


def test_failures_are_said_by_kind_with_what_was_said():
    of_run, feed = page()
    feed.level(Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0))
    for turn in turns(3):
        feed.turn(replace(turn, outcome="http_429", detail="slow down"))
    (failure,) = of_run._words(100.0).failures
    assert (failure.kind, failure.turns, failure.said) == ("http_429", 3, "slow down")


def test_the_page_says_how_to_copy_a_run_out_of_its_container(monkeypatch, tmp_path):
    monkeypatch.delenv(COMPOSE_SERVICE_VARIABLE, raising=False)
    assert _copy_hint(tmp_path) == ""
    monkeypatch.setenv(COMPOSE_SERVICE_VARIABLE, "master")
    assert _copy_hint(tmp_path) == f"docker compose cp master:{tmp_path} ."


def test_a_run_that_ended_itself_says_why_where_the_endpoint_is_judged() -> None:
    of_run, _ = page()
    of_run._run.stopped = "6 of the last 6 turns failed"
    endpoint = of_run._words(0.0).endpoint
    assert endpoint is not None and endpoint.well is False
    assert endpoint.note == "the run ended before its time: 6 of the last 6 turns failed"
