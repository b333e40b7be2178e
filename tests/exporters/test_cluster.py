"""Master and worker ends of the link, with a runner that only remembers what it was to send."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import gevent

from exporters.cluster import MasterLink, Status, WorkerLink
from exporters.turns import TurnFeed
from measure.record import TurnRecord
from tests.records import turn_record

ON = {"run": "run", "ended": False}


@dataclass
class FakeRunner:
    worker_ids: list[str]
    sent: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)

    @property
    def clients(self) -> SimpleNamespace:
        running = [SimpleNamespace(id=worker_id) for worker_id in self.worker_ids]
        return SimpleNamespace(ready=[], spawning=[], running=running)

    def send_message(self, kind: str, data: dict[str, Any], client_id: str) -> None:
        self.sent.append((kind, data, client_id))


def linked(*worker_ids: str) -> tuple[MasterLink, FakeRunner, list[TurnRecord]]:
    feed, seen, runner = TurnFeed(), [], FakeRunner(list(worker_ids))
    feed.subscribe(seen.append)
    link = MasterLink(runner, feed)
    link.expect("run")
    return link, runner, seen


def test_a_record_is_the_same_after_the_way_to_the_master():
    link, _, seen = linked("a")
    worker = WorkerLink(status=lambda: Status("run", 3, ended=False))
    record = turn_record(chunk_gaps_s=(0.02, 0.04))
    worker.add(record)
    report = worker.report()
    report["turns"][0]["chunk_gaps_s"] = list(report["turns"][0]["chunk_gaps_s"])  # as msgpack does
    link.take("a", report)
    assert [record] == seen
    assert worker.report()["turns"] == []


def test_a_rate_is_shared_out_equally():
    link, runner, _ = linked("a", "b")
    link.announce(3e6, 1, 60.0)
    assert [data["tpm"] for _, data, _ in runner.sent] == [1.5e6, 1.5e6]
    assert {"a", "b"} == {worker_id for _, _, worker_id in runner.sent}
    assert all((data["level"], data["ramp_s"]) == (1, 60.0) for _, data, _ in runner.sent)


def test_a_worker_that_comes_or_goes_changes_the_shares():
    link, runner, _ = linked("a", "b")
    link.announce(3e6, 1, 60.0)
    runner.worker_ids.append("c")
    runner.sent.clear()
    link.take("a", {"turns": [], "in_flight": 0, "serial": 1, **ON})
    assert [(i, data["tpm"]) for _, data, i in runner.sent] == [("a", 1e6), ("b", 1e6), ("c", 1e6)]
    runner.sent.clear()
    runner.worker_ids.remove("b")
    link.take("c", {"turns": [], "in_flight": 0, "serial": 2, **ON})
    assert [(i, data["tpm"]) for _, data, i in runner.sent] == [("a", 1.5e6), ("c", 1.5e6)]


def test_a_worker_that_missed_the_target_is_told_again():
    link, runner, _ = linked("a", "b")
    link.announce(3e6, 1, 60.0)
    runner.sent.clear()
    link.take("b", {"turns": [], "in_flight": 0, "serial": 0, **ON})
    assert [(i, d["tpm"], d["serial"]) for _, d, i in runner.sent] == [("b", 1.5e6, 1)]


def test_in_flight_is_unknown_until_every_worker_has_seen_the_last_target():
    link, _, _ = linked("a", "b")
    link.announce(0.0, None, 0.0)
    link.take("a", {"turns": [], "in_flight": 2, "serial": 1, **ON})
    assert link.in_flight() is None
    link.take("b", {"turns": [], "in_flight": 1, "serial": 0, **ON})
    assert link.in_flight() is None
    link.take("b", {"turns": [], "in_flight": 1, "serial": 1, **ON})
    assert link.in_flight() == 3


def test_a_late_report_of_the_last_run_does_not_count():
    link, _, seen = linked("a")
    worker = WorkerLink(status=lambda: Status("another run", 0, ended=True))
    worker.add(turn_record())
    link.take("a", worker.report())
    assert seen == []


def test_a_master_waits_until_every_worker_has_reported_its_end():
    link, runner, _ = linked("a", "b")
    end = {"turns": [], "in_flight": 0, "serial": 0, "run": "run", "ended": True}
    link.take("a", end)
    gevent.spawn_later(0.15, link.take, "b", end)
    link.stop_workers(limit_s=10)
    assert link.in_flight() == 0
    assert {(kind, worker_id) for kind, _, worker_id in runner.sent} == {
        ("tokenswarm_stop", "a"),
        ("tokenswarm_stop", "b"),
    }
