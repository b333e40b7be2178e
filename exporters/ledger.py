"""Every turn, level and interval of health of this process into a ledger file, at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exporters.turns import TurnFeed
from tokenswarm.measure.ledger import Header, LedgerWriter


def install(
    feed: TurnFeed, folder: Path, header: Header, on_trouble: Callable[[OSError], None]
) -> LedgerWriter:
    """Opens `ledger.jsonl` (a worker: `worker-N.jsonl`) in the run's folder and writes what the
    feed brings. A worker's own file holds what a killed master never got, and the other way round;
    `measure.ledger.read_run` unites them. on_trouble: told once, when the disk takes no more."""
    name = "ledger" if header.worker is None else f"worker-{header.worker}"
    writer = LedgerWriter(folder / f"{name}.jsonl", header, on_trouble)
    feed.subscribe(writer.write, writer.write_level, writer.write_health)
    return writer
