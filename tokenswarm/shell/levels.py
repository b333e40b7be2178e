"""Levels: stretches of constant offered traffic, announced by the master or the process alone."""

from __future__ import annotations

from dataclasses import replace

from tokenswarm.measure.record import Level
from tokenswarm.shell.link import MasterLink
from tokenswarm.shell.run import Run


class Levels:
    """What is asked for now, in this process and on its workers."""

    def __init__(self, run: Run, link: MasterLink | None) -> None:
        """link: to the workers, on a master."""
        self._run = run
        self._link = link
        self._current: Level | None = None
        self._count = 0

    def begin(
        self, *, tpm: float | None = None, developers: int | None = None, ramp_s: float = 0.0
    ) -> None:
        """A new level, reached after `ramp_s`; one that asks for what is asked for already changes
        nothing."""
        current = self._current
        if current is not None and (current.target_tpm, current.developers) == (tpm, developers):
            return
        self._end_current()
        self._current = Level(
            index=self._count,
            target_tpm=tpm,
            developers=developers,
            started_at_s=self._run.clock.now_s(),
            ramp_s=ramp_s,
        )
        self._count += 1
        self._run.feed.level(self._current)
        self._ask(tpm, self._current.index, ramp_s)

    def end(self) -> None:
        """The level is over, before the next has begun: users come or go."""
        self._end_current()

    @property
    def current(self) -> Level | None:
        return self._current

    def rest(self) -> None:
        """No more traffic is asked for; turns under way go on."""
        if self._current is not None:
            self._end_current()
            self._ask(0.0 if self._run.terms.open_mode else None, None, 0.0)

    def in_flight(self) -> int | None:
        """Turns under way in all processes; None until every worker has said so."""
        return self._run.in_flight if self._link is None else self._link.in_flight()

    def _end_current(self) -> None:
        if self._current is not None:
            self._run.feed.level(replace(self._current, ended_at_s=self._run.clock.now_s()))
            self._current = None

    def _ask(self, tpm: float | None, level: int | None, ramp_s: float) -> None:
        if self._link is None:
            self._run.set_target(tpm, level, ramp_s)
        else:
            self._link.announce(tpm, level, ramp_s)
