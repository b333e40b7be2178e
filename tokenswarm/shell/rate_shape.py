"""RateShape: what shapes have in common whose levels are rates of input tokens, not users."""

from __future__ import annotations

from locust import LoadTestShape

from typing import ClassVar

import gevent

from tokenswarm.shell import wiring
from tokenswarm.shell.admission import PLACES_PER_S
from tokenswarm.shell.conductor import Conductor
from tokenswarm.shell.keeper import Turn
from tokenswarm.shell.levels import Levels
from tokenswarm.shell.run import Run
from tokenswarm.shell.run_clock import DrivenClock


class RateShape(LoadTestShape):
    """Keeps --max-developers places open while `drive` asks for one level after the other."""

    abstract = True
    open_mode = True  # levels are rates, not users
    options_of: ClassVar[str | None] = None  # of which locustfile (options.GROUPS); None: its own

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None  # the run that is driven
        self._leader: gevent.Greenlet | None = None  # asks `drive`, in driven time; false when over

    def begin(self, run: Run) -> None:
        """All places are open: second 0 of the first level."""
        raise NotImplementedError

    def drive(self, run: Run) -> bool:
        """Once a second: asks for the level of this moment; False when the run is over."""
        raise NotImplementedError

    @property
    def levels(self) -> Levels:
        """Where `drive` begins and ends levels. Raises RuntimeError when no run is on."""
        return self._conductor.current_levels()

    @property
    def _conductor(self) -> Conductor:
        assert self.runner is not None
        return wiring.conductor(self.runner.environment)

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None and self.runner.environment.parsed_options is not None
        places = (self.runner.environment.parsed_options.max_developers, PLACES_PER_S)
        run = self._conductor.current_run() if self.get_current_user_count() else None
        if run is None or (run is not self._run and self.get_current_user_count() < places[0]):
            return places  # the first tick starts the test; the ramp's end brings the next
        if isinstance(run.clock, DrivenClock):
            return self._tick_driven(run, run.clock, places)
        if run is not self._run:
            self._run = run
            self.begin(run)
        return places if self.drive(run) else None

    def again_at_s(self, run: Run) -> float:
        """In driven time: when `drive` wants to be asked again."""
        return run.clock.now_s() + 1.0

    def _tick_driven(
        self, run: Run, clock: DrivenClock, places: tuple[int, float]
    ) -> tuple[int, float] | None:
        """Locust's ticks only say when it is over; `drive` is asked in the run's own time, which
        begins when all places wait."""
        if run is self._run:
            return places if self._leader else None
        if clock.waiting == places[0]:
            self._run = run
            self._leader = gevent.spawn(self._lead, run, clock, clock.queue())
            clock.start()
        return places

    def _lead(self, run: Run, clock: DrivenClock, first: Turn) -> None:
        try:
            clock.wait(first)
            self.begin(run)
            while self.drive(run):
                clock.sleep_until(self.again_at_s(run))
        finally:
            # Time stands still: what is under way now will not end.
            clock.stop()
            assert self.runner is not None
            self.runner.environment.stop_timeout = 0
