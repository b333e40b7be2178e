"""Series: readings of servers' metrics pages, kept beside the ledger, and what they grew by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import orjson

# Not *.jsonl: those of a run's folder are ledgers.
SERIES_FILE = "server.ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look at one page. engine None: nothing was read, `problem` says why. values: counters by
    measure.books.QUANTITIES."""

    url: str
    at_s: float  # of the run's clock, when the answer was there
    engine: str | None
    values: dict[str, float | None]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Growth:
    """Of all pages together. values: by quantity, None where a page lacks it; resets: times that a
    page's counters fell, as they do when a server restarts; gap: why pages and traffic do not
    cover the same time, empty where they do."""

    values: dict[str, float | None]
    engines: tuple[str, ...]
    resets: int
    gap: str


class SeriesWriter:
    """Appends readings to a new file, a JSON line each. Raises FileExistsError."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / SERIES_FILE).open("xb")

    def write(self, reading: Reading) -> None:
        self._file.write(orjson.dumps(asdict(reading)) + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_series(folder: Path) -> list[Reading]:
    """The readings of a run, none where no page was asked. A last line cut short is left out.
    Raises ValueError that names file, line and field."""
    path = folder / SERIES_FILE
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_reading(path, number, line) for number, line in enumerate(lines, 1)]


def _reading(path: Path, number: int, line: bytes) -> Reading:
    try:
        return msgspec.json.decode(line, type=Reading)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path}:{number}: {error}") from error


def growth(readings: Sequence[Reading], from_s: float, to_s: float) -> Growth:
    """What the counters of all pages grew by, between a reading at from_s or before and one at to_s
    or later. After a reset a counter's whole value is growth, as in Prometheus' increase()."""
    by_url: dict[str, list[Reading]] = {}
    for reading in readings:
        by_url.setdefault(reading.url, []).append(reading)
    values: dict[str, float | None] = {}
    resets, engines = 0, set()
    gaps: list[str] = []
    for url, series in by_url.items():
        good = [reading for reading in series if reading.engine is not None]
        gaps += _gaps(url, series, good, from_s, to_s)
        engines |= {reading.engine for reading in good if reading.engine is not None}
        resets += sum(_fell(one, next_) for one, next_ in zip(good, good[1:], strict=False))
        quantities = {quantity for reading in good for quantity in reading.values}
        for quantity in quantities:
            grown = _increase([reading.values.get(quantity) for reading in good])
            before = values.get(quantity, 0.0)
            values[quantity] = None if grown is None or before is None else before + grown
    return Growth(values, tuple(sorted(engines)), resets, "; ".join(gaps))


def _gaps(
    url: str, series: Sequence[Reading], good: Sequence[Reading], from_s: float, to_s: float
) -> Iterable[str]:
    if not good:
        yield f"{url}: {series[-1].problem}"
    elif good[0].at_s > from_s:
        yield f"{url} was first read at {good[0].at_s:.0f} s, after the first turn was sent"
    elif good[-1].at_s < to_s:
        yield f"{url} was last read at {good[-1].at_s:.0f} s, before the last turn had ended"


def _fell(one: Reading, following: Reading) -> bool:
    pairs = ((value, following.values.get(quantity)) for quantity, value in one.values.items())
    return any(a is not None and b is not None and b < a for a, b in pairs)


def _increase(values: Sequence[float | None]) -> float | None:
    """Counters may show up with their first event: absent before, they were 0. None where the page
    never had one, or had lost it at the end."""
    if not values or values[-1] is None:
        return None
    known = [value or 0.0 for value in values]
    steps = zip(known, known[1:], strict=False)
    return sum(later - earlier if later >= earlier else later for earlier, later in steps)
