"""Conductor: leads one Locust environment through its runs, one at a time.

    prepare   at Locust's init; headless: everything that can be refused is refused, exit code 2
    start     master or alone: settles the terms, begins the run; worker: takes the terms
    begin_level    when all users are there, where no shape says what a level is
    rest      the last level ends, a master waits for its workers' last turns
    stop, quit     results

`wiring` calls these at Locust's events. `leading` is the one of a master or of a process alone,
`following` that of a worker.
"""

from __future__ import annotations

from locust.env import Environment

import gc
import logging
import os
import sys
from abc import ABC, abstractmethod
from typing import Any, NoReturn

import gevent

from exporters import turns
from tokenswarm.exit_codes import BAD_INPUT, INTERRUPTED
from tokenswarm.shell import preflight, results, signals
from tokenswarm.shell.keeper import Broken
from tokenswarm.shell.levels import Levels
from tokenswarm.shell.metrics import Metrics
from tokenswarm.shell.run import Run

logger = logging.getLogger("tokenswarm")


class Conductor(ABC):
    """Of one environment. run: the one that is on, None between two; levels: of that run, None on
    a worker."""

    def __init__(self, environment: Environment, runner: Any) -> None:
        """Takes the environment's turns, and on a worker or master its messages."""
        self.run: Run | None = None
        self.levels: Levels | None = None
        self._environment = environment
        self._runner = runner
        self._feed = turns.install(environment)
        self._metrics: Metrics | None = None
        self._last_run: Run | None = None  # also when it has ended
        self._results: gevent.Greenlet | None = None  # writes those of the last run

    def current_run(self) -> Run:
        """The run that is on. Raises RuntimeError when none is: the test could not be started."""
        if self.run is None:
            raise RuntimeError("no run is on: see the error above")
        return self.run

    def joined_run(self) -> Run | None:
        """The run of a new user; None where the test could not be started."""
        return self.run

    def current_levels(self) -> Levels:
        """Of the run that is on. Raises RuntimeError on a worker, and when none is on."""
        if self.levels is None:
            raise RuntimeError("no run is on: see the error above")
        return self.levels

    def prepare(self) -> None:
        """Puts our page and checks beside Locust's. Leaves with exit code 2 where what was asked
        for cannot be."""
        try:
            self._prepare()
        except (ValueError, OSError, preflight.EndpointError) as error:
            self._refuse(error)

    @abstractmethod
    def _prepare(self) -> None:
        """Raises ValueError, OSError, EndpointError."""

    def start(self) -> None:
        environment = self._environment
        try:
            self._start()
        except (ValueError, OSError, preflight.EndpointError, Broken) as error:
            logger.error("the test cannot start: %s", error)
            environment.process_exit_code = BAD_INPUT
            if environment.runner is not None:
                # Not at once: Locust is about to spawn, and a stop in between loses the workers.
                gevent.spawn_later(1.0, environment.runner.stop)

    @abstractmethod
    def _start(self) -> None:
        """Raises ValueError, OSError, EndpointError, Broken."""

    @abstractmethod
    def begin_level(self, user_count: int) -> None:
        """Without a shape the number of users, or --tpm, is the level."""

    def rest(self) -> None:
        """Nothing more is sent; turns under way may end."""
        if self.run is not None:
            self.run.stopping = True

    def stop(self) -> None:
        self._finish()

    def interrupt(self, number: int) -> None:
        """Ctrl-C or SIGTERM, the number-th of them. The first ends the run, turns under way may
        end; the second cuts those off, with their records; the third leaves as it is."""
        if number == 1:
            if self.run is not None:
                logger.info(
                    "interrupted: no more turns are sent, those under way have up to %g s; once "
                    "more cuts them off",
                    self._environment.stop_timeout or 0,
                )
            signals.raise_in_main(KeyboardInterrupt())
        elif number == 2:
            logger.warning("interrupted again: turns under way are cut off, recorded as unfinished")
            self.cut_off()
        else:
            print("tokenswarm: interrupted for a third time, left without results", file=sys.stderr)
            os._exit(INTERRUPTED)

    def cut_off(self) -> None:
        """Turns under way end now, as unfinished."""
        self._runner.user_greenlets.kill(block=False)

    def quit(self) -> None:
        """On Ctrl-C and SIGTERM Locust comes here first, with turns under way."""
        if self.run is not None and self._environment.runner is not None:
            self._environment.runner.stop()
        self._finish()
        if self._metrics is not None:
            self._metrics.close()

    def _refuse(self, error: Exception) -> NoReturn:
        print(f"tokenswarm: {error}", file=sys.stderr)
        raise SystemExit(BAD_INPUT)

    def _lose_clock(self, reason: str) -> None:
        """Time stands still: what is under way will not end."""
        logger.error("the run's clock has stopped: %s", reason)
        if self.run is not None:
            self.run.clock_lost = reason
        environment = self._environment
        environment.stop_timeout = 0
        if environment.runner is not None:
            gevent.spawn(environment.runner.quit)

    @abstractmethod
    def _lose_disk(self, error: OSError) -> None:
        """The ledger's takes no more."""

    def _finish(self) -> None:
        """Results of the run that was on, once; whoever comes later waits for them. They are made
        in a greenlet of their own: Locust may come here in one that it kills meanwhile, as it does
        when a master has lost its last worker."""
        if self._metrics is not None:
            self._metrics.stop()
        run, self.run = self.run, None
        if run is not None:
            self._results = gevent.spawn(self._end, run)
        if self._results is not None:
            self._results.join()

    def _end(self, run: Run) -> None:
        run.close(None)
        results.save_rest(run)


def freeze() -> None:
    """What exists now is there to stay: a full collection would stop the hub for 50 ms and more
    (docs/measuring.md 1.3)."""
    gc.collect()
    gc.freeze()
