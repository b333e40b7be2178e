"""Corpus: the text of all prompts, JSON-escaped and counted before any traffic.

Text is cut into *units*: a line with the blank lines after it. Every tiktoken-style tokenizer
splits at the end of such a unit, so the tokens of any run of units are the sum of theirs
(`tests/workload/test_corpus.py` holds it to that), and a prompt of a wanted size is a matter of
adding numbers. All units of one kind lie end to end on a *tape*, already escaped for JSON: a piece
of a prompt is a `memoryview` into it, shared by every session that shows the same text.

Built once per (files, tokenizer) and kept on disk, so that a later run reads arrays only.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from platformdirs import user_cache_path

from workload.documents import KINDS, Document, SourceFile, documents
from workload.tokens import Tokenizer, count_call
from workload.tools import tool_schemas
from workload.whole_file import replacing

# Raise it when documents, units or the stored form change: old caches are then left alone.
CACHE_FORMAT = 4
# Enough text that a 200k-token session need not repeat itself (tapes hold about 2.5M tokens).
MAX_SOURCE_CHARS = 3_000_000
_MAX_FILE_CHARS = 120_000
_MAX_LINE_CHARS = 400
# Files that hold text a coding agent reads.
_SUFFIXES = (
    *(".py", ".pyi", ".js", ".jsx", ".ts", ".tsx", ".go", ".rs", ".java", ".kt", ".c", ".h"),
    *(".cc", ".cpp", ".hpp", ".cs", ".rb", ".php", ".swift", ".scala", ".sh", ".sql"),
    *(".md", ".rst", ".toml", ".yaml", ".yml", ".proto"),
)
# Copies, tests of the interpreter and other people's code: little variety for their size.
_SKIPPED_FOLDERS = (
    *("test", "tests", "idle_test", "site-packages", "__pycache__"),
    *("node_modules", "lib2to3", "pydoc_data", "vendor"),
)
_SALT_GROUPS = 5


class CorpusError(ValueError):
    """A corpus that cannot be used: the message names option, value and what is accepted."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One pre-counted tool call. arguments: a JSON object; escaped: its text within a string."""

    name: str
    arguments: bytes
    escaped: bytes
    tokens: int


@dataclass(frozen=True, slots=True)
class Tape:
    """All units of one kind, end to end.

    text: JSON-escaped UTF-8; byte_ends, token_ends: cumulative ends per unit, shape (n_units + 1,)
    with a leading 0; document_starts: first unit of each document; calls: one per document.
    """

    text: memoryview
    byte_ends: NDArray[np.int64]
    token_ends: NDArray[np.int64]
    document_starts: NDArray[np.int64]
    calls: tuple[ToolCall, ...]

    @property
    def n_units(self) -> int:
        return len(self.byte_ends) - 1

    @property
    def tokens(self) -> int:
        return int(self.token_ends[-1])

    def unit(self, n: int) -> tuple[list[memoryview], int]:
        """The n-th unit, as `take` would return it."""
        text = self.text[int(self.byte_ends[n]) : int(self.byte_ends[n + 1])]
        return [text], int(self.token_ends[n + 1] - self.token_ends[n])

    def take(self, start: int, tokens: int) -> tuple[list[memoryview], int]:
        """Units from `start` on, as close to `tokens` as whole units allow, going on at the
        beginning when the tape ends. Returns (pieces, tokens taken)."""
        pieces: list[memoryview] = []
        taken = 0
        while taken < tokens:
            wanted = int(self.token_ends[start]) + tokens - taken
            end = int(np.searchsorted(self.token_ends, wanted))
            if end > self.n_units:
                end = self.n_units
            elif end > start and self._is_nearer(end - 1, wanted, than=end):
                end -= 1
            if end <= start:
                break  # half a unit or less is wanted
            pieces.append(self.text[int(self.byte_ends[start]) : int(self.byte_ends[end])])
            taken += int(self.token_ends[end] - self.token_ends[start])
            if end < self.n_units:
                break
            start = 0
        return pieces, taken

    def _is_nearer(self, unit: int, wanted: int, than: int) -> bool:
        return wanted - int(self.token_ends[unit]) <= int(self.token_ends[than]) - wanted


@dataclass(frozen=True, slots=True)
class Corpus:
    """Counted text for one tokenizer.

    hash: of the files' names and contents; tapes: by kind; tools: (schema as JSON, tokens);
    salt_tokens: what every `salt_line` costs.
    """

    hash: str
    tokenizer: str
    tapes: dict[str, Tape]
    tools: tuple[tuple[bytes, int], ...]
    salt_tokens: int


def units(lines: Iterable[str]) -> Iterator[str]:
    """Lines to units: a line that is not blank, with its newline and the blank lines after it.

    A line that begins with `/` joins a line that ends in punctuation: tekken and o200k let
    punctuation run over newlines into a slash, so a cut there would change the count. Lines that
    would join the one before are left out where there is none.
    """
    unit = ""
    for line in lines:
        if _runs_on(unit, line):
            unit += line + "\n" if unit else ""
        else:
            if unit:
                yield unit
            unit = line + "\n"
    if unit:
        yield unit


def _runs_on(unit: str, line: str) -> bool:
    blank = not line or line.isspace()
    return blank or (line[0] == "/" and not unit.rstrip()[-1:].isalnum())


def escape(text: str) -> bytes:
    """The inside of a JSON string."""
    return orjson.dumps(text)[1:-1]


def salt_line(seed: str) -> str:
    """One line that no other (run, session) has, with a token count that does not depend on it:
    three-digit groups are one token each, or three, in every vocabulary we know."""
    number = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big")
    groups = []
    for _ in range(_SALT_GROUPS):
        number, group = divmod(number, 1000)
        groups.append(f"{group:03d}")
    return f"Workspace {'-'.join(groups)}\n"


def source_files(root: Path | None = None, max_chars: int = MAX_SOURCE_CHARS) -> list[SourceFile]:
    """Text files below `root` (None: this Python's standard library), in sorted order, until
    `max_chars` is reached. Raises CorpusError when there is too little text to use."""
    base = Path(sysconfig.get_paths()["stdlib"]) if root is None else root
    if not base.is_dir():
        raise CorpusError(
            f"--corpus {str(root)!r}: not a folder; accepted: a folder of source files"
        )
    files: list[SourceFile] = []
    chars = 0
    for path in _walk(base):
        lines = _lines(path)
        if not lines:
            continue
        files.append(SourceFile(path.relative_to(base).as_posix(), lines))
        chars += sum(map(len, lines))
        if chars >= max_chars:
            break
    if chars < 50_000:
        raise CorpusError(
            f"--corpus {str(base)!r}: {chars} characters of source found; accepted: a folder with "
            "at least 50,000, in files such as .py .ts .go .rs .java .c .md"
        )
    return files


def _walk(base: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(base):
        subfolders[:] = sorted(
            s for s in subfolders if s not in _SKIPPED_FOLDERS and not s.startswith(".")
        )
        for name in sorted(names):
            if Path(name).suffix in _SUFFIXES:
                yield Path(folder, name)


def _lines(path: Path) -> tuple[str, ...]:
    """The file's lines, right-trimmed; empty when it is not plain text or too large."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ()
    if len(text) > _MAX_FILE_CHARS or "\0" in text:
        return ()
    lines = [line.rstrip()[:_MAX_LINE_CHARS] for line in text.split("\n")]
    return tuple(line if line.isprintable() else _printable(line) for line in lines)


def _printable(line: str) -> str:
    return "".join(c for c in line.expandtabs(4) if c.isprintable()).rstrip()


def corpus_hash(files: Sequence[SourceFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{len(file.lines)}\0".encode())
        digest.update("\n".join(file.lines).encode())
    return digest.hexdigest()[:16]


def build(files: Sequence[SourceFile], tokenizer: Tokenizer) -> Corpus:
    """Renders, cuts and counts everything. Seconds of work: `load` keeps the result on disk."""
    by_kind: dict[str, list[Document]] = {kind: [] for kind in KINDS}
    for document in documents(files):
        by_kind[document.kind].append(document)
    schemas = [orjson.dumps(schema) for schema in tool_schemas(files)]
    return Corpus(
        hash=corpus_hash(files),
        tokenizer=tokenizer.name,
        # Without Python there are no docstrings, without functions no test runs: source stands in.
        tapes={kind: _tape(by_kind[kind] or by_kind["source"], tokenizer) for kind in KINDS},
        tools=tuple(zip(schemas, tokenizer.count_many([s.decode() for s in schemas]), strict=True)),
        salt_tokens=tokenizer.count(salt_line("")),
    )


def _tape(found: Sequence[Document], tokenizer: Tokenizer) -> Tape:
    starts: list[int] = []
    texts: list[str] = []
    calls: list[ToolCall] = []
    for document in found:
        cut = list(units(document.lines))
        if not cut:
            continue
        starts.append(len(texts))
        texts.extend(cut)
        calls.append(
            _tool_call(
                document.call_name,
                document.call_arguments,
                count_call(tokenizer, document.call_name, document.call_arguments),
            )
        )
    escaped = [escape(text) for text in texts]
    return Tape(
        text=memoryview(b"".join(escaped)),
        byte_ends=_ends([len(piece) for piece in escaped]),
        token_ends=_ends(tokenizer.count_many(texts)),
        document_starts=np.array(starts, dtype=np.int64),
        calls=tuple(calls),
    )


def _tool_call(name: str, arguments: str, tokens: int) -> ToolCall:
    return ToolCall(name, arguments.encode(), escape(arguments), tokens)


def _ends(sizes: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


def cache_folder() -> Path:
    """Where corpora are kept: $TOKENSWARM_CACHE, else the user's cache folder."""
    if own := os.environ.get("TOKENSWARM_CACHE"):
        return Path(own)
    return user_cache_path("tokenswarm", appauthor=False)


def load(
    tokenizer_name: str,
    tokenizer: Callable[[], Tokenizer],
    root: Path | None = None,
    *,
    cache: Path | None = None,
) -> Corpus:
    """The corpus of `root` counted with a tokenizer, from disk when it was built before.

    `tokenizer` is called only when something must be counted: a warm start loads none.
    """
    files = source_files(root)
    folder = cache_folder() if cache is None else cache
    key = f"{CACHE_FORMAT}\0{corpus_hash(files)}\0{tokenizer_name}"
    path = folder / f"corpus-{hashlib.sha256(key.encode()).hexdigest()[:20]}.npz"
    corpus = _read_npz(path)
    if corpus is None:
        corpus = build(files, tokenizer())
        _write_npz(corpus, path)
    return corpus


def _write_npz(corpus: Corpus, path: Path) -> None:
    """Whole or not at all: workers of one machine build side by side and the last rename wins."""
    arrays: dict[str, NDArray[np.int64] | NDArray[np.uint8]] = {}
    calls: dict[str, list[tuple[str, str, int]]] = {}
    for kind, tape in corpus.tapes.items():
        arrays[f"{kind}.text"] = np.frombuffer(tape.text, dtype=np.uint8)
        arrays[f"{kind}.byte_ends"] = tape.byte_ends
        arrays[f"{kind}.token_ends"] = tape.token_ends
        arrays[f"{kind}.document_starts"] = tape.document_starts
        calls[kind] = [(c.name, c.arguments.decode(), c.tokens) for c in tape.calls]
    front = {
        "hash": corpus.hash,
        "tokenizer": corpus.tokenizer,
        "calls": calls,
        "tools": [(schema.decode(), tokens) for schema, tokens in corpus.tools],
        "salt_tokens": corpus.salt_tokens,
    }
    arrays["front"] = np.frombuffer(orjson.dumps(front), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _read_npz(path: Path) -> Corpus | None:
    """None when there is no whole corpus in the file."""
    try:
        return _unpacked(path)
    # A full disk or a copied folder leaves torn files; what cannot be read is built anew.
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _unpacked(path: Path) -> Corpus:
    with np.load(path) as arrays:
        front = orjson.loads(arrays["front"].tobytes())
        tapes = {
            kind: Tape(
                text=memoryview(arrays[f"{kind}.text"].tobytes()),
                byte_ends=arrays[f"{kind}.byte_ends"],
                token_ends=arrays[f"{kind}.token_ends"],
                document_starts=arrays[f"{kind}.document_starts"],
                calls=tuple(_tool_call(*call) for call in calls),
            )
            for kind, calls in front["calls"].items()
        }
    return Corpus(
        hash=front["hash"],
        tokenizer=front["tokenizer"],
        tapes=tapes,
        tools=tuple((schema.encode(), tokens) for schema, tokens in front["tools"]),
        salt_tokens=front["salt_tokens"],
    )
