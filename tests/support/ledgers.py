"""Ledger files, small and written by the real writer."""

from __future__ import annotations

from dataclasses import replace

from tests.support.records import header, turn_record
from tokenswarm.measure.ending import Ending
from tokenswarm.measure.ledger import LedgerWriter
from tokenswarm.measure.record import Level

LEVEL = Level(index=0, target_tpm=5e5, developers=None, started_at_s=0.0)


def written(path, records=(), levels=(), health=(), **changes):
    with LedgerWriter(path, header(**changes)) as ledger:
        for level in levels:
            ledger.write_level(level)
        for sample in health:
            ledger.write_health(sample)
        for record in records:
            ledger.write(record)
    return path


def turns(count, **changes):
    return [turn_record(turn=turn, **changes) for turn in range(count)]


def as_stored(record):
    """Gaps are kept to 0.1 ms, everything else in full."""
    return replace(record, chunk_gaps_s=tuple(round(gap, 4) for gap in record.chunk_gaps_s))


ENDING = Ending(
    at_s=130.5,
    salted=True,
    workers=2,
    workers_lost=1,
    workers_unreported=0,
    engine_lateness_p99_s=0.002,
    engine_arrival_lateness_p99_s=None,
)
