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
finished turn; the line it died in is dropped by the reader and counted.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from operator import attrgetter
from pathlib import Path
from types import TracebackType, UnionType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import orjson

from tokenswarm.measure.ending import Ending
from tokenswarm.measure.fingerprint import Fingerprint
from tokenswarm.measure.health import Health
from tokenswarm.measure.record import Level, TurnRecord
from workload.figures import LAW_SHARES, Promise, Workload

FORMAT = 1
GAP_DECIMALS = 4  # 0.1 ms
READ_BYTES = 1 << 20  # a line is 4 kB: the usual buffer holds two
GAPS = b'"chunk_gaps_s":['
TURN_FIELDS = tuple(field.name for field in fields(TurnRecord))
T = TypeVar("T")


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


class LedgerWriter:
    """Appends to a new file. Raises FileExistsError: a ledger is never overwritten."""

    def __init__(self, path: Path, header: Header) -> None:
        self._file = path.open("xb")
        self._append({"header": {"format": FORMAT, **asdict(header)}})

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, record: TurnRecord) -> None:
        turn = {name: getattr(record, name) for name in TURN_FIELDS}
        turn["chunk_gaps_s"] = [round(gap_s, GAP_DECIMALS) for gap_s in record.chunk_gaps_s]
        # A server's text may hold half a surrogate pair, which is not JSON.
        turn["detail"] = record.detail.encode("utf-8", "replace").decode()
        self._append({"turn": turn})

    def write_level(self, level: Level) -> None:
        self._append({"level": asdict(level)})

    def write_health(self, health: Health) -> None:
        self._append({"health": asdict(health)})

    def write_workload(self, workload: Workload) -> None:
        self._append({"workload": asdict(workload)})

    def write_ending(self, ending: Ending) -> None:
        self._append({"end": asdict(ending)})

    def close(self) -> None:
        self._file.close()

    def _append(self, line: dict[str, Any]) -> None:
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._file.flush()


def read(path: Path, *, chunk_gaps: bool = True) -> Ledger:
    """Read one file; without `chunk_gaps` they are left empty, which saves most of the memory.

    Raises LedgerError that names the file and the line, OSError where it cannot be opened.
    """
    with path.open("rb", buffering=READ_BYTES) as lines:
        contents = _Contents(_read_header(path, next(lines, b"")), chunk_gaps)
        for number, line in enumerate(lines, 2):
            entry = _decode(line if chunk_gaps else _without_gaps(line))
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
            self.records.append(_turn(entry["turn"], self.chunk_gaps))
        elif "health" in entry:
            self.health.append(HEALTH.build(entry["health"]))
        elif "workload" in entry:
            self.workload = _workload(entry["workload"])
        elif "end" in entry:
            self.ending = ENDINGS.build(entry["end"])
        else:
            level = LEVELS.build(entry.get("level"))
            self.levels[level.index] = level

    def ledger(self, torn_lines: int) -> Ledger:
        return Ledger(
            self.header,
            self.records,
            _by_index(self.levels),
            torn_lines,
            _in_order(self.health),
            self.workload,
            self.ending,
        )


def read_run(directory: Path, *, chunk_gaps: bool = True) -> Ledger:
    """Merge every *.jsonl of a run: the master's ledger.jsonl and its workers' worker-N.jsonl.

    A turn in two files counts once. Each file's times are moved to the master's second 0 by the
    difference of their `started_at`. Raises LedgerError where there is no ledger, where the files
    are not of one run, or where one turn stands in them with two different contents.
    """
    paths = sorted(directory.glob("*.jsonl"))
    if not paths:
        raise LedgerError(f"{directory}: no ledger (*.jsonl) in this directory")
    ledgers = [(path, read(path, chunk_gaps=chunk_gaps)) for path in paths]
    ledgers.sort(key=lambda entry: _worker_order(entry[1].header))
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
        _by_index(levels),
        torn_lines,
        _in_order(health),
        next((ledger.workload for _, ledger in ledgers if ledger.workload), None),
        next((ledger.ending for _, ledger in ledgers if ledger.ending), None),
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
            headers.append(_read_header(ledger, next(lines, b"")))
    return min(headers, key=_worker_order)


def open_run(path: Path) -> Ledger:
    """A run by its directory or one ledger file, without chunk gaps; as `read_run` and `read`."""
    collects = gc.isenabled()
    gc.disable()  # a million records, none of them garbage: looking for some takes as long again
    try:
        if path.is_file():
            return read(path, chunk_gaps=False)
        return read_run(path, chunk_gaps=False)
    finally:
        if collects:
            gc.enable()


class Schema(Generic[T]):
    """Builds dataclasses from JSON objects and checks their types.

    A ledger has a million lines but a handful of type combinations, so only a combination not
    seen before is checked field by field. The kinds are frozen: their own __init__ sets each field
    by object.__setattr__, which took a third of all reading, so their slots are set directly.
    """

    def __init__(self, kind: type[T], name: str) -> None:
        self._kind = kind
        self._name = name
        hints = get_type_hints(kind)
        stored = fields(kind)  # type: ignore[arg-type]
        self._accepted = {field.name: _json_types(hints[field.name]) for field in stored}
        self._required = {field.name for field in stored if field.default is MISSING}
        self._put = {field.name: getattr(kind, field.name).__set__ for field in stored}
        self._defaults = {f.name: f.default for f in stored if f.default is not MISSING}
        self._post_init = getattr(kind, "__post_init__", None)
        self._seen: set[tuple[object, ...]] = set()

    def build(self, entry: object) -> T:
        """Raises ValueError that names the field."""
        if not isinstance(entry, dict):
            raise ValueError(f"not a {self._name}")
        combination = (*entry, *map(type, entry.values()))
        if combination not in self._seen:
            self._check(entry)
            self._seen.add(combination)
        built = object.__new__(self._kind)
        for name, value in entry.items():
            self._put[name](built, value)
        for name in self._defaults.keys() - entry.keys():
            self._put[name](built, self._defaults[name])
        if self._post_init is not None:
            self._post_init(built)
        return built

    def _check(self, entry: dict[str, object]) -> None:
        if missing := sorted(self._required - entry.keys()):
            raise ValueError(f"{self._name} without {', '.join(missing)}")
        if unknown := sorted(entry.keys() - self._accepted.keys()):
            raise ValueError(f"{self._name} with unknown {', '.join(unknown)}")
        for name, value in entry.items():
            if type(value) not in self._accepted[name]:
                raise ValueError(f"{self._name} has {name} {value!r}")


def _json_types(hint: Any) -> frozenset[type]:
    if isinstance(hint, UnionType):
        return frozenset().union(*(_json_types(option) for option in get_args(hint)))
    if hint is float:
        return frozenset({float, int})
    return frozenset({get_origin(hint) or hint})


TURNS = Schema(TurnRecord, "turn")
LEVELS = Schema(Level, "turn or level")
HEALTH = Schema(Health, "health")
FINGERPRINTS = Schema(Fingerprint, "fingerprint")
TARGETS = Schema(Target, "target")
HEADERS = Schema(Header, "header")
ENDINGS = Schema(Ending, "end")
PROMISES = Schema(Promise, "promise")


def _decode(line: bytes) -> dict[str, Any] | None:
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


def _read_header(path: Path, line: bytes) -> Header:
    if not line:
        raise LedgerError(f"{path}: the ledger is empty")
    stored = (_decode(line) or {}).get("header")
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


def _turn(turn: Any, chunk_gaps: bool) -> TurnRecord:
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


def _workload(stored: object) -> Workload:
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


def _by_index(levels: dict[int, Level]) -> list[Level]:
    return [levels[index] for index in sorted(levels)]


def _in_order(health: Iterable[Health]) -> list[Health]:
    return sorted(health, key=attrgetter("process", "at_s"))


def _worker_order(header: Header) -> int:
    """The master first: its clock is the run's, its copy of a turn wins."""
    return -1 if header.worker is None else header.worker


def _require_one_run(first_path: Path, first: Header, path: Path, header: Header) -> None:
    differences = first.fingerprint.differences(header.fingerprint)
    if first.run != header.run:
        differences.append(f"run: {first.run} against {header.run}")
    if first.speed != header.speed:
        differences.append(f"speed: {first.speed:g} against {header.speed:g}")
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
