"""Workers that join, leave, stand still or lose their master while a run goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.stack import (
    LADDER,
    RUN_TIMEOUT_S,
    Stack,
    Started,
    free_port,
    turns_in,
    until,
)
from tokenswarm.measure.ledger import Ledger, read, read_run
from tokenswarm.measure.record import UNSENT, TurnRecord

TPM = 0.4e6  # of the run's seconds
SPEED = 10.0
JOINS = 2
SKEW_S = 90.0

# A machine whose wall clock is wrong, as its worker sees it.
SKEWED = """
import time
wall = time.time
time.time = lambda: wall() + {skew_s}
from tokenswarm.shell.developer import CodingDeveloper as Base
from tokenswarm.shell.tpm_ladder import TpmLadder
class CodingDeveloper(Base):
    pass
"""


class Cluster:
    """A master whose ladder goes on until it is told to stop, and workers."""

    def __init__(self, stack: Stack, name: str, workers: int) -> None:
        self._stack = stack
        self._port = str(free_port())
        self.folder = stack.runs / name
        self.master = stack.start_locust(
            LADDER,
            *("--headless", "--host", stack.engine("--speed", f"{SPEED:g}"), "--run-name", name),
            *("--master", "--master-bind-port", self._port, "--expect-workers", str(workers)),
            *("--profile", "small", "--levels", f"{TPM:g}", "--hold", "2h", "--ramp", "5s"),
            *("--max-developers", "40"),
        )
        self.workers = [self.join() for _ in range(workers)]
        self.await_turns_of(0)

    def join(self, locustfile: str = LADDER) -> Started:
        return self._stack.start_locust(locustfile, "--worker", "--master-port", self._port)

    def await_turns_of(self, worker: int) -> None:
        sends = until(lambda: self.sent_by(worker) > 3, RUN_TIMEOUT_S)
        assert sends, self.master.err.read_text()

    def sent_by(self, worker: int) -> int:
        """Turns in a worker's own ledger."""
        return turns_in(self.folder / f"worker-{worker}.jsonl")

    def end(self) -> Ledger:
        self.master.process.send_signal(signal.SIGTERM)
        finished = self.master.wait()
        assert "Traceback" not in finished.printed, finished.printed
        return read_run(self.folder)


def tokens_per_minute(records: list[TurnRecord], start_s: float, end_s: float) -> float:
    """Of turns that were due then and were sent."""
    tokens = sum(
        record.planned_prompt_tokens
        for record in records
        if record.sent_at_s is not None and start_s <= record.scheduled_at_s < end_s
    )
    return tokens * 60 / (end_s - start_s)


def test_workers_that_join_a_running_test_take_their_share(stack: Stack) -> None:
    cluster = Cluster(stack, "joined", workers=1)
    for number in range(1, 1 + JOINS):
        cluster.join()
        cluster.await_turns_of(number)
    began_s = max(record.scheduled_at_s for record in read(cluster.folder / "ledger.jsonl").records)
    wall_s = 8.0
    time.sleep(wall_s)
    ledger = cluster.end()
    headers = [read(path).header for path in sorted(cluster.folder.glob("*.jsonl"))]
    assert len({(h.run, h.fingerprint, h.started_at) for h in headers}) == 1
    end_s = began_s + wall_s * SPEED
    shares = [
        sum(r.session.startswith(f"w{n}.") and r.scheduled_at_s > began_s for r in ledger.records)
        for n in range(1 + JOINS)
    ]
    assert min(shares) > 0.5 * max(shares), shares
    assert tokens_per_minute(ledger.records, began_s, end_s) == pytest.approx(TPM, rel=0.2)
    assert ledger.ending is not None
    assert (ledger.ending.workers, ledger.ending.workers_lost) == (1 + JOINS, 0)


def test_a_worker_whose_wall_clock_is_wrong_is_on_its_masters_clock(stack: Stack) -> None:
    cluster = Cluster(stack, "skewed", workers=1)
    for number, skew_s in enumerate((-SKEW_S, SKEW_S), 1):
        file = stack.runs / f"skewed{number}.py"
        file.write_text(SKEWED.format(skew_s=skew_s))
        cluster.join(str(file))
        cluster.await_turns_of(number)
    time.sleep(3)
    ledger = cluster.end()
    level = ledger.levels[0]
    assert level.ended_at_s is not None
    for worker in (1, 2):
        turns = [r for r in ledger.records if r.session.startswith(f"w{worker}.")]
        assert len(turns) > 3
        assert {r.level for r in turns} == {0}
        # On a busy machine a worker hears late of the end; its skew is far more than that.
        heard_s = level.ended_at_s + SKEW_S * SPEED / 2
        assert all(level.started_at_s < r.scheduled_at_s < heard_s for r in turns)


def test_a_worker_that_stood_still_sends_no_burst(stack: Stack) -> None:
    cluster = Cluster(stack, "still", workers=2)
    os.killpg(cluster.workers[0].process.pid, signal.SIGSTOP)
    time.sleep(12)
    os.killpg(cluster.workers[0].process.pid, signal.SIGCONT)
    woke_s = max(r.scheduled_at_s for r in read(cluster.folder / "ledger.jsonl").records)
    time.sleep(12)
    ledger = cluster.end()
    sent = [r for r in ledger.records if r.sent_at_s and r.sent_at_s > woke_s]
    # What had been due while it stood, half of the rate for 12 s, would make 1.5 of it.
    since_s = max(r.sent_at_s or 0 for r in sent) - woke_s
    assert sum(r.planned_prompt_tokens for r in sent) * 60 / since_s < 1.25 * TPM
    assert tokens_per_minute(ledger.records, woke_s + 5 * SPEED, woke_s + 12 * SPEED) == (
        pytest.approx(TPM, rel=0.25)
    )
    assert any(r.kind == UNSENT for r in ledger.records)


def test_workers_whose_master_was_killed_send_nothing_after_seconds(stack: Stack) -> None:
    cluster = Cluster(stack, "orphans", workers=2)
    os.killpg(cluster.master.process.pid, signal.SIGKILL)
    time.sleep(7)  # 4 s of silence, and turns under way
    sent = [cluster.sent_by(worker) for worker in (0, 1)]
    time.sleep(3)
    assert sent == [cluster.sent_by(worker) for worker in (0, 1)]
    for worker in cluster.workers:
        assert "nothing heard of the master" in worker.err.read_text()


@pytest.fixture
def stack(stack: Stack) -> Iterator[Stack]:
    """Its processes end with each test."""
    yield stack
    stack.close()
