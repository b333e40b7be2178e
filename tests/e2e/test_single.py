"""The ladder in one process against the embedded engine: every number of the run fits the others.

Two levels, the second beyond what the engine can serve, at 20 engine seconds a second.
"""

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from tests.support.stack import (
    LADDER,
    PREFLIGHT_REQUESTS,
    Finished,
    Stack,
    by_session,
    locust_requests,
    metrics,
)
from tokenswarm.measure.ledger import Ledger, open_run, read_run
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.report.analysis.result import result

MEAN_PROMPT_TOKENS = 88_000  # of profile seed
HOLD_S = 200.0
WARM_UP_SHARE = 0.3  # of a level: its ramp is over by then
LEAST_TTFT_S = 0.08  # the default preset's ttft_fixed_s


@dataclass(frozen=True)
class Run:
    finished: Finished
    folder: Path
    ledger: Ledger
    locust_requests: int
    engine: dict[str, float]


@pytest.fixture(scope="module")
def run(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    url = stack.engine("--speed", "20")
    stats = tmp_path_factory.mktemp("locust") / "stats"
    options = ("--levels", "1M,2M", "--hold", f"{HOLD_S:g}s", "--json-file", str(stats))
    finished = stack.locust(LADDER, "--host", url, "--run-name", "ladder", *options)
    assert finished.ran, finished.printed
    folder = stack.runs / "ladder"
    seen = locust_requests(stats.with_suffix(".json"))
    return Run(finished, folder, read_run(folder), seen, metrics(url))


def test_every_turn_is_answered_and_in_the_ledger(run: Run) -> None:
    records = run.ledger.records
    assert len(records) > 60  # 68 mean prompts in 200 s of 1M and 200 s of 2M TPM
    assert {record.outcome for record in records} == {"ok"}
    assert run.ledger.torn_lines == 0
    assert run.engine["sim:requests_finished_total"] == len(records) + PREFLIGHT_REQUESTS


def test_locust_counts_one_request_for_each_turn(run: Run) -> None:
    assert run.locust_requests == len(run.ledger.records)


def test_the_engine_counts_the_prompt_tokens_that_were_planned(run: Run) -> None:
    for record in run.ledger.records:
        assert record.prompt_tokens == pytest.approx(record.planned_prompt_tokens, rel=0.001)


def test_replies_have_the_length_asked_for(run: Run) -> None:
    for record in run.ledger.records:
        assert record.output_tokens == record.planned_output_tokens


def test_turns_of_a_session_follow_each_other(run: Run) -> None:
    for turns in by_session(run.ledger.records).values():
        assert [record.turn for record in turns] == list(range(len(turns)))
        for last, following in pairwise(turns):
            # A ticket may have been due a moment before somebody was free to take it.
            assert following.sent_at_s >= last.ended_at_s
            assert following.planned_prompt_tokens > last.planned_prompt_tokens


def test_cached_tokens_rise_within_a_session(run: Run) -> None:
    """Before the engine is overloaded and must evict, each turn finds the one before."""
    calm = [record for record in run.ledger.records if record.level == 0]
    pairs = [pair for turns in by_session(calm).values() for pair in pairwise(turns)]
    assert len(pairs) > 5
    rises = [_cached(following) - _cached(last) > 0 for last, following in pairs]
    assert sum(rises) / len(rises) > 0.9


def _cached(record: TurnRecord) -> int:
    assert record.cached_tokens is not None
    return record.cached_tokens


def test_stamps_come_in_the_order_of_a_stream(run: Run) -> None:
    for r in run.ledger.records:
        stamps = (
            r.scheduled_at_s,
            r.sent_at_s,
            r.body_sent_at_s,
            r.first_token_at_s,
            r.last_token_at_s,
            r.ended_at_s,
        )
        assert None not in stamps
        assert list(stamps) == sorted(stamps), r
        assert r.ttft_s is not None and r.ttft_s > LEAST_TTFT_S


@pytest.mark.skipif(sys.platform != "linux", reason="kernel stamps are Linux's")
def test_the_kernel_stamped_every_turn(run: Run) -> None:
    assert {record.stamps for record in run.ledger.records} == {"kernel"}


def test_levels_are_the_ladder(run: Run) -> None:
    levels = run.ledger.levels
    assert [level.target_tpm for level in levels] == [1e6, 2e6]
    for level in levels:
        assert level.ended_at_s is not None
        # The ladder looks at its clock once a wall second: 20 engine seconds; as much for the load.
        assert level.ended_at_s - level.started_at_s == pytest.approx(HOLD_S, abs=40)


@pytest.mark.parametrize("index", [0, 1])
def test_offered_tokens_follow_the_target_line(run: Run, index: int) -> None:
    """Distance from the line stays within two mean prompts either way, overloaded or not."""
    level = run.ledger.levels[index]
    distances = _distances_from_line(level, run.ledger.records)
    assert max(distances) - min(distances) < 4 * MEAN_PROMPT_TOKENS


def _distances_from_line(level: Level, records: list[TurnRecord]) -> list[float]:
    """Offered minus asked for since the end of the level's warm-up, before and after each turn."""
    assert level.ended_at_s is not None and level.target_tpm is not None
    begin_s = level.started_at_s + WARM_UP_SHARE * (level.ended_at_s - level.started_at_s)
    offered, distances = 0, []
    for record in sorted(records, key=lambda r: r.scheduled_at_s):
        if begin_s <= record.scheduled_at_s < level.ended_at_s:
            asked = level.target_tpm / 60 * (record.scheduled_at_s - begin_s)
            distances.append(offered - asked)
            offered += record.planned_prompt_tokens
            distances.append(offered - asked)
    return distances


def test_the_table_names_every_level_and_says_simulated(run: Run) -> None:
    out = run.finished.out
    assert "SIMULATED" in out
    assert "1.00M" in out and "2.00M" in out
    assert str(run.folder) in out
    assert run.ledger.header.target.simulated


def test_progress_is_told_in_engine_seconds(run: Run) -> None:
    assert "engine s] level 0 (1 of 2), 1.00M TPM" in run.finished.err


def test_the_summary_counts_what_the_ledger_holds(run: Run) -> None:
    summary = orjson.loads((run.folder / "summary.json").read_bytes())
    assert summary["header"]["target"]["simulated"] is True
    assert len(summary["levels"]) == 2
    assert summary["whole_run"]["requests"] == len(run.ledger.records)


def test_the_run_is_judged_the_same_by_its_end_and_by_its_ledger(run: Run) -> None:
    stored = orjson.loads((run.folder / "summary.json").read_bytes())["verdict"]
    assert f"Verdict: {stored['grade']}" in run.finished.out
    again = result(open_run(run.folder)).verdict
    assert again.grade == stored["grade"]
    assert [(c.name, c.grade) for c in again.checks] == [
        (c["name"], c["grade"]) for c in stored["checks"]
    ]


def test_everything_that_a_run_of_one_process_can_know_of_itself_was_checked(run: Run) -> None:
    verdict = result(open_run(run.folder)).verdict
    assert {check.name for check in verdict.unchecked} <= {"steadiness", "workload"}  # few turns


def test_the_page_is_in_the_runs_folder(run: Run) -> None:
    html = (run.folder / "report.html").read_text()
    assert html.lstrip().startswith("<!doctype html>") and "SIMULATED" in html
    assert str(run.folder / "report.html") in run.finished.out


def test_nothing_went_wrong_on_the_way(run: Run) -> None:
    assert "Traceback" not in run.finished.printed
