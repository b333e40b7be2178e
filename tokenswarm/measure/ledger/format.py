"""Ledger: the turns, levels, health and end of a run on disk, one JSON object a line.

    {"header": {"format": 1, "run": …, "fingerprint": {…}, "started_at": …, "speed": …,
                "target": {"url": …, "model": …, "engine": …, "simulated": …, "gpus": …},
                "worker": null}}
    {"level": {…}}     once when it starts and again with its end; the later line wins
    {"turn": {…}}      the fields of TurnRecord
    {"health": {…}}    of one process and interval
    {"workload": {…}}  once, from the master: what the traffic was meant to be
    {"end": {…}}       once, from the master: how the run ended; a killed run has none

Floats keep full precision, except `chunk_gaps_s`, rounded to 0.1 ms: a turn has hundreds, and a
read of the clock is no better. Lines are flushed one by one, so a killed process loses no
finished turn; the line it died in is dropped by the reader and counted. Fields that this version
does not know are left out: a later one may add some, and changes FORMAT where one changes meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenswarm.measure.books.series import Reading
from tokenswarm.measure.ending import Ending
from tokenswarm.measure.fingerprint import Fingerprint
from tokenswarm.measure.health import Health
from tokenswarm.measure.record import MAX_RETRY_AFTER_S, Level, TurnRecord
from workload.figures import Workload

FORMAT = 1


class LedgerError(ValueError):
    """A ledger that cannot be read, or ledgers that do not belong together: names file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The endpoint under load. None is not declared."""

    url: str
    model: str
    engine: str | None = None  # "vllm", "sim:trtllm-like", …
    simulated: bool
    gpus: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a ledger."""

    run: str
    fingerprint: Fingerprint
    started_at: float  # unix time of second 0 of this file's records
    speed: float  # engine seconds per wall second; 1 but for the embedded engine
    target: Target
    worker: int | None = None  # None: the master, or the only process
    machine: dict[str, str] | None = None  # of the generator: what and in which version
    arrival_cv: float = 0.0  # of the tickets; 0: paced, and not said by earlier versions
    driven: bool = False  # the times are the embedded engine's own, on a clock kept with it

    @property
    def engine_seconds(self) -> bool:
        """Whether a second of the run is one of the embedded engine, not of the wall clock."""
        return self.driven or self.speed != 1

    max_retry_after_s: float = MAX_RETRY_AFTER_S  # wall; no developer stays away for longer
    quick: bool = False  # a ladder's first look, with levels of minutes: --quick
    command: str | None = None  # how the run was started, without what may be secret


@dataclass(frozen=True, slots=True)
class Ledger:
    header: Header
    records: list[TurnRecord] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)  # by index
    torn_lines: int = 0  # last lines cut short by a kill
    health: list[Health] = field(default_factory=list)  # by process, then time
    workload: Workload | None = None  # None: written by an earlier version
    ending: Ending | None = None  # None: killed, or written by an earlier version
    server: list[Reading] = field(default_factory=list)  # of its metrics pages, by time
