"""Read: one ledger file, line by line, each checked against its schema."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from tokenswarm.measure.ending import Ending
from tokenswarm.measure.fingerprint import Fingerprint
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger.format import FORMAT, Header, Ledger, LedgerError, Target
from tokenswarm.measure.ledger.schema import Schema
from tokenswarm.measure.record import Level, TurnRecord
from workload.figures import LAW_SHARES, Promise, Workload

READ_BYTES = 1 << 20  # a line is 4 kB: the usual buffer holds two
GAPS = b'"chunk_gaps_s":['


def read(path: Path, *, chunk_gaps: bool = True) -> Ledger:
    """Read one file; without `chunk_gaps` they are left empty, which saves most of the memory.

    Raises LedgerError that names the file and the line, OSError where it cannot be opened.
    """
    with path.open("rb", buffering=READ_BYTES) as lines:
        contents = _Contents(first_line(path, next(lines, b"")), chunk_gaps)
        for number, line in enumerate(lines, 2):
            entry = decoded(line if chunk_gaps else _without_gaps(line))
            if entry is None:
                if next(lines, None) is None:
                    return contents.ledger(torn_lines=1)
                raise LedgerError(f"{path}:{number}: not a line of JSON")
            try:
                contents.take(entry)
            except ValueError as error:
                raise LedgerError(f"{path}:{number}: {error}") from error
    return contents.ledger(torn_lines=0)


@dataclass(slots=True)
class _Contents:
    """What the lines of one file have said so far."""

    header: Header
    chunk_gaps: bool
    records: list[TurnRecord] = field(default_factory=list)
    levels: dict[int, Level] = field(default_factory=dict)
    health: list[Health] = field(default_factory=list)
    workload: Workload | None = None
    ending: Ending | None = None

    def take(self, entry: dict[str, Any]) -> None:
        """Raises ValueError that names what is wrong with the line."""
        if "turn" in entry:
            self.records.append(turn_of(entry["turn"], self.chunk_gaps))
        elif "health" in entry:
            self.health.append(HEALTH.build(entry["health"]))
        elif "workload" in entry:
            self.workload = workload_of(entry["workload"])
        elif "end" in entry:
            self.ending = ENDINGS.build(entry["end"])
        else:
            level = LEVELS.build(entry.get("level"))
            self.levels[level.index] = level

    def ledger(self, torn_lines: int) -> Ledger:
        return Ledger(
            self.header,
            self.records,
            by_index(self.levels),
            torn_lines,
            in_order(self.health),
            self.workload,
            self.ending,
        )


TURNS = Schema(TurnRecord, "turn")
LEVELS = Schema(Level, "turn or level")
HEALTH = Schema(Health, "health")
FINGERPRINTS = Schema(Fingerprint, "fingerprint")
TARGETS = Schema(Target, "target")
HEADERS = Schema(Header, "header")
ENDINGS = Schema(Ending, "end")
PROMISES = Schema(Promise, "promise")


def decoded(line: bytes) -> dict[str, Any] | None:
    """The JSON object of a whole line; None where it is torn or broken."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None


def _without_gaps(line: bytes) -> bytes:
    """The line with an empty list of chunk gaps: they are four fifths of it. Inside a JSON string
    the key could not stand, as its quotes would be escaped."""
    start = line.find(GAPS)
    if start < 0:
        return line
    start += len(GAPS)
    end = line.find(b"]", start)
    return line if end < 0 else line[:start] + line[end:]


def first_line(path: Path, line: bytes) -> Header:
    if not line:
        raise LedgerError(f"{path}: the ledger is empty")
    stored = (decoded(line) or {}).get("header")
    if not isinstance(stored, dict) or "format" not in stored:
        raise LedgerError(f"{path}:1: not a tokenswarm ledger, its first line is no header")
    if stored["format"] != FORMAT:
        raise LedgerError(
            f"{path}:1: ledger format {stored['format']!r}, this version reads {FORMAT}"
        )
    try:
        return _header({name: value for name, value in stored.items() if name != "format"})
    except ValueError as error:
        raise LedgerError(f"{path}:1: {error}") from error


def _header(stored: dict[str, Any]) -> Header:
    return HEADERS.build(
        stored
        | {
            "fingerprint": FINGERPRINTS.build(stored.get("fingerprint")),
            "target": TARGETS.build(stored.get("target")),
        }
    )


def turn_of(turn: Any, chunk_gaps: bool) -> TurnRecord:
    if not isinstance(turn, dict):
        raise ValueError("not a turn")
    gaps_s = turn.get("chunk_gaps_s")
    if not chunk_gaps:
        turn["chunk_gaps_s"] = ()
    elif isinstance(gaps_s, list):
        if not _are_numbers(gaps_s):
            raise ValueError("turn has a chunk_gaps_s that is not a number")
        turn["chunk_gaps_s"] = tuple(gaps_s)
    return TURNS.build(turn)


def workload_of(stored: object) -> Workload:
    """Raises ValueError."""
    promises = stored.get("promises") if isinstance(stored, dict) else None
    laws = stored.get("laws") if isinstance(stored, dict) else None
    if not isinstance(promises, list) or not isinstance(laws, dict):
        raise ValueError("workload without promises and laws")
    for of, law in laws.items():
        if not isinstance(law, list) or len(law) != len(LAW_SHARES) or not _are_numbers(law):
            raise ValueError(f"workload has a law of {of} that is not {len(LAW_SHARES)} numbers")
    return Workload(
        promises=tuple(map(PROMISES.build, promises)),
        laws={of: tuple(law) for of, law in laws.items()},
    )


def _are_numbers(values: list[Any]) -> bool:
    return set(map(type, values)) <= {float, int}


def by_index(levels: dict[int, Level]) -> list[Level]:
    return [levels[index] for index in sorted(levels)]


def in_order(health: Iterable[Health]) -> list[Health]:
    return sorted(health, key=attrgetter("process", "at_s"))
