"""Closed mode: developers follow their own pauses, and a stop lets turns under way end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.stack import (
    AGENTS,
    PREFLIGHT_REQUESTS,
    Finished,
    Stack,
    by_session,
    locust_requests,
    metrics,
)
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.measure.ledger import Ledger, read_run
from tokenswarm.measure.record import TurnRecord
from workload.profiles import SEED
from workload.session import Turn, sessions

DEVELOPERS = 12


@dataclass(frozen=True)
class Run:
    finished: Finished
    ledger: Ledger
    locust_requests: int
    engine: dict[str, float]


@pytest.fixture(scope="module")
def run(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    url = stack.engine("--speed", "20")
    stats: Path = tmp_path_factory.mktemp("locust") / "stats"
    options = ("-u", str(DEVELOPERS), "-r", "12", "-t", "15s", "--json-file", str(stats))
    finished = stack.locust(AGENTS, "--host", url, "--run-name", "closed", *options)
    assert finished.ran, finished.printed
    ledger = read_run(stack.runs / "closed")
    return Run(finished, ledger, locust_requests(stats.with_suffix(".json")), metrics(url))


def test_the_stop_loses_no_turn(run: Run) -> None:
    records = run.ledger.records
    assert len(records) > 15  # about 12 x 300 s / 91 s of a cycle
    assert {record.outcome for record in records} == {"ok"}
    assert run.engine["sim:requests_finished_total"] == len(records) + PREFLIGHT_REQUESTS
    assert run.engine["sim:requests_cancelled_total"] == 0
    assert run.locust_requests == len(records)
    assert "Traceback" not in run.finished.printed


def test_each_developer_has_one_turn_at_a_time(run: Run) -> None:
    developers = {record.session.split(".")[1] for record in run.ledger.records}
    assert developers <= {f"u{number}" for number in range(DEVELOPERS)}
    for developer in developers:
        own = [r for r in run.ledger.records if r.session.split(".")[1] == developer]
        own.sort(key=lambda r: r.scheduled_at_s)
        assert all(last.ended_at_s <= following.scheduled_at_s for last, following in pairwise(own))


def test_turns_are_due_when_the_planned_pause_is_over(run: Run) -> None:
    """Exactly: the pause is planned before the answer comes, and late starts do not add up."""
    planned = _planned_turns()
    pauses = 0
    for name, records in by_session(run.ledger.records).items():
        assert [r.turn for r in records] == list(range(len(records)))
        for last, following in pairwise(records):
            gap_s = planned[name, following.turn].gap_s
            assert following.scheduled_at_s - last.ended_at_s == pytest.approx(gap_s, abs=1e-6)
            pauses += 1
    assert pauses > 5  # 9 seen


def test_turns_are_those_of_the_seed(run: Run) -> None:
    planned = _planned_turns()
    for record in run.ledger.records:
        turn = planned[record.session, record.turn]
        assert (record.kind, record.planned_output_tokens) == (turn.kind, turn.output_tokens)
        # To the line of text that brings a prompt past its planned length.
        assert record.planned_prompt_tokens == pytest.approx(turn.prompt_tokens, abs=100)


def test_no_turn_is_sent_before_it_is_due(run: Run) -> None:
    for record in run.ledger.records:
        assert record.lateness_s is not None and record.lateness_s >= 0


def test_the_number_of_developers_is_the_level(run: Run) -> None:
    (level,) = run.ledger.levels
    assert (level.developers, level.target_tpm) == (DEVELOPERS, None)
    assert level.ended_at_s is not None


def test_cached_tokens_cover_the_last_prompt(run: Run) -> None:
    """Six developers leave the engine calm: a turn finds the whole previous prompt, but for the
    block that it ended in."""
    for records in by_session(run.ledger.records).values():
        for last, following in pairwise(records):
            assert following.cached_tokens is not None
            assert _shortfall(last, following) < 2 * BLOCK_TOKENS


def _shortfall(last: TurnRecord, following: TurnRecord) -> int:
    assert last.prompt_tokens is not None and following.cached_tokens is not None
    return last.prompt_tokens - following.cached_tokens


def _planned_turns() -> dict[tuple[str, int], Turn]:
    """What seed 1 plans for worker 0's developers, three sessions each."""
    return {
        (turn.session, turn.index): turn
        for user in range(DEVELOPERS)
        for session, _ in zip(sessions(SEED, 1, 0, user), range(3), strict=False)
        for turn in _turns(session.next_turn)
    }


def _turns(next_turn: Callable[[], Turn | None]) -> Iterator[Turn]:
    return iter(next_turn, None)
