"""A worker's end of the link: ships its turns and health to the master, takes its targets, goes by
its clock, and holds its traffic while the master is silent. The messages are told in `link`."""

from __future__ import annotations

from locust.env import Environment
from locust.exception import RPCError
from locust.runners import WorkerRunner

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, Protocol

import gevent
from gevent.event import AsyncResult

from exporters.turns import Load, TurnFeed
from tokenswarm.measure.health import Health
from tokenswarm.measure.record import TurnRecord
from tokenswarm.shell.link import CLOCK, CUT, REPORT, STOP, TAKEN, TARGET
from tokenswarm.shell.master_watch import SILENCE_S, MasterWatch
from tokenswarm.shell.shared_clock import QUESTIONS, Reading, agreed, reading

logger = logging.getLogger("tokenswarm")

_LOOK_S = 0.5  # how often the master's silence is looked at
_ANSWER_S = 2.0  # guess: within that an answer comes, or not at all


@dataclass(frozen=True, slots=True)
class Status:
    """Of a process that sends traffic: its run (the last one, once it has ended), what is under
    way, whether the run has ended, so that no more turns will come, why it takes no part in the
    master's, and where its page of metrics is, as host:port."""

    run: str | None
    load: Load
    ended: bool
    problem: str | None
    page: str | None


class Worker(Protocol):
    """What the master leads."""

    def status(self) -> Status: ...

    def take_target(self, tpm: float | None, level: int | None, ramp_s: float) -> None: ...

    def hold(self, overdue_s: float) -> None:
        """No more turns: the master is silent, for so many wall seconds too long already."""

    def go_on(self) -> None:
        """It is heard again."""


@dataclass(slots=True)
class Outbox:
    """Turns and health for the next report, and those that the master has not confirmed yet."""

    status: Callable[[], Status]
    serial: int = 0
    _batches: list[dict[str, Any]] = field(default_factory=list)  # under way, oldest first
    _numbers: Iterator[int] = field(default_factory=count)
    _turns: list[TurnRecord] = field(default_factory=list)
    _health: list[Health] = field(default_factory=list)
    _run: str | None = None
    _finished: int = 0  # turns of the run so far

    def add(self, record: TurnRecord) -> None:
        run = self.status().run
        if run != self._run:
            self._pack()
            self._run, self._finished = run, 0
        self._turns.append(record)
        self._finished += 1

    def add_health(self, health: Health) -> None:
        self._health.append(health)

    def taken(self, number: int) -> None:
        """The master has this batch, and all before it."""
        self._batches = [batch for batch in self._batches if batch["number"] > number]

    def report(self) -> dict[str, Any]:
        self._pack()
        status = self.status()
        return {
            "batches": self._batches,
            **asdict(status),
            "finished": self._finished if status.run == self._run else 0,
            "serial": self.serial,
        }

    def _pack(self) -> None:
        """What there is becomes a batch of the run that its turns are of."""
        turns, self._turns = self._turns, []
        health, self._health = self._health, []
        if turns or health:
            self._batches.append(
                {
                    "number": next(self._numbers),
                    "run": self._run if turns else self.status().run,
                    "turns": [asdict(turn) for turn in turns],
                    "health": [asdict(interval) for interval in health],
                }
            )


class WorkerLink:
    """Of one Locust worker."""

    def __init__(self, environment: Environment, feed: TurnFeed, worker: Worker) -> None:
        """A worker that is told to leave (SIGTERM, Ctrl-C) ends its turns and ships them first."""
        assert isinstance(environment.runner, WorkerRunner)
        self._runner = environment.runner
        self._worker = worker
        self._outbox = Outbox(worker.status)
        self._watch = MasterWatch()
        self._answers: dict[int, AsyncResult] = {}
        self._numbers = count()
        feed.subscribe(self._outbox.add, on_health=self._outbox.add_health)
        events, register = environment.events, environment.runner.register_message
        events.report_to_master.add_listener(self._report)
        events.heartbeat_received.add_listener(self._hear)
        # The last listener is the first to be called: before Locust's own, which says goodbye. What
        # comes after that, the master refuses.
        events.quitting.add_listener(self._finish)
        register(TARGET, self._take)
        register(TAKEN, self._note_taken)
        register(CLOCK, self._take_answer)
        register(STOP, self._finish, concurrent=True)
        register(CUT, self._cut_off)
        environment.runner.greenlet.spawn(self._watch_on)

    def send_now(self) -> None:
        """Locust's next report is up to 3 s away."""
        with suppress(RPCError):  # the master is gone: the worker's ledger has the turns
            self._runner._send_stats()

    def clock(self, speed: float) -> Reading:
        """Of the master's run, by several questions. Raises ClockError. Not for the greenlet that
        reads the worker's post."""
        return agreed(r for _ in range(QUESTIONS) if (r := self._ask(speed)) is not None)

    def _ask(self, speed: float) -> Reading | None:
        question = next(self._numbers)
        answer = self._answers[question] = AsyncResult()
        asked_at = time.monotonic()
        try:
            self._runner.send_message(CLOCK, {"question": question})
            received_at, run_s = answer.get(timeout=_ANSWER_S)
        except (gevent.Timeout, RPCError):
            return None
        finally:
            del self._answers[question]
        return None if run_s is None else reading(asked_at, received_at, run_s, speed)

    def _take_answer(self, msg: Any, **_kw: Any) -> None:
        received_at = time.monotonic()
        answer = self._answers.get(msg.data["question"])
        if answer is not None:  # else it was waited for too long
            answer.set((received_at, msg.data["run_s"]))

    def _note_taken(self, msg: Any, **_kw: Any) -> None:
        self._outbox.taken(msg.data["number"])

    def _report(self, data: dict[str, Any], **_kw: Any) -> None:
        data[REPORT] = self._outbox.report()

    def _take(self, msg: Any, **_kw: Any) -> None:
        self._hear()
        self._outbox.serial = msg.data["serial"]
        self._worker.take_target(msg.data["tpm"], msg.data["level"], msg.data["ramp_s"])

    def _finish(self, **_kw: Any) -> None:
        if not self._worker.status().ended:
            self._runner.stop()
            self.send_now()

    def _cut_off(self, **_kw: Any) -> None:
        self._runner.user_greenlets.kill(block=False)

    def _hear(self, **_kw: Any) -> None:
        if self._watch.heard(time.monotonic()):
            logger.info("the master is heard again")
            self._worker.go_on()
            self.send_now()  # the master answers with this worker's share

    def _watch_on(self) -> None:
        while True:
            overdue_s = self._watch.overdue_s(time.monotonic())
            if overdue_s is not None:
                logger.warning(
                    "nothing heard of the master for %.1f s: no more turns are sent until it is",
                    SILENCE_S + overdue_s,
                )
                self._outbox.serial = 0  # what was told before holds no longer
                self._worker.hold(overdue_s)
            gevent.sleep(_LOOK_S)
