"""A line now and then of how the run is going."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

import gevent

from exporters.turns import TurnFeed
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.tally import Summary, Tally

EVERY_WALL_S = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How the run is to go. levels: how many, None where that is open; ends_at_s: when the last of
    them is over, in the run's seconds, None where that is open. What is under way then comes on
    top."""

    levels: int | None
    ends_at_s: float | None


class Progress:
    """The current level so far, every ten wall seconds."""

    def __init__(
        self,
        feed: TurnFeed,
        now_s: Callable[[], float],
        in_flight: Callable[[], int | None],
        *,
        unit: str,
        plan: Callable[[], Plan | None] = lambda: None,
        told_to_wait: Callable[[], int] = lambda: 0,
        wall_s: Callable[[], float] = time.monotonic,
        out: TextIO = sys.stderr,
    ) -> None:
        """unit: what a second is, "s" or "engine s"; plan: as it stands, None before the first
        level; told_to_wait: developers that a Retry-After keeps away now; wall_s: a monotonic
        clock."""
        self._feed = feed
        self._now_s = now_s
        self._in_flight = in_flight
        self._unit = unit
        self._plan = plan
        self._told_to_wait = told_to_wait
        self._wall_s = wall_s
        self._began = now_s(), wall_s()
        self._out = out
        self._tally = Tally()
        self._level: Level | None = None  # the last one; over when it has an end
        feed.subscribe(self._add, self._begin)
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        self._greenlet.kill()
        self._feed.unsubscribe(self._add, self._begin)

    def line(self) -> str:
        """The line for now."""
        now_s, plan = self._now_s(), self._plan()
        level = self._level
        if level is None:
            return f"[{now_s:,.0f} {self._unit}] starting"
        if level.ended_at_s is not None:
            left = self._in_flight()
            return f"[{now_s:,.0f} {self._unit}] in flight {'-' if left is None else left}"
        summary = self._tally.summary((level.started_at_s, now_s))
        what = f"{_what(level, plan)}: {_figures(summary, self._in_flight())}{self._away()}"
        return f"[{now_s:,.0f} {self._unit}] {what}{self._left(now_s, plan)}"

    def _away(self) -> str:
        away = self._told_to_wait()
        return f", {away} developers told to wait (Retry-After)" if away else ""

    def _left(self, now_s: float, plan: Plan | None) -> str:
        """What is left in wall time, at the pace so far: run seconds a wall second. A driven clock
        has no pace of its own."""
        if plan is None or plan.ends_at_s is None or now_s >= plan.ends_at_s:
            return ""
        run_s, wall_s = now_s - self._began[0], self._wall_s() - self._began[1]
        if run_s <= 0 or wall_s <= 0:
            return ""
        left_s = (plan.ends_at_s - now_s) * wall_s / run_s
        at = time.strftime("%H:%M", time.localtime(time.time() + left_s))
        return f"; over in {_duration(left_s)}, about {at}, and what is in flight"

    def _add(self, record: TurnRecord) -> None:
        self._tally.add(record)

    def _begin(self, level: Level) -> None:
        self._level = level
        if level.ended_at_s is None:
            self._tally = Tally()

    def _run(self) -> None:
        while True:
            gevent.sleep(EVERY_WALL_S)
            print(self.line(), file=self._out, flush=True)


def _what(level: Level, plan: Plan | None) -> str:
    of = f" ({level.index + 1} of {plan.levels})" if plan is not None and plan.levels else ""
    if level.target_tpm is not None:
        return f"level {level.index}{of}, {level.target_tpm / 1e6:.2f}M TPM"
    return f"level {level.index}{of}, {level.developers} developers"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _figures(summary: Summary, in_flight: int | None) -> str:
    return ", ".join(
        (
            f"achieved {_number(summary.achieved_tpm, 1e-6, '.2f')}M",
            f"in flight {'-' if in_flight is None else in_flight}",
            f"turns {summary.requests}",
            f"failed {summary.failed}",
            f"TTFT p50 {_number(summary.ttft_s.p50, 1, '.2f')} s",
            f"TPS p50 {_number(summary.decode_tps.p50, 1, '.0f')}",
        )
    )


def _number(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None else format(value * factor, form)
