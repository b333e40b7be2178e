"""Runs on disk for tests of the command line."""

from __future__ import annotations

from pathlib import Path

from tokenswarm.measure.ledger import Ledger, LedgerWriter


def stored(directory: Path, ledger: Ledger) -> Path:
    """Writes the ledger into the directory, which is then a run's."""
    directory.mkdir(parents=True, exist_ok=True)
    with LedgerWriter(directory / "ledger.jsonl", ledger.header) as writer:
        for level in ledger.levels:
            writer.write_level(level)
        for record in ledger.records:
            writer.write(record)
    return directory
