"""Steps: what each traffic level of a run adds up to, without its warm-up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenswarm.measure.columns import Columns
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level
from tokenswarm.measure.tally import Summary, Tally
from tokenswarm.measure.window import WARM_UP_SHARE


@dataclass(frozen=True, slots=True)
class Step:
    level: Level
    window: tuple[float, float]  # seconds since the start of the run, after the warm-up
    summary: Summary


def steps(
    ledger: Ledger, warm_up_share: float = WARM_UP_SHARE, *, tally: Tally | None = None
) -> list[Step]:
    """One step for each level, in order; a run without levels is one level from second 0.

    window = started_at + warm_up_share * length … ended_at. A level without an end (the run was
    killed) lasts until the next begins, the last one until the last turn ended.
    tally: of the ledger's records, where there is one already.
    Raises ValueError for a warm-up share outside 0 <= share < 1.
    """
    if not 0 <= warm_up_share < 1:
        raise ValueError(f"warm-up share {warm_up_share} is not at least 0 and below 1")
    tally = tally or Tally(ledger.records)
    found = []
    for level, end_s in _ended(ledger, tally.columns):
        start_s = level.started_at_s + warm_up_share * (end_s - level.started_at_s)
        found.append(Step(level, (start_s, end_s), tally.summary((start_s, end_s))))
    return found


def whole_run(ledger: Ledger, *, tally: Tally | None = None) -> Summary:
    """Every turn of the run, warm-ups and drain included."""
    tally = tally or Tally(ledger.records)
    first_s = tally.columns.scheduled_at_s.min(initial=0.0)
    return tally.summary((float(first_s), _end_s(tally.columns)))


def _ended(ledger: Ledger, columns: Columns) -> list[tuple[Level, float]]:
    levels = ledger.levels or [Level(index=0, target_tpm=None, developers=None, started_at_s=0.0)]
    begins = [level.started_at_s for level in levels[1:]]
    fallbacks = [*begins, max(_end_s(columns), levels[-1].started_at_s)]
    return [
        (level, fallback_s if level.ended_at_s is None else level.ended_at_s)
        for level, fallback_s in zip(levels, fallbacks, strict=True)
    ]


def _end_s(columns: Columns) -> float:
    """Just after the last thing that happened: a window is half open and must hold it."""
    last_s = max(at_s.max(initial=0.0) for at_s in (columns.scheduled_at_s, columns.ended_at_s))
    return math.nextafter(last_s, math.inf)
