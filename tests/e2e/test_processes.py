"""Several processes: the master's ledger is exactly what its workers did."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.stack import (
    AGENTS,
    INVALID_RUN,
    LADDER,
    PREFLIGHT_REQUESTS,
    RUN_TIMEOUT_S,
    Finished,
    Stack,
    Started,
    free_port,
    metrics,
    until,
)
from tokenswarm.measure.ledger import Ledger, read, read_run

SPEED = ("--speed", "20")
HOLD_S = 80.0
SHORT_LADDER = (
    "--levels",
    "1M,1.5M",
    "--hold",
    f"{HOLD_S:g}s",
    "--ramp",
    "20s",
    "--max-developers",
    "60",
)


def test_forked_workers_and_master_agree(stack: Stack) -> None:
    url = stack.engine(*SPEED)
    port = str(free_port())
    finished = stack.locust(
        LADDER,
        *("--host", url, "--run-name", "forked", *SHORT_LADDER),
        *("--processes", "2", "--master-bind-port", port, "--master-port", port),
    )
    assert finished.ran, finished.printed
    _agree(stack.runs / "forked", url)
    assert "Traceback" not in finished.printed


def test_the_end_of_the_run_time_loses_no_turn_of_a_worker(stack: Stack) -> None:
    """Locust's own headless master leaves with the slowest turns still under way."""
    url = stack.engine(*SPEED)
    port = str(free_port())
    finished = stack.locust(
        AGENTS,
        *("--host", url, "--run-name", "timed", "-u", "16", "-r", "16", "-t", "10s"),
        *("--processes", "2", "--master-bind-port", port, "--master-port", port),
    )
    assert finished.ran, finished.printed
    _agree(stack.runs / "timed", url)


def test_workers_started_by_hand_and_master_agree(stack: Stack) -> None:
    url = stack.engine(*SPEED)
    master, workers = _cluster(stack, "by-hand", url)
    finished = master.wait()
    assert finished.ran, finished.printed
    for worker in workers:
        assert worker.wait().code == 0
    _agree(stack.runs / "by-hand", url)
    assert "SIMULATED" in finished.out and "Traceback" not in finished.printed


def test_a_worker_that_is_told_to_leave_hands_over_its_last_turns(stack: Stack) -> None:
    """As Docker and Kubernetes do it, with turns under way."""
    url = stack.engine(*SPEED)
    master, (leaver, other) = _cluster(stack, "left", url)
    folder = stack.runs / "left"
    assert until(lambda: _all_have_sent(folder, 2), RUN_TIMEOUT_S), master.err.read_text()
    leaver.process.send_signal(signal.SIGTERM)
    assert leaver.wait().code == 0
    finished = master.wait()
    assert other.wait().code == 0
    sent = [turn for path in folder.glob("worker-*.jsonl") for turn in _listed(read(path))]
    assert sorted(_listed(read(folder / "ledger.jsonl"))) == sorted(sent)
    assert "INVALID  workers: 1 worker of 2 workers" in finished.out


@dataclass(frozen=True)
class KilledWorker:
    """A run that lost one of its two workers in the first level."""

    finished: Finished
    folder: Path


@pytest.fixture(scope="module")
def killed(stack: Stack) -> KilledWorker:
    url = stack.engine(*SPEED)
    master, (victim, survivor) = _cluster(stack, "killed", url)
    folder = stack.runs / "killed"

    assert until(lambda: _all_have_sent(folder, 2), RUN_TIMEOUT_S), master.err.read_text()
    os.killpg(victim.process.pid, signal.SIGKILL)
    finished = master.wait()
    survivor.wait()
    return KilledWorker(finished, folder)


def test_a_killed_worker_leaves_its_finished_turns(killed: KilledWorker) -> None:
    united = _turns(read_run(killed.folder))
    for path in killed.folder.glob("worker-*.jsonl"):
        assert _turns(read(path)) <= united
    assert "killed" in killed.finished.out and "Traceback" not in killed.finished.printed


def test_a_killed_worker_makes_the_run_invalid(killed: KilledWorker) -> None:
    ending = read_run(killed.folder).ending
    assert ending is not None
    assert (ending.workers, ending.workers_lost, ending.workers_unreported) == (2, 1, 0)
    assert "INVALID  workers" in killed.finished.out
    assert killed.finished.code == INVALID_RUN


def test_a_killed_worker_does_not_end_the_run(killed: KilledWorker) -> None:
    levels = read_run(killed.folder).levels
    assert [level.target_tpm for level in levels] == [1e6, 1.5e6]
    assert {record.level for record in read_run(killed.folder).records} == {0, 1}


def test_a_killed_worker_does_not_stretch_the_levels(killed: KilledWorker) -> None:
    for level in read_run(killed.folder).levels:
        assert level.ended_at_s is not None
        assert level.ended_at_s - level.started_at_s < 2 * HOLD_S


def _cluster(stack: Stack, name: str, url: str) -> tuple[Started, tuple[Started, Started]]:
    """A master and two workers."""
    port = str(free_port())
    master = stack.start_locust(
        LADDER,
        *("--headless", "--master", "--master-bind-port", port, "--expect-workers", "2"),
        *("--host", url, "--run-name", name, *SHORT_LADDER),
    )
    worker = ("--worker", "--master-port", port)
    return master, (stack.start_locust(LADDER, *worker), stack.start_locust(LADDER, *worker))


def _all_have_sent(folder: Path, workers: int) -> bool:
    ledgers = [path.read_bytes() for path in folder.glob("worker-*.jsonl")]
    return len(ledgers) == workers and all(ledger.count(b"\n") > 3 for ledger in ledgers)


def _agree(folder: Path, url: str) -> None:
    """Master, workers and engine have counted the same turns, each once."""
    master = read(folder / "ledger.jsonl")
    workers = [read(path) for path in sorted(folder.glob("worker-*.jsonl"))]
    assert len(workers) == 2
    assert all(worker.records for worker in workers)
    sent = [turn for worker in workers for turn in _listed(worker)]
    assert len(set(sent)) == len(sent)
    assert sorted(_listed(master)) == sorted(sent)
    assert _turns(read_run(folder)) == set(sent)
    assert {record.outcome for record in master.records} == {"ok"}
    engine = metrics(url)
    assert engine["sim:requests_finished_total"] == len(sent) + PREFLIGHT_REQUESTS
    _records_agree(master, workers)


def _records_agree(master: Ledger, workers: list[Ledger]) -> None:
    """Whole records came up, on one clock."""
    own = {(r.session, r.turn): r for worker in workers for r in worker.records}
    for record in master.records:
        assert record == own[record.session, record.turn]


def _listed(ledger: Ledger) -> list[tuple[str, int]]:
    return [(record.session, record.turn) for record in ledger.records]


def _turns(ledger: Ledger) -> set[tuple[str, int]]:
    return set(_listed(ledger))
