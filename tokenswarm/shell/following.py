"""Following: the conductor of a Locust worker: takes the run's terms and what its master says."""

from __future__ import annotations

from locust.env import Environment
from locust.runners import WorkerRunner

import logging

import gevent

from exporters.turns import IDLE
from tokenswarm.exit_codes import BAD_INPUT
from tokenswarm.shell import admission
from tokenswarm.shell import run as runs
from tokenswarm.shell.conductor import Conductor, freeze
from tokenswarm.shell.metrics import Metrics
from tokenswarm.shell.options import read_options
from tokenswarm.shell.run import Run
from tokenswarm.shell.run_clock import WallClock
from tokenswarm.shell.shared_clock import AGAIN_S, ClockError
from tokenswarm.shell.terms import Terms
from tokenswarm.shell.worker_link import Status, WorkerLink
from workload.source import load_source

logger = logging.getLogger("tokenswarm")


class FollowingConductor(Conductor):
    """Of a worker: sends its share of the run's traffic, or nothing and says why."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        super().__init__(environment, runner)
        self._master = WorkerLink(environment, self._feed, self)
        self._joining: gevent.Greenlet | None = None  # makes the run
        self._problem: str | None = None  # why this worker takes no part in the master's run

    def joined_run(self) -> Run | None:
        """Waits until the worker knows its master's clock and has the text."""
        if self._joining is not None:
            self._joining.join()
        return self.run

    def _prepare(self) -> None:
        self._metrics = Metrics(self._environment, self._feed, None)

    def _start(self) -> None:
        # In a greenlet of its own: this one reads the worker's post.
        self._joining = gevent.spawn(self._join)

    def begin_level(self, user_count: int) -> None:
        """Its master does."""

    def rest(self) -> None:
        if self._joining is not None:
            self._joining.kill()
        super().rest()

    def stop(self) -> None:
        super().stop()
        # A worker lets this time pass once more before it reports ready, and meanwhile no test
        # can start. Its users have stopped by now, and the next start brings the value anew.
        self._environment.stop_timeout = 0

    def _join(self) -> None:
        """A worker takes the run's terms, or sends nothing and says why."""
        self._problem = None
        try:
            self._take_part()
        except (ValueError, OSError) as error:
            logger.error("this worker takes no part in the run: %s", error)
            self._problem = str(error)
            self._environment.process_exit_code = BAD_INPUT
        self._master.send_now()  # the master counts it in, or knows why not

    def _take_part(self) -> None:
        parsed = self._environment.parsed_options
        assert parsed is not None
        if parsed.tokenswarm_terms is None:
            return  # the master could not start
        terms = Terms.unpack(parsed.tokenswarm_terms)
        parsed.profile = terms.profile
        environment = self._environment
        options = read_options(
            admission.with_classes(environment, parsed), admission.host(environment)
        )
        source = load_source(options.profile, options.trace, options.trace_timing, options.habits)
        runs.known_rates(source, open_mode=terms.open_mode)
        corpus = runs.load_corpus(options)
        run = self.run = self._last_run = runs.start(
            terms,
            options,
            source,
            corpus,
            self._feed,
            worker=self._runner.worker_index,
            on_broken=self._lose_clock,
            on_full=self._lose_disk,
            origin=self._master.clock(terms.speed).origin,
        )
        assert self._metrics is not None
        self._metrics.start(run)
        gevent.spawn(self._keep_clock, run)
        freeze()

    def _keep_clock(self, run: Run) -> None:
        """Corrects a worker's clock where it has drifted from its master's."""
        assert isinstance(run.clock, WallClock)
        while self.run is run:
            gevent.sleep(AGAIN_S)
            try:
                known = self._master.clock(run.clock.speed)
            except ClockError as error:
                logger.warning("the run's clock was not compared: %s", error)
                continue
            if abs(known.origin - run.clock.origin) > known.uncertainty_s:
                run.clock.origin = known.origin

    def status(self) -> Status:
        last = self._last_run
        return Status(
            last.terms.name if last else None,
            last.load() if last else IDLE,
            ended=self.run is None and not self._joining,  # one that begins has turns to come
            problem=self._problem,
            page=self._metrics.address if self._metrics else None,
        )

    def take_target(self, tpm: float | None, level: int | None, ramp_s: float) -> None:
        if self.run is not None:
            if level != self.run.level and self._metrics is not None:
                self._metrics.cut()
            self.run.set_target(tpm, level, ramp_s)

    def hold(self, overdue_s: float) -> None:
        if self.run is not None:
            self.run.hold(overdue_s)

    def go_on(self) -> None:
        if self.run is not None:
            self.run.go_on()

    def _lose_disk(self, error: OSError) -> None:
        """A worker's turns reach its master's ledger all the same."""
        logger.error("the ledger cannot be written: %s; its lines are kept in memory", error)
