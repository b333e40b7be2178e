"""Runs that are told to end, or lose everybody: what they found is written all the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.stack import (
    INVALID_RUN,
    LADDER,
    RUN_TIMEOUT_S,
    Finished,
    Stack,
    Started,
    free_port,
    turns_in,
    until,
)
from tokenswarm.measure.ledger import read_run

# A level and the last turns have as long as a test may last; the places of a small machine.
LONG = (
    *("--levels", "1M", "--hold", "1h", "--drain", "1h", "--ramp", "10s"),
    *("--max-developers", "40"),
)


def test_sigterm_ends_a_ladder_as_ctrl_c_does(stack: Stack) -> None:
    """docker stop, and an eviction."""
    url = stack.engine("--speed", "20")
    ladder = _ladder(stack, "told", url)
    folder = stack.runs / "told"
    assert until(lambda: turns_in(folder / "ledger.jsonl") > 5, RUN_TIMEOUT_S), (
        ladder.err.read_text()
    )
    ladder.process.send_signal(signal.SIGTERM)
    finished = ladder.wait()
    assert finished.ran, finished.printed
    assert {record.outcome for record in read_run(folder).records} == {"ok"}
    _results_are_there(finished, folder)


def test_a_second_signal_waits_for_no_turn(stack: Stack) -> None:
    """In real time the answers take longer than this test waits."""
    url = stack.engine("--speed", "1", "--preset", "trtllm-like")
    ladder = _ladder(stack, "hasty", url, "--levels", "6M")
    folder = stack.runs / "hasty"
    assert until(lambda: turns_in(folder / "ledger.jsonl") > 2, RUN_TIMEOUT_S), (
        ladder.err.read_text()
    )
    ladder.process.send_signal(signal.SIGINT)
    assert until(lambda: "once more cuts them off" in ladder.err.read_text(), RUN_TIMEOUT_S)
    ladder.process.send_signal(signal.SIGINT)
    finished = ladder.wait()
    assert "unfinished" in {record.outcome for record in read_run(folder).records}
    _results_are_there(finished, folder)


def test_a_master_that_is_told_to_end_takes_its_workers_along(stack: Stack) -> None:
    url = stack.engine("--speed", "20")
    master, workers = _cluster(stack, "master", url)
    folder = stack.runs / "master"
    assert until(lambda: turns_in(folder / "ledger.jsonl") > 5, RUN_TIMEOUT_S), (
        master.err.read_text()
    )
    master.process.send_signal(signal.SIGTERM)
    finished = master.wait()
    assert finished.ran, finished.printed
    for worker in workers:
        assert worker.wait().code == 0
    _results_are_there(finished, folder)


def test_a_master_that_lost_all_its_workers_still_has_its_page(stack: Stack) -> None:
    url = stack.engine("--speed", "20")
    master, workers = _cluster(stack, "alone", url)
    folder = stack.runs / "alone"
    assert until(lambda: turns_in(folder / "ledger.jsonl") > 5, RUN_TIMEOUT_S), (
        master.err.read_text()
    )
    for worker in workers:
        os.killpg(worker.process.pid, signal.SIGKILL)
    finished = master.wait()
    assert finished.code == INVALID_RUN, finished.printed
    ending = read_run(folder).ending
    assert ending is not None and (ending.workers, ending.workers_lost) == (2, 2)
    _results_are_there(finished, folder)


def test_an_interrupt_before_the_workers_have_come_is_one_line(stack: Stack) -> None:
    url = stack.engine("--speed", "20")
    master = _ladder(
        stack,
        "early",
        url,
        "--master",
        "--expect-workers",
        "2",
        "--master-bind-port",
        str(free_port()),
    )
    assert until(lambda: "Waiting for workers" in master.err.read_text(), RUN_TIMEOUT_S)
    master.process.send_signal(signal.SIGINT)
    finished = master.wait()
    assert finished.code == 130
    assert "tokenswarm: interrupted before the run began" in finished.err
    assert "Traceback" not in finished.err


def _ladder(stack: Stack, name: str, url: str, *options: str) -> Started:
    own = ("--headless", "--host", url, "--run-name", name, "--profile", "small")
    return stack.start_locust(LADDER, *own, *LONG, *options)


def _cluster(stack: Stack, name: str, url: str) -> tuple[Started, list[Started]]:
    port = str(free_port())
    cluster = ("--master", "--master-bind-port", port, "--expect-workers", "2")
    master = _ladder(stack, name, url, *cluster)
    worker = ("--worker", "--master-port", port)
    return master, [stack.start_locust(LADDER, *worker) for _ in range(2)]


def _await_turns(started: Started, folder: Path, more_than: int) -> None:
    ledger = folder / "ledger.jsonl"
    assert until(lambda: turns_in(ledger) > more_than, RUN_TIMEOUT_S), started.err.read_text()


def _results_are_there(finished: Finished, folder: Path) -> None:
    assert "Verdict: " in finished.out
    assert (folder / "report.html").exists() and (folder / "summary.json").exists()
    assert read_run(folder).ending is not None
    for word in ("Traceback", "terminate called"):
        assert word not in finished.printed, finished.printed
