"""Read: a file or folder of recorded requests, in any format we know, to a trace.

Files are read line by line, or one session at a time where a file is one JSON document; only the
numbers of the requests stay. Names that end in .gz are unpacked on the way.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import orjson

from workload.traces import claude_code, codex, mooncake, otel, plain, recordings, weka
from workload.traces.fields import Fields
from workload.traces.gather import Gatherer
from workload.traces.prefixes import Prefixes
from workload.traces.turns import Trace, TraceError

_SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
_MAX_DOCUMENT_BYTES = 512 * 1024 * 1024  # guess: a file that is one JSON document

Lines = Iterator[tuple[str, Fields]]


class _Format(NamedTuple):
    """One that is told by its first object; `read` adds the requests of all files."""

    name: str
    matches: Callable[[Fields], bool]
    read: Callable[[Gatherer, Iterable[Lines], Prefixes], None]


_FORMATS = (
    _Format(weka.FORMAT, weka.is_weka, weka.read),
    _Format(mooncake.FORMAT, mooncake.is_mooncake, mooncake.read),
    _Format(claude_code.FORMAT, claude_code.is_claude_code, claude_code.read),
    _Format(codex.FORMAT, codex.is_codex, codex.read),
    _Format(otel.FORMAT, otel.is_spans, otel.read),
    _Format(recordings.FORMAT, recordings.is_recording, recordings.read),
    _Format(plain.FORMAT, plain.is_plain, plain.read),
)
ACCEPTED = ", ".join(known.name for known in _FORMATS)


def read_trace(path: Path) -> Trace:
    """The trace of a file, or of all files of a folder, in the order of their names.

    Raises TraceError: it names the file, the line, the value and what is accepted.
    """
    files = _begun(_files(path))
    first = next(files, None)
    if first is None:
        raise TraceError(f"{path}: nothing in it; accepted: files of {ACCEPTED}")
    format, lines = first
    gatherer = Gatherer(path.name, format.name)
    format.read(gatherer, chain([lines], _of_one_format(format, files)), Prefixes())
    return gatherer.trace()


def _begun(files: Iterable[Path]) -> Iterator[tuple[_Format, Lines]]:
    """Each file that holds something: its format, and its objects with their places."""
    for file in files:
        lines = _objects(file)
        first = next(lines, None)
        if first is not None:
            yield _format(*first), chain([first], lines)


def _of_one_format(format: _Format, files: Iterable[tuple[_Format, Lines]]) -> Iterator[Lines]:
    for other, lines in files:
        if other is not format:
            where, _ = next(lines)
            raise TraceError(
                f"{where}: of format {other.name}, others of the folder are {format.name}; "
                "accepted: one format"
            )
        yield lines


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
