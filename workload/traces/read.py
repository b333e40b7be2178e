"""Read: a file or folder of recorded requests, in any format we know, to a trace.

Files are read line by line, or one session at a time where a file is one JSON document; only the
numbers of the requests stay. Names that end in .gz are unpacked on the way.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from workload.traces import plain, weka
from workload.traces.fields import Fields
from workload.traces.gather import Gatherer
from workload.traces.prefixes import Prefixes
from workload.traces.turns import Trace, TraceError

_SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
_MAX_DOCUMENT_BYTES = 512 * 1024 * 1024  # guess: a file that is one JSON document

Lines = Iterable[tuple[str, Fields]]


class _Format(NamedTuple):
    """One that is told by its first object; `read` adds the requests of a file."""

    name: str
    matches: Callable[[Fields], bool]
    read: Callable[[Gatherer, Lines, Prefixes], None]


_FORMATS = (
    _Format(weka.FORMAT, weka.is_weka, weka.read),
    _Format(plain.FORMAT, plain.is_plain, plain.read),
)
ACCEPTED = ", ".join(known.name for known in _FORMATS)


def read_trace(path: Path) -> Trace:
    """The trace of a file, or of all files of a folder, in the order of their names.

    Raises TraceError: it names the file, the line, the value and what is accepted.
    """
    files = _files(path)
    everyone = Prefixes()
    first_format: _Format | None = None
    gatherer: Gatherer | None = None
    for file in files:
        lines = _objects(file)
        first = next(lines, None)
        if first is None:
            continue
        format = _format(*first)
        if first_format is None or gatherer is None:
            first_format, gatherer = format, Gatherer(path.name, format.name)
        elif format is not first_format:
            raise TraceError(
                f"{first[0]}: of format {format.name}, others of the folder are "
                f"{first_format.name}; accepted: one format"
            )
        format.read(gatherer, _chained(first, lines), everyone)
    if gatherer is None:
        raise TraceError(f"{path}: nothing in it; accepted: files of {ACCEPTED}")
    return gatherer.trace()


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise TraceError(f"{path}: not there; accepted: a file or folder of {ACCEPTED}")
    files = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES))
    if not files:
        raise TraceError(f"{path}: no file; accepted: names in {' '.join(_SUFFIXES)}")
    return files


def _format(where: str, first: Fields) -> _Format:
    for format in _FORMATS:
        if format.matches(first):
            return format
    keys = ", ".join(sorted(map(str, first))[:8])
    raise TraceError(f"{where}: an object with {keys}; accepted: {ACCEPTED}")


def _chained(
    first: tuple[str, Fields], rest: Iterator[tuple[str, Fields]]
) -> Iterator[tuple[str, Fields]]:
    yield first
    yield from rest


def _objects(file: Path) -> Iterator[tuple[str, Fields]]:
    """The JSON objects of a file with their places: one a line, or a single one."""
    try:
        with _opened(file) as lines:
            for n, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                value = _json(line)
                if value is None and n == 1:
                    yield file.name, _document(file, line + lines.read(_MAX_DOCUMENT_BYTES))
                    return
                if not isinstance(value, dict):
                    raise TraceError(f"{file.name}:{n}: {_shown(line)}; accepted: a JSON object")
                yield f"{file.name}:{n}", value
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(f"{file}: {error}; accepted: a file that can be read") from None


def _opened(file: Path) -> gzip.GzipFile:
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def _document(file: Path, text: bytes) -> Fields:
    if len(text) >= _MAX_DOCUMENT_BYTES:
        raise TraceError(
            f"{file.name}: one JSON document above {_MAX_DOCUMENT_BYTES >> 20} MB; accepted: one "
            "object a line, or smaller files"
        )
    value = _json(text)
    if not isinstance(value, dict):
        raise TraceError(f"{file.name}: {_shown(text)}; accepted: JSON, one object a line or one")
    return value


def _json(text: bytes) -> object:
    """None where it is no JSON."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _shown(text: bytes) -> str:
    return repr(text[:40].decode(errors="replace"))
