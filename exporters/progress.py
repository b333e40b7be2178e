"""A line now and then of how the run is going."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

import gevent

from exporters.turns import TurnFeed
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.tally import Summary, Tally

EVERY_WALL_S = 10.0


class Progress:
    """The current level so far, every ten wall seconds."""

    def __init__(
        self,
        feed: TurnFeed,
        now_s: Callable[[], float],
        in_flight: Callable[[], int | None],
        *,
        unit: str,
        out: TextIO = sys.stderr,
    ) -> None:
        """unit: what a second is, "s" or "engine s"."""
        self._feed = feed
        self._now_s = now_s
        self._in_flight = in_flight
        self._unit = unit
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
        now_s = self._now_s()
        level = self._level
        if level is None:
            return f"[{now_s:,.0f} {self._unit}] starting"
        if level.ended_at_s is not None:
            left = self._in_flight()
            return f"[{now_s:,.0f} {self._unit}] in flight {'-' if left is None else left}"
        summary = self._tally.summary((level.started_at_s, now_s))
        return f"[{now_s:,.0f} {self._unit}] {_what(level)}: {_figures(summary, self._in_flight())}"

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


def _what(level: Level) -> str:
    if level.target_tpm is not None:
        return f"level {level.index}, {level.target_tpm / 1e6:.2f}M TPM"
    return f"level {level.index}, {level.developers} developers"


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
