"""Ending: how a run ended, as its master or its only process saw it; the last line of a ledger."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """`at_s` is on the run's clock; the engine's lateness is in wall seconds. None is unknown."""

    at_s: float
    salted: bool  # a salt of its own keeps the run's prompts out of older cache entries (--warm)
    workers: int | None  # that sent traffic; None: one process did it all
    workers_lost: int  # that missed their heartbeats or went away before the end
    workers_unreported: int  # whose last turns did not arrive
    engine_lateness_p99_s: float | None  # of the embedded engine against its compressed clock
    engine_arrival_lateness_p99_s: float | None  # of arrivals with much new text
    stopped: str | None = None  # why the run ended itself before its time
    clock_lost: str | None = None  # why engine and generator parted, in driven time
