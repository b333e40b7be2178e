"""Read: one ledger file, line by line, each checked against its schema."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from tokenswarm.measure.ending import Ending
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger.format import FORMAT, Header, Ledger, LedgerError
from tokenswarm.measure.record import Level, TurnRecord
from workload.figures import LAW_SHARES, Workload

READ_BYTES = 1 << 20  # a line is 4 kB: the usual buffer holds two
GAPS = b'"chunk_gaps_s":['


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Any line but the first: one of these is there."""

    turn: TurnRecord | None = None
    level: Level | None = None
    health: Health | None = None
    workload: Workload | None = None
    end: Ending | None = None


_decode = msgspec.json.Decoder(_Line).decode


def read(path: Path, *, chunk_gaps: bool = True) -> Ledger:
    """Read one file; without `chunk_gaps` they are left empty, which saves most of the memory.

    Raises LedgerError that names the file, the line and the field, OSError where it cannot be
    opened.
    """
    with path.open("rb", buffering=READ_BYTES) as lines:
        contents = _Contents(first_line(path, next(lines, b"")), chunk_gaps)
        for number, line in enumerate(lines, 2):
            try:
                contents.take(line if chunk_gaps else _without_gaps(line))
            except msgspec.ValidationError as error:
                raise LedgerError(f"{path}:{number}: {error}") from error
            except msgspec.DecodeError as error:
                if next(lines, None) is None:
                    return contents.ledger(torn_lines=1)
                raise LedgerError(f"{path}:{number}: not a line of JSON: {error}") from error
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

    def take(self, text: bytes) -> None:
        """Raises msgspec.ValidationError that names the field, DecodeError for no line of JSON."""
        if not text.endswith(b"\n"):
            raise msgspec.DecodeError("its end is missing")
        line = _decode(text)
        if line.turn is not None:
            self.records.append(line.turn if self.chunk_gaps else _gapless(line.turn))
        elif line.health is not None:
            self.health.append(line.health)
        elif line.level is not None:
            self.levels[line.level.index] = line.level
        elif line.workload is not None:
            self.workload = _whole(line.workload)
        elif line.end is not None:
            self.ending = line.end
        else:
            raise msgspec.ValidationError("a line without turn, level, health, workload or end")

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


def _without_gaps(line: bytes) -> bytes:
    """The line with an empty list of chunk gaps: they are four fifths of it. Inside a JSON string
    the key could not stand, as its quotes would be escaped."""
    start = line.find(GAPS)
    if start < 0:
        return line
    start += len(GAPS)
    end = line.find(b"]", start)
    return line if end < 0 else line[:start] + line[end:]


def _gapless(turn: TurnRecord) -> TurnRecord:
    """Where somebody else wrote the line, with spaces."""
    return replace(turn, chunk_gaps_s=()) if turn.chunk_gaps_s else turn


def _whole(workload: Workload) -> Workload:
    for of, law in workload.laws.items():
        if len(law) != len(LAW_SHARES):
            raise msgspec.ValidationError(
                f"the law of {of} has {len(law)} numbers, not {len(LAW_SHARES)}"
            )
    return workload


def first_line(path: Path, line: bytes) -> Header:
    if not line:
        raise LedgerError(f"{path}: the ledger is empty")
    stored = _header_of(line)
    if stored is None:
        raise LedgerError(f"{path}:1: not a tokenswarm ledger, its first line is no header")
    if stored["format"] != FORMAT:
        raise LedgerError(
            f"{path}:1: ledger format {stored['format']!r}, this version reads {FORMAT}"
        )
    try:
        return msgspec.convert(stored, Header)
    except msgspec.ValidationError as error:
        raise LedgerError(f"{path}:1: {error}") from error


def _header_of(line: bytes) -> dict[str, Any] | None:
    """None where the line is torn, or no header."""
    if not line.endswith(b"\n"):
        return None
    try:
        header = msgspec.json.decode(line, type=dict[str, Any]).get("header")
    except msgspec.DecodeError:
        return None
    return header if isinstance(header, dict) and "format" in header else None


def by_index(levels: dict[int, Level]) -> list[Level]:
    return [levels[index] for index in sorted(levels)]


def in_order(health: Iterable[Health]) -> list[Health]:
    return sorted(health, key=attrgetter("process", "at_s"))
