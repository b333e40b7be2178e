"""Several processes: the master's ledger is exactly what its workers did."""

import os
import signal
from pathlib import Path

from measure.ledger import Ledger, read, read_run
from tests.e2e.stack import (
    LADDER,
    PREFLIGHT_REQUESTS,
    RUN_TIMEOUT_S,
    Stack,
    Started,
    free_port,
    metrics,
    until,
)

SPEED = ("--speed", "20")
SHORT_LADDER = ("--levels", "1M,2M", "--hold", "100s", "--ramp", "20s", "--max-developers", "60")


def test_forked_workers_and_master_agree(stack: Stack) -> None:
    url = stack.engine(*SPEED)
    port = str(free_port())
    finished = stack.locust(
        LADDER,
        *("--host", url, "--run-name", "forked", *SHORT_LADDER),
        *("--processes", "2", "--master-bind-port", port, "--master-port", port),
    )
    assert finished.code == 0, finished.printed
    _agree(stack.runs / "forked", url)
    assert "Traceback" not in finished.printed


def test_workers_started_by_hand_and_master_agree(stack: Stack) -> None:
    url = stack.engine(*SPEED)
    master, workers = _cluster(stack, "by-hand", url)
    finished = master.wait()
    assert finished.code == 0, finished.printed
    for worker in workers:
        assert worker.wait().code == 0
    _agree(stack.runs / "by-hand", url)
    assert "SIMULATED" in finished.out and "Traceback" not in finished.printed


def test_a_killed_worker_leaves_its_finished_turns(stack: Stack) -> None:
    """And the run goes on to its end with the worker that is left."""
    url = stack.engine(*SPEED)
    master, (victim, survivor) = _cluster(stack, "killed", url)
    folder = stack.runs / "killed"

    def both_have_sent() -> bool:
        ledgers = [path.read_bytes() for path in folder.glob("worker-*.jsonl")]
        return len(ledgers) == 2 and all(ledger.count(b"\n") > 3 for ledger in ledgers)

    assert until(both_have_sent, RUN_TIMEOUT_S), master.err.read_text()
    os.killpg(victim.process.pid, signal.SIGKILL)
    finished = master.wait()
    survivor.wait()
    united = _turns(read_run(folder))
    for path in folder.glob("worker-*.jsonl"):
        assert _turns(read(path)) <= united
    assert max(record.level or 0 for record in read_run(folder).records) == 1
    assert "killed" in finished.out and "Traceback" not in finished.printed


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


def _agree(folder: Path, url: str) -> None:
    """Master, workers and engine have counted the same turns, each once."""
    master = read(folder / "ledger.jsonl")
    workers = [read(path) for path in sorted(folder.glob("worker-*.jsonl"))]
    assert len(workers) == 2
    assert all(len(worker.records) > 5 for worker in workers)
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
