"""Three developers on llama.cpp: a real engine, and a tokenizer that is not the run's.

The model is random and its vocabulary tiny, so it counts nearly twice the tokens that were planned
until the drift is measured; slots, prefix reuse, usage and /metrics are llama.cpp's own.
"""

import signal
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.llama import running_llama
from tests.support.stack import (
    AGENTS,
    PREFLIGHT_REQUESTS,
    RUN_TIMEOUT_S,
    Finished,
    Stack,
    by_session,
    locust_requests,
    metrics,
    turns_in,
    until,
)
from tokenswarm.measure.ledger import read_run
from tokenswarm.measure.record import TurnRecord

# Short pauses, for several turns a session within the run. A small shared prefix: sessions that
# share most of their prompts would be given each other's slots.
PROFILE = """\
base = "small"
human_gap_s.median = 1.0
shared_prefix_tokens = 60
"""
SLOTS = 6
TURNS = 15  # in 10 s of two idle cores
SEAM_TOKENS = 16  # a grown prompt may be tokenized differently where the old one ended
MOST_PREFLIGHT_TOKENS = 128  # 88 seen: "ping", its tool and the chat template


@dataclass(frozen=True)
class Run:
    finished: Finished
    records: list[TurnRecord]
    locust_requests: int
    engine: dict[str, float]
    summary: dict[str, Any]

    def after_the_first_of_each_session(self) -> list[TurnRecord]:
        return [record for record in self.records if record.turn > 0]


@pytest.fixture(scope="module")
def run(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("llama")
    profile, stats = folder / "quick.toml", folder / "stats"
    profile.write_text(PROFILE)
    with running_llama(parallel=SLOTS, ctx_tokens=16_384) as url:
        options = ("-u", "3", "-r", "3", "--warm", "--json-file", str(stats))
        started = stack.start_locust(
            *(AGENTS, "--headless", "--host", url, "--run-name", "llama", *options),
            *("--profile", str(profile), "--metrics-url", url),
        )
        ledger = stack.runs / "llama" / "ledger.jsonl"
        assert until(lambda: turns_in(ledger) >= TURNS, RUN_TIMEOUT_S), started.err.read_text()
        started.process.send_signal(signal.SIGTERM)
        finished = started.wait()
        assert finished.ran, finished.printed
        counted = metrics(url)
    records = read_run(stack.runs / "llama").records
    summary = orjson.loads((stack.runs / "llama" / "summary.json").read_bytes())
    requests = locust_requests(stats.with_suffix(".json"))
    return Run(finished, records, requests, counted, summary)


def test_every_turn_is_answered(run: Run) -> None:
    assert len(run.records) >= TURNS
    assert {record.outcome for record in run.records} == {"ok"}
    assert run.locust_requests == len(run.records)
    assert "Traceback" not in run.finished.printed


def test_nothing_is_called_simulated(run: Run) -> None:
    assert "SIMULATED" not in run.finished.printed and "engine s" not in run.finished.printed


def test_prompts_grow_and_cached_tokens_rise_from_turn_to_turn(run: Run) -> None:
    pairs = [pair for turns in by_session(run.records).values() for pair in pairwise(turns)]
    assert len(pairs) > 2
    for last, following in pairs:
        assert following.prompt_tokens > last.prompt_tokens
        assert following.cached_tokens > last.cached_tokens


def test_a_turn_finds_the_whole_prompt_before_it(run: Run) -> None:
    for turns in by_session(run.records).values():
        for last, following in pairwise(turns):
            assert last.prompt_tokens is not None and following.cached_tokens is not None
            assert following.cached_tokens >= last.prompt_tokens - SEAM_TOKENS


def test_the_drift_of_a_foreign_tokenizer_is_corrected(run: Run) -> None:
    """A developer's first turn is off by more than half, later ones by what new text differs."""
    opening = [r for r in run.records if r.session.endswith(".s0") and r.turn == 0]
    assert len(opening) == 3
    assert all(_drift(record) > 0.5 for record in opening)
    later = run.after_the_first_of_each_session()
    assert max(abs(_drift(record)) for record in later) < 0.10  # 0.064 seen
    planned = sum(record.planned_prompt_tokens for record in later)
    assert sum(record.prompt_tokens or 0 for record in later) == pytest.approx(planned, rel=0.02)


def _drift(record: TurnRecord) -> float:
    assert record.prompt_tokens is not None
    return record.prompt_tokens / record.planned_prompt_tokens - 1


def test_the_engine_has_counted_what_the_records_say(run: Run) -> None:
    engine = run.engine
    output = sum(record.output_tokens or 0 for record in run.records)
    assert engine["llamacpp:tokens_predicted_total"] == output + PREFLIGHT_REQUESTS
    prompt = sum(record.prompt_tokens or 0 for record in run.records)
    cached = sum(record.cached_tokens or 0 for record in run.records)
    counted_cached = engine["llamacpp:prompt_tokens_cached_total"]
    counted_prompt = engine["llamacpp:prompt_tokens_total"] + counted_cached  # it counts misses
    assert 0 < counted_prompt - prompt <= PREFLIGHT_REQUESTS * MOST_PREFLIGHT_TOKENS
    assert 0 <= counted_cached - cached <= PREFLIGHT_REQUESTS * MOST_PREFLIGHT_TOKENS


def test_its_books_balance_to_the_token(run: Run) -> None:
    """Without what the check before the run sent: the first reading comes after it."""
    books = {entry["quantity"]: entry for entry in run.summary["books"]}
    for quantity in ("prompt tokens", "cached tokens", "generated tokens"):
        assert books[quantity]["server"] == books[quantity]["ours"] > 0
    assert books["requests"]["reason"] == "not on the page"
    assert "the server's books (whole run)" in run.finished.out


def test_every_token_asked_for_came_and_was_counted(run: Run) -> None:
    """Nearly each in a chunk of its own: llama.cpp holds half a character back until its rest."""
    for record in run.records:
        assert record.output_tokens == record.planned_output_tokens
        assert record.output_chunks is not None
        assert 0.9 * record.output_tokens < record.output_chunks <= record.output_tokens
