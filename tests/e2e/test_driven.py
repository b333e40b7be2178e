"""One clock: the same numbers on a busy machine and without HTTP, no hang where it is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import INVALID_RUN, LADDER, Stack, until
from tokenswarm.engine.offline.run import Load, run
from tokenswarm.engine.physics.presets import DEFAULT_PRESET, PRESETS
from tokenswarm.exit_codes import BAD_INPUT
from tokenswarm.measure.ledger import Ledger, read_run
from tokenswarm.measure.record import TurnRecord
from workload.profiles import SEED

# Four engine minutes on each rung; the last is beyond what the pool of the cache can carry.
LEVELS = ("--levels", "1M,3M", "--hold", "4m", "--ramp", "1m")
QUEUE_LIMIT = 6
DRIVEN = ("--clock", "driven", "--queue-limit", str(QUEUE_LIMIT))
# What a record says of the host, not of the run.
HOST_STAMPS: dict[str, Any] = {"stamp_lag_s": 0.0, "coalesced_reads": 0}


@contextmanager
def busy() -> Iterator[None]:
    """Two loops on each of two cores."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def ran(stack: Stack, name: str) -> tuple[str, Ledger]:
    """What it printed but for its folder and host, and its ledger; on an engine of its own."""
    finished = stack.locust(LADDER, "--host", stack.engine(*DRIVEN), *LEVELS, "--run-name", name)
    assert finished.code == 1, finished.printed  # Locust's own: turns failed, as planned
    return finished.out.replace(name, "run"), read_run(stack.runs / name)


def of_the_run(ledger: Ledger) -> list[TurnRecord]:
    return [replace(record, **HOST_STAMPS) for record in ledger.records]


@pytest.fixture(scope="module")
def quiet(stack: Stack) -> tuple[str, Ledger]:
    return ran(stack, "quiet")


def test_two_runs_are_equal_to_the_last_digit_one_of_them_on_a_busy_machine(
    stack: Stack, quiet: tuple[str, Ledger]
) -> None:
    printed, ledger = quiet
    with busy():
        again, other = ran(stack, "loaded")
    assert len(ledger.records) > 60
    assert all((r.stamps == "engine") == (r.output_chunks > 0) for r in ledger.records)
    assert {r.outcome for r in ledger.records} >= {"ok", "http_429"}
    assert of_the_run(ledger) == of_the_run(other)
    assert ledger.levels == other.levels
    assert [(level.started_at_s, level.ended_at_s) for level in ledger.levels] == [
        (0.0, 240.0),
        (240.0, 480.0),
    ]
    table, verdict = printed.partition("\nVerdict:")[::2]
    assert table == again.partition("\nVerdict:")[0]
    assert "0 by construction" not in table  # a passed check has no line of its own
    assert "driven time" in verdict


def test_a_run_without_http_has_the_same_turns(
    quiet: tuple[str, Ledger], corpus_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions, sizes, cache hits, times and refusals of each turn, in the order of sending."""
    monkeypatch.setenv("TOKENSWARM_CACHE", str(corpus_cache))
    preset = PRESETS[DEFAULT_PRESET]
    preset = replace(preset, policy=replace(preset.policy, queue_limit=QUEUE_LIMIT))
    load = Load(levels_tpm=(1e6, 3e6), hold_s=240.0, ramp_s=60.0, text=True)
    offline = run(preset, SEED, load, seed=1).turns
    assert [
        (r.session, r.turn, r.outcome, r.planned_prompt_tokens, r.ideal_cached_tokens)
        for r in in_order(quiet[1])
    ] == [(t.session, t.turn, t.outcome, t.prompt_tokens, t.ideal_cached_tokens) for t in offline]
    for record, turn in zip(in_order(quiet[1]), offline, strict=True):
        if record.outcome == "ok":
            assert record.cached_tokens == turn.cached_tokens
            assert record.output_tokens == turn.output_tokens
        assert record.sent_at_s == pytest.approx(turn.sent_at_s, abs=1e-6)
        assert record.ended_at_s == pytest.approx(turn.ended_at_s, abs=1e-6)
        assert record.ttft_s == pytest.approx(turn.ttft_s, abs=1e-6)
        if turn.decode_tps is not None:
            assert record.decode_tps == pytest.approx(turn.decode_tps, rel=1e-6)


def in_order(ledger: Ledger) -> list[TurnRecord]:
    """Of sending; at one instant, of the developers."""
    return sorted(ledger.records, key=lambda r: r.sent_at_s or 0.0)


def test_a_killed_engine_ends_the_run_within_seconds(stack: Stack) -> None:
    engine = stack.start("tokenswarm", "engine", "--port", "0", "--clock", "driven", env={})
    ready = until(lambda: engine.out.read_text().rpartition("\n")[0], 60)
    url = next(word for word in ready.split() if word.startswith("http://"))
    generator = stack.start_locust(
        LADDER, "--headless", "--host", url, "--levels", "1M", "--hold", "60m", "--run-name", "cut"
    )
    assert until(lambda: list((stack.runs / "cut").glob("*.jsonl")), 60)
    time.sleep(2.0)
    engine.process.send_signal(signal.SIGKILL)
    finished = generator.wait()
    assert finished.code == INVALID_RUN, finished.printed
    assert "the engine is gone" in finished.printed
    assert "the clock that engine and generator share was lost" in finished.out


@pytest.mark.parametrize(
    ("file", "options", "says"),
    [
        (LADDER, ("--processes", "2"), "not shared between a master and workers"),
        ("coding_agents.py", ("-u", "2", "-t", "5s"), "go by the wall clock"),
    ],
)
def test_what_cannot_drive_is_refused_by_name(
    stack: Stack, file: str, options: tuple[str, ...], says: str
) -> None:
    finished = stack.locust(file, "--host", stack.engine("--clock", "driven"), *options)
    assert finished.code == BAD_INPUT, finished.printed
    assert "an engine with --clock driven" in finished.err and says in finished.err
