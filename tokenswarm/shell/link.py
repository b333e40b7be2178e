"""Between master and workers: whole turn records up, the target rate and the level down.

    worker -> master   with Locust's own report, every 3 s: {"turns": [...], "health": [...],
                       "run": name, "load": {...}, "ended": bool, "page": "host:port" or None,
                       "finished": n, "serial": s}
                       (n: turns of the run so far; s: the last target this worker has taken up)
    master -> workers  {"tpm": this worker's share or None, "level": index or None, "ramp_s": ...,
                       "serial": s}

Whole records, not sketches: 2.5M TPM is 28 turns a minute, so the master's percentiles are exact.
"""

from __future__ import annotations

from locust.env import Environment
from locust.exception import RPCError
from locust.runners import MasterRunner, WorkerRunner

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import gevent

from exporters.turns import Load, TurnFeed
from tokenswarm.measure.health import Health
from tokenswarm.measure.record import TurnRecord

_KEY = "tokenswarm"
_TARGET = "tokenswarm_target"
_STOP = "tokenswarm_stop"
_CUT = "tokenswarm_cut"


@dataclass(frozen=True, slots=True)
class Status:
    """Of a process that sends traffic: its run (the last one, once it has ended), what is under
    way, whether the run has ended, so that no more turns will come, and where its page of metrics
    is, as host:port."""

    run: str | None
    load: Load
    ended: bool
    page: str | None


@dataclass(slots=True)
class WorkerLink:
    """A worker's end: collects turns and health for the next report."""

    status: Callable[[], Status]
    serial: int = 0
    _turns: list[TurnRecord] = field(default_factory=list)
    _health: list[Health] = field(default_factory=list)
    _run: str | None = None
    _finished: int = 0  # turns of the run so far

    def add(self, record: TurnRecord) -> None:
        run = self.status().run
        if run != self._run:
            self._run, self._finished = run, 0
        self._turns.append(record)
        self._finished += 1

    def add_health(self, health: Health) -> None:
        self._health.append(health)

    def report(self) -> dict[str, Any]:
        turns, self._turns = self._turns, []
        health, self._health = self._health, []
        status = self.status()
        return {
            "turns": [asdict(turn) for turn in turns],
            "health": [asdict(interval) for interval in health],
            **asdict(status),
            "finished": self._finished if status.run == self._run else 0,
            "serial": self.serial,
        }


@dataclass(slots=True)
class MasterLink:
    """The master's end: who has reported what."""

    runner: MasterRunner
    feed: TurnFeed
    serial: int = 0
    _run: str | None = None
    _target: tuple[float | None, int | None] = (None, None)  # TPM of all workers, level
    refused_records: int = 0  # of a run that this master does not know
    _sharers: int = 0
    _last: dict[str, dict[str, Any]] = field(default_factory=dict)  # reports by client
    _taken: Counter[str] = field(default_factory=Counter)  # turns of the run, by client
    _pages: dict[str, str | None] = field(default_factory=dict)  # by client
    _lost: set[str] = field(default_factory=set)  # clients that went away in mid-run
    _stopping: bool = False

    def expect(self, run: str) -> None:
        """From now on the reports of this run count; a late one of the last run does not."""
        self._run = run
        self._target = (None, None)
        self._last.clear()
        self._taken.clear()
        self._lost.clear()
        self._stopping = False

    def announce(self, tpm: float | None, level: int | None, ramp_s: float) -> None:
        """A new target for every worker, in equal shares (a worker is one process of the same
        power as the others)."""
        self.serial += 1
        self._target = (tpm, level)
        workers = self._workers()
        self._sharers = len(workers)
        for client_id in workers:
            self._tell(client_id, ramp_s)

    def take(self, client_id: str, report: dict[str, Any]) -> None:
        self._pages[client_id] = report["page"]
        if report["run"] != self._run:
            self.refused_records += len(report["turns"])
            return
        for turn in report["turns"]:
            turn["chunk_gaps_s"] = tuple(turn["chunk_gaps_s"])
            self.feed.turn(TurnRecord(**turn))
        for interval in report["health"]:
            self.feed.health(Health(**interval))
        self._taken[client_id] += len(report["turns"])
        self._last[client_id] = report
        self._notice_the_lost()
        if report["ended"]:
            return
        if self.serial and len(self._workers()) != self._sharers:
            self.announce(*self._target, ramp_s=0.0)  # one came or went: share out again
        elif report["serial"] < self.serial:
            self._tell(client_id, ramp_s=0.0)  # it came late, or has not read its post yet

    def _tell(self, client_id: str, ramp_s: float) -> None:
        tpm, level = self._target
        share = None if tpm is None else tpm / max(1, self._sharers)
        message = {"tpm": share, "level": level, "ramp_s": ramp_s, "serial": self.serial}
        self.runner.send_message(_TARGET, message, client_id)

    def in_flight(self) -> int | None:
        """Turns in flight on all workers; None until each has reported since the last target."""
        reports = [self._last.get(client_id) for client_id in self._workers()]
        if any(report is None or report["serial"] < self.serial for report in reports):
            return None
        return sum(int(report["load"]["in_flight"]) for report in reports if report)

    def load(self) -> Load | None:
        """Of all workers, as they last reported; tokens sent of those that have gone, too. None
        before the first report."""
        if not self._last:
            return None
        here = [
            report["load"]
            for client_id in self._workers()
            if (report := self._last.get(client_id)) is not None
        ]
        waiting = [load["waiting_tickets"] for load in here]
        sent = (report["load"]["sent_prompt_tokens"] for report in self._last.values())
        return Load(
            in_flight=sum(load["in_flight"] for load in here),
            open_sessions=sum(load["open_sessions"] for load in here),
            waiting_tickets=sum(waiting) if waiting and None not in waiting else None,
            sent_prompt_tokens=sum(sent),
            settled_s=min((load["settled_s"] for load in here), default=0.0)
            if len(here) == len(self._workers())
            else 0.0,
        )

    @property
    def workers_seen(self) -> int:
        """That have reported anything of the run."""
        return len(self._last)

    @property
    def workers_lost(self) -> int:
        """That missed their heartbeats or went away before the run was stopped."""
        self._notice_the_lost()  # where none is left to report
        return len(self._lost)

    @property
    def workers_unreported(self) -> int:
        """Of the others, those that have not said that they are through."""
        return sum(
            not report["ended"] for client, report in self._last.items() if client not in self._lost
        )

    def _notice_the_lost(self) -> None:
        if not self._stopping:
            self._lost |= self._last.keys() - set(self._workers())

    def lost_records(self) -> int:
        """Turns of the run that a worker has reported and that did not arrive."""
        return sum(
            max(0, report["finished"] - self._taken[client_id])
            for client_id, report in self._last.items()
        )

    def pages(self) -> list[str]:
        """Where the pages of the workers are that Locust has not given up, as host:port."""
        pages = (self._pages.get(client_id) for client_id in self.runner.clients)
        return sorted(page for page in pages if page is not None)

    def without_page(self) -> int:
        """Workers here that have reported, and that no page of metrics could be made for."""
        return sum(self._pages.get(client_id, "") is None for client_id in self._workers())

    def stop_workers(self, limit_s: float) -> None:
        """Asks every worker to stop its users, and waits until all have reported their last turns,
        at most `limit_s` wall seconds. (Locust's own headless master quits at once, with the
        slowest turns still under way: docs/measuring.md 2.5.)"""
        self._notice_the_lost()
        self._stopping = True
        for client_id in self._workers():
            self.runner.send_message(_STOP, None, client_id)
        with gevent.Timeout(limit_s, False):
            while not all(
                (report := self._last.get(client_id)) and report["ended"]
                for client_id in self._workers()
            ):
                gevent.sleep(0.1)

    def cut_off(self) -> None:
        """Turns under way on the workers end now, as unfinished."""
        for client_id in self._workers():
            self.runner.send_message(_CUT, None, client_id)

    def _workers(self) -> list[str]:
        clients = self.runner.clients
        return [c.id for c in (*clients.ready, *clients.spawning, *clients.running)]


def install_on_worker(
    environment: Environment,
    feed: TurnFeed,
    status: Callable[[], Status],
    on_target: Callable[[float | None, int | None, float], None],
) -> None:
    """Ships the feed's turns to the master, takes its targets, on_target(tpm, level, ramp_s), and
    stops when it says so. A worker that is told to leave (SIGTERM, Ctrl-C) ends its turns and ships
    them first."""
    assert isinstance(environment.runner, WorkerRunner)
    link, runner = WorkerLink(status), environment.runner
    feed.subscribe(link.add, on_health=link.add_health)

    def report(data: dict[str, Any], **_kw: Any) -> None:
        data[_KEY] = link.report()

    def take(msg: Any, **_kw: Any) -> None:
        link.serial = msg.data["serial"]
        on_target(msg.data["tpm"], msg.data["level"], msg.data["ramp_s"])

    def finish(**_kw: Any) -> None:
        """Ends the turns and ships them at once: Locust's next report is up to 3 s away."""
        if not status().ended:
            runner.stop()
            with suppress(RPCError):  # the master is gone: the worker's ledger has them
                runner._send_stats()

    def cut_off(**_kw: Any) -> None:
        runner.user_greenlets.kill(block=False)

    environment.events.report_to_master.add_listener(report)
    # The last listener is the first to be called: before Locust's own, which says goodbye. What
    # comes after that, the master refuses.
    environment.events.quitting.add_listener(finish)
    environment.runner.register_message(_TARGET, take)
    environment.runner.register_message(_STOP, finish, concurrent=True)
    environment.runner.register_message(_CUT, cut_off)


def install_on_master(environment: Environment, feed: TurnFeed) -> MasterLink:
    """Brings the workers' turns into the master's feed."""
    assert isinstance(environment.runner, MasterRunner)
    link = MasterLink(environment.runner, feed)

    def take(client_id: str, data: dict[str, Any], **_kw: Any) -> None:
        if _KEY in data:
            link.take(client_id, data[_KEY])

    environment.events.worker_report.add_listener(take)
    return link
