"""A trace through Locust: what is sent, cached and promised is the trace's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.stack import LADDER, Stack
from tests.support.traces import line, written
from tokenswarm.exit_codes import BAD_INPUT
from tokenswarm.measure.ledger import read_run

TURNS = 12


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Sessions that grow by 2,000 tokens a turn, and go back to their first 8,000 at turn 6."""
    lines = []
    for session in range(4):
        for n in range(TURNS):
            tokens = 10_000 + 2_000 * n
            kept = 0 if not n else 8_000 if n == 6 else tokens - 2_000
            lines.append(line(f"s{session}", 10.0 * n, tokens, 60, kept_tokens=kept, service_s=2))
    return written(tmp_path / "four.jsonl", lines)


def test_a_ladder_replays_a_trace(stack: Stack, trace: Path) -> None:
    finished = stack.locust(
        *(LADDER, "--host", stack.engine("--clock", "driven"), "--trace", str(trace)),
        *("--levels", "1M", "--hold", "8m", "--run-name", "replay"),
    )
    assert finished.code == 0, finished.printed
    ledger = read_run(stack.runs / "replay")
    assert ledger.header.fingerprint.profile == "trace-four.jsonl"
    assert len(ledger.records) > 100
    assert {record.outcome for record in ledger.records} == {"ok"}
    grown = [record for record in ledger.records if record.kind != "start"]
    for record in grown:
        assert record.planned_prompt_tokens == pytest.approx(10_000 + 2_000 * record.turn, abs=120)
        kept = 8_000 if record.turn == 6 else 8_000 + 2_000 * record.turn
        assert record.ideal_cached_tokens in (0, pytest.approx(kept, abs=120))
        # A block of the engine's is 64 tokens.
        assert record.cached_tokens == pytest.approx(record.ideal_cached_tokens, abs=64)
    assert sum(record.turn == 6 for record in grown) > 5


def test_what_cannot_be_replayed_is_refused_before_any_traffic(stack: Stack, trace: Path) -> None:
    engine = stack.engine("--clock", "driven")
    for arguments, said in (
        (("--trace", "nowhere.json"), "nowhere.json: not there; accepted: a file or folder of"),
        (
            ("--trace", str(trace), "--trace-timing", "original"),
            "--trace-timing original: a rate says when turns come; accepted with it: think",
        ),
        (("--habit", "smoking"), "--habit 'smoking': accepted are billing-line"),
    ):
        finished = stack.locust(LADDER, "--host", engine, "--levels", "1M", *arguments)
        assert finished.code == BAD_INPUT
        assert said in finished.printed
