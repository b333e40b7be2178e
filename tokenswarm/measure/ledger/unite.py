"""Unite: the ledgers that the processes of one run wrote, as one."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tokenswarm.measure.books.series import read_series
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger.format import Header, Ledger, LedgerError
from tokenswarm.measure.ledger.read import by_index, first_line, in_order, read
from tokenswarm.measure.record import Level, TurnRecord


def read_run(directory: Path, *, chunk_gaps: bool = True) -> Ledger:
    """Merge every *.jsonl of a run: the master's ledger.jsonl and its workers' worker-N.jsonl; with
    the readings of the server's metrics pages that lie beside them.

    A turn in two files counts once. Each file's times are moved to the master's second 0 by the
    difference of their `started_at`. Raises LedgerError where there is no ledger, where the files
    are not of one run, or where one turn stands in them with two different contents.
    """
    paths = sorted(directory.glob("*.jsonl"))
    if not paths:
        raise LedgerError(f"{directory}: no ledger (*.jsonl) in this directory")
    ledgers = [(path, read(path, chunk_gaps=chunk_gaps)) for path in paths]
    ledgers.sort(key=lambda entry: worker_order(entry[1].header))
    first_path, first = ledgers[0]
    records: dict[tuple[str, int], TurnRecord] = {}
    levels: dict[int, Level] = {}
    health: set[Health] = set()
    for path, ledger in ledgers:
        _require_one_run(first_path, first.header, path, ledger.header)
        wall_s = ledger.header.started_at - first.header.started_at
        ledger = moved(ledger, wall_s * ledger.header.speed)
        _unite_turns(records, ledger.records, path)
        _unite_levels(levels, ledger.levels)
        health.update(ledger.health)
    torn_lines = sum(ledger.torn_lines for _, ledger in ledgers)
    return Ledger(
        first.header,
        list(records.values()),
        by_index(levels),
        torn_lines,
        in_order(health),
        next((ledger.workload for _, ledger in ledgers if ledger.workload), None),
        next((ledger.ending for _, ledger in ledgers if ledger.ending), None),
        read_series(directory),
    )


def read_header(path: Path) -> Header:
    """The header of a run, by its directory (the master's) or one ledger file, and no more of it.

    Raises LedgerError, OSError.
    """
    paths = [path] if path.is_file() else sorted(path.glob("*.jsonl"))
    if not paths:
        raise LedgerError(f"{path}: no ledger (*.jsonl) in this directory")
    headers = []
    for ledger in paths:
        with ledger.open("rb") as lines:
            headers.append(first_line(ledger, next(lines, b"")))
    return min(headers, key=worker_order)


def open_run(path: Path) -> Ledger:
    """A run by its directory or one ledger file, without chunk gaps; as `read_run` and `read`."""
    collects = gc.isenabled()
    gc.disable()  # a million records, none of them garbage: looking for some takes as long again
    try:
        if path.is_file():
            return _once_each(read(path, chunk_gaps=False), path)
        return read_run(path, chunk_gaps=False)
    finally:
        if collects:
            gc.enable()


def _once_each(ledger: Ledger, path: Path) -> Ledger:
    """A turn that stands in one file twice counts once."""
    records: dict[tuple[str, int], TurnRecord] = {}
    _unite_turns(records, ledger.records, path)
    return replace(ledger, records=list(records.values()))


def worker_order(header: Header) -> int:
    """The master first: its clock is the run's, its copy of a turn wins."""
    return -1 if header.worker is None else header.worker


def _require_one_run(first_path: Path, first: Header, path: Path, header: Header) -> None:
    differences = first.fingerprint.differences(header.fingerprint)
    if first.run != header.run:
        differences.append(f"run: {first.run} against {header.run}")
    if first.speed != header.speed:
        differences.append(f"speed: {first.speed:g} against {header.speed:g}")
    if first.target != header.target:
        differences.append(f"target: {first.target} against {header.target}")
    if differences:
        raise LedgerError(f"{path} is not of the run of {first_path}: {'; '.join(differences)}")


def moved(ledger: Ledger, shift_s: float) -> Ledger:
    """The ledger with second 0 moved back by shift_s: everything in it happened so much later."""
    if not shift_s:
        return ledger
    return replace(
        ledger,
        records=[_shifted(record, shift_s) for record in ledger.records],
        levels=[_shifted(level, shift_s) for level in ledger.levels],
        health=[_shifted(health, shift_s) for health in ledger.health],
    )


def _shifted(timed: Any, shift_s: float) -> Any:
    stamps = {name: getattr(timed, name) for name in _stamps(type(timed))}
    return replace(
        timed, **{name: at_s + shift_s for name, at_s in stamps.items() if at_s is not None}
    )


def _stamps(kind: type) -> Iterable[str]:
    return (field.name for field in fields(kind) if field.name.endswith("_at_s"))


def _unite_turns(
    united: dict[tuple[str, int], TurnRecord], records: Sequence[TurnRecord], path: Path
) -> None:
    for record in records:
        known = united.setdefault((record.session, record.turn), record)
        if known is not record and _content(known) != _content(record):
            raise LedgerError(
                f"{path}: turn {record.turn} of session {record.session} stands in this run twice "
                "with different contents: session names must be unique in a run"
            )


def _content(record: TurnRecord) -> tuple[object, ...]:
    """What two copies of one turn agree on whatever clock they were written by."""
    return record.kind, record.planned_prompt_tokens, record.output_tokens, record.outcome


def _unite_levels(united: dict[int, Level], levels: Sequence[Level]) -> None:
    """A copy with an end beats one without; otherwise the first, the master's, stays."""
    for level in levels:
        known = united.get(level.index)
        if known is None or (known.ended_at_s is None and level.ended_at_s is not None):
            united[level.index] = level
