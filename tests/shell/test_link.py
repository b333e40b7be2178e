"""Master and worker ends of the link, with a runner that only remembers what it was to send."""

from __future__ import annotations

from locust.runners import MasterRunner

import time
from dataclasses import asdict, dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import gevent

from exporters.turns import IDLE, Load, TurnFeed
from tests.support.records import turn_record
from tokenswarm.measure.health import Health
from tokenswarm.measure.record import TurnRecord
from tokenswarm.shell.link import MasterLink
from tokenswarm.shell.worker_link import Outbox, Status


def load(in_flight: int = 0, **changes: Any) -> Load:
    return replace(IDLE, in_flight=in_flight, **changes)


def report(in_flight: int = 0, **changes: Any) -> dict[str, Any]:
    """A report of a worker without news."""
    values: dict[str, Any] = dict(
        batches=[], run="run", ended=False, problem=None, page=None, finished=0, serial=0
    )
    return values | {"load": asdict(load(in_flight))} | changes


class FakeClients(dict[str, SimpleNamespace]):
    """As Locust's WorkerNodes: by id, and by state."""

    spawning = ()

    def __init__(self, running: dict[str, SimpleNamespace], ready: list[SimpleNamespace]) -> None:
        super().__init__(running)
        self.ready = ready

    @property
    def running(self) -> list[SimpleNamespace]:
        return list(self.values())


@dataclass
class FakeRunner:
    worker_ids: list[str]
    sent: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    idle_ids: list[str] = field(default_factory=list)
    starts: list[tuple[int, float]] = field(default_factory=list)
    state = "running"
    target_user_count = 60
    spawn_rate = 100.0

    @property
    def clients(self) -> FakeClients:
        running, ready = (
            [SimpleNamespace(id=i) for i in ids] for ids in (self.worker_ids, self.idle_ids)
        )
        return FakeClients({client.id: client for client in running}, ready)

    def start(self, user_count: int, spawn_rate: float) -> None:
        self.starts.append((user_count, spawn_rate))

    def send_message(self, kind: str, data: dict[str, Any], client_id: str) -> None:
        self.sent.append((kind, data, client_id))


def linked(*worker_ids: str) -> tuple[MasterLink, FakeRunner, list[TurnRecord]]:
    feed, runner = TurnFeed(), FakeRunner(list(worker_ids))
    seen: list[TurnRecord] = []
    feed.subscribe(seen.append)
    link = MasterLink(cast(MasterRunner, runner), feed)
    link.expect("run", lambda: 0.0)
    return link, runner, seen


def taking_part(*worker_ids: str) -> tuple[MasterLink, FakeRunner, list[TurnRecord]]:
    """All have said that their run is on."""
    link, runner, seen = linked(*worker_ids)
    for worker_id in worker_ids:
        link.take(worker_id, report())
    return link, runner, seen


def test_a_record_is_the_same_after_the_way_to_the_master():
    link, _, seen = linked("a")
    worker = Outbox(status=lambda: Status("run", load(3), ended=False, problem=None, page=None))
    record = turn_record(chunk_gaps_s=(0.02, 0.04))
    worker.add(record)
    sent = worker.report()
    (turn,) = sent["batches"][0]["turns"]
    turn["chunk_gaps_s"] = list(turn["chunk_gaps_s"])  # as msgpack does
    link.take("a", sent)
    assert [record] == seen


def test_a_rate_is_shared_out_equally():
    link, runner, _ = taking_part("a", "b")
    link.announce(3e6, 1, 60.0)
    assert [data["tpm"] for _, data, _ in runner.sent] == [1.5e6, 1.5e6]
    assert {"a", "b"} == {worker_id for _, _, worker_id in runner.sent}
    assert all((data["level"], data["ramp_s"]) == (1, 60.0) for _, data, _ in runner.sent)


def test_a_worker_that_comes_or_goes_changes_the_shares():
    link, runner, _ = taking_part("a", "b")
    link.announce(3e6, 1, 60.0)
    runner.worker_ids.append("c")
    runner.sent.clear()
    link.take("c", report(serial=1))
    assert [(i, data["tpm"]) for _, data, i in runner.sent] == [("a", 1e6), ("b", 1e6), ("c", 1e6)]
    runner.sent.clear()
    runner.worker_ids.remove("b")
    link.take("c", report(serial=2))
    assert [(i, data["tpm"]) for _, data, i in runner.sent] == [("a", 1.5e6), ("c", 1.5e6)]


def test_a_worker_that_missed_the_target_is_told_again():
    link, runner, _ = taking_part("a", "b")
    link.announce(3e6, 1, 60.0)
    runner.sent.clear()
    link.take("b", report())
    assert [(i, d["tpm"], d["serial"]) for _, d, i in runner.sent] == [("b", 1.5e6, 1)]


def test_in_flight_is_unknown_until_every_worker_has_seen_the_last_target():
    link, _, _ = taking_part("a", "b")
    link.announce(0.0, None, 0.0)
    link.take("a", report(2, serial=1))
    assert link.in_flight() is None
    link.take("b", report(1))
    assert link.in_flight() is None
    link.take("b", report(1, serial=1))
    assert link.in_flight() == 3


def test_a_late_report_of_the_last_run_does_not_count():
    link, _, seen = linked("a")
    worker = Outbox(
        status=lambda: Status("another run", load(), ended=True, problem=None, page=None)
    )
    worker.add(turn_record())
    link.take("a", worker.report())
    assert seen == []
    assert link.refused_records == 1


def test_a_report_that_got_lost_comes_with_the_next_one_and_counts_once():
    link, runner, seen = linked("a")
    worker = Outbox(status=lambda: Status("run", load(), ended=False, problem=None, page=None))
    for turn in range(3):
        worker.add(turn_record(turn=turn))
    worker.report()  # lost with its link
    worker.add(turn_record(turn=3))
    link.take("a", worker.report())
    link.take("a", worker.report())  # the answer to the one before was lost
    assert [record.turn for record in seen] == [0, 1, 2, 3]
    assert link.lost_records() == 0
    assert runner.sent == [("tokenswarm_taken", {"number": 1}, "a")] * 2
    worker.taken(1)
    worker.add(turn_record(turn=4))
    last = worker.report()
    assert [len(batch["turns"]) for batch in last["batches"]] == [1]
    link.take("a", last)
    assert [record.turn for record in seen] == [0, 1, 2, 3, 4]


def test_a_worker_whose_turns_are_not_all_here_is_unreported():
    """As by a master that was started anew meanwhile."""
    link, _, _ = linked("a")
    link.take("a", report(finished=3, ended=True))
    assert (link.lost_records(), link.workers_unreported) == (3, 1)
    link.expect("next run", lambda: 0.0)
    assert (link.lost_records(), link.workers_unreported) == (0, 0)


def test_turns_of_a_run_before_are_not_counted_as_this_runs():
    link, _, _ = linked("a")
    run = ["before"]
    worker = Outbox(status=lambda: Status(run[0], load(), ended=False, problem=None, page=None))
    worker.add(turn_record())
    worker.report()
    run[0] = "run"
    assert worker.report()["finished"] == 0
    worker.add(turn_record())
    link.take("a", worker.report())
    assert link.lost_records() == 0


def test_the_load_is_that_of_all_workers_and_tokens_of_a_lost_one_stay():
    link, runner, _ = linked("a", "b")
    for worker_id in ("a", "b"):
        shares = load(2, open_sessions=3, told_to_wait=2, waiting_tickets=1, sent_prompt_tokens=100)
        link.take(worker_id, report(load=asdict(shares)))
    assert link.load() == load(
        4, open_sessions=6, told_to_wait=4, waiting_tickets=2, sent_prompt_tokens=200
    )
    runner.worker_ids.remove("b")
    assert link.load() == load(
        2, open_sessions=3, told_to_wait=2, waiting_tickets=1, sent_prompt_tokens=200
    )


def test_turns_have_ended_as_far_as_with_the_slowest_worker():
    link, _, _ = taking_part("a", "b")
    link.take("a", report(load=asdict(load(settled_s=30.0))))
    assert link.load() == load(settled_s=0.0)  # of b no turn is known to have ended
    link.take("b", report(load=asdict(load(settled_s=12.0))))
    assert link.load() == load(settled_s=12.0)


def test_a_workers_health_reaches_the_masters_feed():
    link, _, _ = linked("a")
    seen: list[Health] = []
    link.feed.subscribe(lambda turn: None, on_health=seen.append)
    worker = Outbox(status=lambda: Status("run", load(), ended=False, problem=None, page=None))
    health = Health(
        process="worker-0",
        at_s=10.0,
        interval_s=10.0,
        hub_lag_p99_s=None,
        hub_lag_max_s=None,
        cpu_share=0.1,
        rss_bytes=1,
    )
    worker.add_health(health)
    link.take("a", worker.report())
    assert seen == [health]


def test_a_worker_that_has_not_begun_the_run_gets_no_share():
    """It is still counting the corpus, or waits for users."""
    link, runner, _ = taking_part("a")
    link.announce(3e6, 1, 0.0)
    runner.worker_ids.append("b")
    link.share_anew()
    assert [(i, data["tpm"]) for _, data, i in runner.sent] == [("a", 3e6)]
    runner.sent.clear()
    link.take("b", report())
    assert {(i, data["tpm"], data["level"]) for _, data, i in runner.sent} == {
        ("a", 1.5e6, 1),
        ("b", 1.5e6, 1),
    }


def test_a_worker_that_cannot_take_part_says_why_and_gets_no_share(caplog):
    link, runner, _ = taking_part("a")
    link.announce(3e6, 1, 0.0)
    runner.worker_ids.append("b")
    runner.sent.clear()
    for _ in range(2):
        link.take("b", report(run=None, problem="--corpus '/x': no folder"))
    assert runner.sent == []
    assert caplog.messages == ["worker b takes no part in the run: --corpus '/x': no folder"]


def test_a_lost_workers_share_goes_to_the_others_without_a_report_of_theirs():
    link, runner, _ = taking_part("a", "b")
    link.announce(3e6, 1, 0.0)
    runner.sent.clear()
    runner.worker_ids.remove("b")
    link.share_anew()
    assert [(i, data["tpm"]) for _, data, i in runner.sent] == [("a", 3e6)]


def test_a_worker_that_locust_forgot_gets_users_the_second_time():
    link, runner, _ = taking_part("a")
    runner.idle_ids.append("b")
    link.place_the_idle()
    assert runner.starts == []  # it may be about to get some
    link.place_the_idle()
    assert runner.starts == [(60, 100.0)]


def test_a_question_about_the_clock_is_answered_with_the_runs_second():
    link, runner, _ = linked("a")
    link.answer("a", 7)
    assert runner.sent == [("tokenswarm_clock", {"question": 7, "run_s": 0.0}, "a")]


def test_pages_of_workers_that_come_and_go():
    link, runner, _ = linked("a", "b", "c")
    link.take("a", report(page="10.0.0.1:9647"))
    link.take("b", report(page=None))
    link.take("c", report(page="10.0.0.2:9648"))
    assert link.pages() == ["10.0.0.1:9647", "10.0.0.2:9648"]
    runner.worker_ids.remove("a")
    assert link.pages() == ["10.0.0.2:9648"]


def test_a_master_waits_until_every_worker_has_reported_its_end():
    link, runner, _ = linked("a", "b")
    end = report(ended=True)
    link.take("a", end)
    gevent.spawn_later(0.15, link.take, "b", end)
    link.stop_workers(limit_s=10)
    assert link.in_flight() == 0
    assert {(kind, worker_id) for kind, _, worker_id in runner.sent} == {
        ("tokenswarm_stop", "a"),
        ("tokenswarm_stop", "b"),
    }


def test_a_worker_that_came_too_late_to_begin_is_not_waited_for():
    """It joins as the run ends: the two minutes for turns under way are not its."""
    link, _, _ = linked("a", "late")
    link.take("a", report(ended=True))
    link.take("late", report(run=None, ended=True))  # from before the stop: it may begin yet
    gevent.spawn_later(0.15, link.take, "late", report(run=None, ended=False))
    gevent.spawn_later(0.3, link.take, "late", report(run=None, ended=True))
    began = time.monotonic()
    link.stop_workers(limit_s=30)
    assert 0.3 <= time.monotonic() - began < 15
    assert (link.workers_seen, link.workers_unreported) == (1, 0)


def test_a_worker_that_goes_away_in_mid_run_is_lost():
    link, runner, _ = linked("a", "b")
    for client_id in ("a", "b"):
        link.take(client_id, report())
    runner.worker_ids.remove("b")
    link.take("a", report())
    assert (link.workers_seen, link.workers_lost) == (2, 1)
    runner.worker_ids.append("b")  # its heartbeats are back, its traffic was missing all the same
    link.take("a", report())
    assert link.workers_lost == 1


def test_the_only_worker_is_lost_too():
    link, runner, _ = linked("a")
    link.take("a", report())
    runner.worker_ids.remove("a")
    link.stop_workers(limit_s=1)
    assert (link.workers_lost, link.workers_unreported) == (1, 0)


def test_the_last_worker_is_missed_although_none_is_left_to_report():
    link, runner, _ = linked("a")
    link.take("a", report())
    runner.worker_ids.remove("a")
    assert link.workers_lost == 1


def test_workers_that_stop_when_they_are_asked_to_are_not_lost():
    link, runner, _ = linked("a", "b")
    for client_id in ("a", "b"):
        link.take(client_id, report())
    gevent.spawn_later(0.05, link.take, "a", report(ended=True))
    gevent.spawn_later(0.1, runner.worker_ids.remove, "a")
    gevent.spawn_later(0.15, link.take, "b", report(ended=True))
    link.stop_workers(limit_s=10)
    assert (link.workers_lost, link.workers_unreported) == (0, 0)


def test_a_worker_that_stays_silent_at_the_end_is_unreported():
    link, _, _ = linked("a", "b")
    link.take("a", report())
    link.take("b", report(ended=True))
    link.stop_workers(limit_s=0.2)
    assert (link.workers_lost, link.workers_unreported) == (0, 1)


def test_the_next_run_begins_with_nobody_lost():
    link, runner, _ = linked("a", "b")
    link.take("b", report())
    runner.worker_ids.remove("b")
    link.take("a", report())
    link.expect("next", lambda: 0.0)
    assert (link.workers_seen, link.workers_lost) == (0, 0)
