"""The master's end of the link to its workers: whole turn records come up, the target rate and the
level go down. The workers' end is `worker_link`.

    worker -> master   REPORT, with Locust's own, every 3 s and when a run begins:
                       {"batches": [{"number": b, "run": name, "turns": [...], "health": [...]}],
                       "run": name, "load": {...}, "ended": bool,
                       "problem": why it takes no part or None,
                       "page": "host:port" or None, "finished": n, "serial": s}
                       (n: turns of the run so far; s: the last target this worker has taken up)
                       CLOCK {"question": n}
    master -> workers  TARGET {"tpm": this worker's share or None, "level": index or None,
                       "ramp_s": ..., "serial": s}
                       CLOCK {"question": n, "run_s": second of the run or None}
                       TAKEN {"number": b}
                       STOP, CUT: end the turns; cut them off

A batch is sent again with every report until the master says that it has it: what is under way when
a link breaks is in no buffer any more.

Whole records, not sketches: 2.5M TPM is 28 turns a minute, so the master's percentiles are exact.
"""

from __future__ import annotations

from locust.env import Environment
from locust.runners import STATE_RUNNING, MasterRunner

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gevent

from exporters.turns import Load, TurnFeed
from tokenswarm.measure.health import Health
from tokenswarm.measure.record import TurnRecord
from tokenswarm.shell import master_port

logger = logging.getLogger("tokenswarm")

REPORT = "tokenswarm"
TARGET = "tokenswarm_target"
CLOCK = "tokenswarm_clock"
STOP = "tokenswarm_stop"
CUT = "tokenswarm_cut"
TAKEN = "tokenswarm_taken"

_TEND_S = 1.0


@dataclass(slots=True)
class MasterLink:
    """The master's end: who has reported what."""

    runner: MasterRunner
    feed: TurnFeed
    serial: int = 0
    _run: str | None = None
    _now_s: Callable[[], float] | None = None  # the run's clock
    _target: tuple[float | None, int | None] = (None, None)  # TPM of all workers, level
    refused_records: int = 0  # of a run that this master does not know
    _sharers: list[str] = field(default_factory=list)  # clients that the target is shared among
    _last: dict[str, dict[str, Any]] = field(default_factory=dict)  # reports by client
    _taken: Counter[str] = field(default_factory=Counter)  # turns of the run, by client
    _batches: dict[str, int] = field(default_factory=dict)  # the last one taken, by client
    _pages: dict[str, str | None] = field(default_factory=dict)  # by client
    _lost: set[str] = field(default_factory=set)  # clients that went away in mid-run
    _problems: dict[str, str] = field(default_factory=dict)  # why clients take no part
    _idle: set[str] = field(default_factory=set)  # clients that Locust gave no users when last seen
    _stopping: bool = False
    _without_part: set[str] = field(default_factory=set)  # clients that came too late to begin

    def expect(self, run: str, now_s: Callable[[], float]) -> None:
        """From now on the reports of this run count; a late one of the last run does not. now_s:
        its clock, which the workers go by."""
        self._run, self._now_s = run, now_s
        self._target = (None, None)
        self._last.clear()
        self._taken.clear()
        self._lost.clear()
        self._problems.clear()
        self._stopping = False
        self._without_part.clear()

    def announce(self, tpm: float | None, level: int | None, ramp_s: float) -> None:
        """A new target for every worker that takes part, in equal shares (a worker is one process
        of the same power as the others)."""
        self.serial += 1
        self._target = (tpm, level)
        self._sharers = self._taking_part()
        for client_id in self._sharers:
            self._tell(client_id, ramp_s)

    def take(self, client_id: str, report: dict[str, Any]) -> None:
        self._pages[client_id] = report["page"]
        if report["problem"] and report["problem"] != self._problems.get(client_id):
            self._problems[client_id] = report["problem"]
            logger.error("worker %s takes no part in the run: %s", client_id, report["problem"])
        for batch in report["batches"]:
            if batch["number"] > self._batches.get(client_id, -1):
                self._batches[client_id] = batch["number"]
                self._take_batch(client_id, batch)
        if report["batches"]:
            self.runner.send_message(TAKEN, {"number": self._batches[client_id]}, client_id)
        if report["run"] != self._run:
            if self._stopping and report["ended"]:
                self._without_part.add(client_id)
            return
        self._last[client_id] = report
        self._notice_the_lost()
        if report["ended"]:
            return
        if not self.share_anew() and report["serial"] < self.serial:
            self._tell(client_id, ramp_s=0.0)  # it has not read its post yet, or was on its own

    def _take_batch(self, client_id: str, batch: dict[str, Any]) -> None:
        if batch["run"] != self._run:
            self.refused_records += len(batch["turns"])
            return
        for turn in batch["turns"]:
            turn["chunk_gaps_s"] = tuple(turn["chunk_gaps_s"])
            self.feed.turn(TurnRecord(**turn))
        for interval in batch["health"]:
            self.feed.health(Health(**interval))
        self._taken[client_id] += len(batch["turns"])

    def share_anew(self) -> bool:
        """Where a worker came or went since the rate was shared out; says whether one did."""
        changed = bool(self.serial) and self._taking_part() != self._sharers
        if changed:
            self.announce(*self._target, ramp_s=0.0)
        return changed

    def answer(self, client_id: str, question: int) -> None:
        """What second of the run it is."""
        run_s = None if self._now_s is None else self._now_s()
        self.runner.send_message(CLOCK, {"question": question, "run_s": run_s}, client_id)

    def place_the_idle(self) -> None:
        """Gives users to workers that came to a running test and have none the second time we look:
        once one has joined, Locust's dispatcher takes itself for busy and forgets the next."""
        idle = {client.id for client in self.runner.clients.ready}
        waiting = idle & self._idle
        if waiting and self.runner.state == STATE_RUNNING and not self._stopping:
            self.runner.start(self.runner.target_user_count, self.runner.spawn_rate)
        self._idle = idle

    def _tell(self, client_id: str, ramp_s: float) -> None:
        tpm, level = self._target
        share = None if tpm is None else tpm / max(1, len(self._sharers))
        message = {"tpm": share, "level": level, "ramp_s": ramp_s, "serial": self.serial}
        self.runner.send_message(TARGET, message, client_id)

    def in_flight(self) -> int | None:
        """Turns in flight on all workers; None until each has reported since the last target."""
        reports = [self._last[client_id] for client_id in self._here()]
        if not reports or any(report["serial"] < self.serial for report in reports):
            return None if reports or not self._last else 0
        return sum(int(report["load"]["in_flight"]) for report in reports)

    def load(self) -> Load | None:
        """Of all workers, as they last reported; tokens sent of those that have gone, too. None
        before the first report."""
        if not self._last:
            return None
        here = [self._last[client_id]["load"] for client_id in self._here()]
        waiting = [load["waiting_tickets"] for load in here]
        sent = (report["load"]["sent_prompt_tokens"] for report in self._last.values())
        return Load(
            in_flight=sum(load["in_flight"] for load in here),
            open_sessions=sum(load["open_sessions"] for load in here),
            told_to_wait=sum(load["told_to_wait"] for load in here),
            waiting_tickets=sum(waiting) if waiting and None not in waiting else None,
            sent_prompt_tokens=sum(sent),
            settled_s=min((load["settled_s"] for load in here), default=0.0),
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
        """Of the others, those that have not said that they are through, or whose turns are not
        all here."""
        return sum(
            not report["ended"] or report["finished"] > self._taken[client]
            for client, report in self._last.items()
            if client not in self._lost
        )

    def _notice_the_lost(self) -> None:
        if not self._stopping:
            self._lost |= self._last.keys() - set(self._workers())

    def lost_records(self) -> int:
        """Turns of the run that a worker has counted and that did not arrive (yet)."""
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
            self.runner.send_message(STOP, None, client_id)
        with gevent.Timeout(limit_s, False):
            while not all(map(self._is_through, self._workers())):
                gevent.sleep(0.1)

    def _is_through(self, client_id: str) -> bool:
        report = self._last.get(client_id)
        return client_id in self._without_part if report is None else bool(report["ended"])

    def cut_off(self) -> None:
        """Turns under way on the workers end now, as unfinished."""
        for client_id in self._workers():
            self.runner.send_message(CUT, None, client_id)

    def _here(self) -> list[str]:
        """Workers of the run that Locust has not given up."""
        return [client_id for client_id in self._workers() if client_id in self._last]

    def _taking_part(self) -> list[str]:
        """Those that send its traffic."""
        return [client_id for client_id in self._here() if not self._last[client_id]["ended"]]

    def _workers(self) -> list[str]:
        clients = self.runner.clients
        return sorted(c.id for c in (*clients.ready, *clients.spawning, *clients.running))


def install_on_master(environment: Environment, feed: TurnFeed) -> MasterLink:
    """Brings the workers' turns into the master's feed."""
    assert isinstance(environment.runner, MasterRunner)
    link = MasterLink(environment.runner, feed)
    master_port.guard(environment.runner)

    def take(client_id: str, data: dict[str, Any], **_kw: Any) -> None:
        if REPORT in data:
            link.take(client_id, data[REPORT])

    def answer(msg: Any, **_kw: Any) -> None:
        link.answer(msg.node_id, msg.data["question"])

    def tend() -> None:
        while True:
            gevent.sleep(_TEND_S)
            link.share_anew()
            link.place_the_idle()

    environment.events.worker_report.add_listener(take)
    environment.runner.register_message(CLOCK, answer)
    environment.runner.greenlet.spawn(tend)
    return link
