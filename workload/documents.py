"""Documents: what an agent's tools show it, rendered from the source files of a corpus.

Pure and seeded by the file's own path: the same files give the same documents. Every document
is the result of one tool call (name and JSON arguments), as text lines.
"""

from __future__ import annotations

import ast
import difflib
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random

import orjson

from workload import phrases

# Results of tools, and the source and prose that replies and requests are made of ...
RENDERED_KINDS = ("read", "source", "grep", "diff", "test", "shell", "prose")
# ... and the fixed sentences around them.
PHRASE_KINDS = {
    "system": phrases.SYSTEM,
    "request": phrases.REQUESTS,
    "lead": phrases.LEADS,
    "summary": phrases.SUMMARIES,
}
KINDS = (*RENDERED_KINDS, *PHRASE_KINDS)

_IDENTIFIER = re.compile(r"\b[a-z_][a-z0-9_]{5,}\b")
_DEFINITION = re.compile(r"^\s*(?:async\s+)?(?:def|class|fn|func|function)\s+(\w+)")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One text file of the corpus: path relative to its root, and lines without newlines."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One tool result: its kind, the call that produced it, and its lines."""

    kind: str
    call_name: str
    call_arguments: str  # JSON text
    lines: tuple[str, ...]


def documents(files: Sequence[SourceFile]) -> Iterator[Document]:
    """Every document of the files, in a fixed order."""
    for kind, text in PHRASE_KINDS.items():
        yield _document(kind, "none", {}, text.splitlines())
    folders: dict[str, list[SourceFile]] = {}
    for file in files:
        folders.setdefault(file.path.rpartition("/")[0], []).append(file)
    for file in files:
        rng = Random(zlib.crc32(file.path.encode()))
        folder = folders[file.path.rpartition("/")[0]]
        yield from filter(None, (_read(file), _source(file), _prose(file), _diff(file, rng)))
        yield from filter(
            None, (_grep(file, folder), _test_run(file, rng), _shell(file, folder, rng))
        )


def _document(
    kind: str, name: str, arguments: Mapping[str, object], lines: Iterable[str]
) -> Document:
    return Document(kind, name, orjson.dumps(arguments).decode(), tuple(lines))


def _read(file: SourceFile) -> Document:
    """A file as a read tool shows it: numbered, as `cat -n` does."""
    lines = (f"{n:6d}\t{line}" if line else "" for n, line in enumerate(file.lines, 1))
    arguments = {"path": file.path, "offset": 1, "limit": len(file.lines)}
    return _document("read", "read_file", arguments, lines)


def _source(file: SourceFile) -> Document:
    return _document("source", "run_command", {"command": f"cat {file.path}"}, file.lines)


def _prose(file: SourceFile) -> Document | None:
    """The file's docstrings: what people and models write in words."""
    tree = syntax_tree(file)
    if tree is None:
        return None
    nodes = (
        n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)
    )
    lines = [line for n in nodes for line in docstring(n).splitlines()]
    if not lines:
        return None
    return _document("prose", "search_docs", {"query": file.path}, lines)


def syntax_tree(file: SourceFile) -> ast.Module | None:
    """The parsed file; None where it is no Python that this interpreter reads."""
    if not file.path.endswith(".py"):
        return None
    try:
        return ast.parse("\n".join(file.lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # templates, tables of data
        return None


def docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    """Without lines that hold what a source file does not: escapes may name control characters
    and lone surrogates, which are no UTF-8."""
    lines = (ast.get_docstring(node) or "").splitlines()
    return "\n".join(line for line in lines if line.isprintable())


def _frequent_identifier(file: SourceFile) -> str | None:
    # Once a line, in the line's order: a set's order, and with it the rank of names that occur
    # equally often, would change with the process.
    names = Counter(
        name for line in file.lines for name in dict.fromkeys(_IDENTIFIER.findall(line))
    )
    # Not the very first: `return` and `import` lead in every file.
    ranked = [name for name, _ in names.most_common(12)][4:]
    return ranked[0] if ranked else None


def _grep(file: SourceFile, folder: Sequence[SourceFile]) -> Document | None:
    """Where the file's typical identifier occurs in its folder, as `grep -rn` prints it."""
    name = _frequent_identifier(file)
    if name is None:
        return None
    hits = (
        f"{other.path}:{n}:{line}"
        for other in folder
        for n, line in enumerate(other.lines, 1)
        if name in line
    )
    arguments = {"pattern": name, "path": file.path.rpartition("/")[0] or "."}
    return _document("grep", "grep", arguments, islice(hits, 400))


def _diff(file: SourceFile, rng: Random) -> Document | None:
    """The edit that renames one identifier, as a unified diff."""
    name = _frequent_identifier(file)
    if name is None:
        return None
    renamed = f"{name}_{rng.choice(('next', 'impl', 'raw', 'cached', 'async'))}"
    before = file.lines[:600]
    after = tuple(re.sub(rf"\b{name}\b", renamed, line) for line in before)
    changed = next((i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b), None)
    if changed is None:
        return None
    lines = difflib.unified_diff(before, after, f"a/{file.path}", f"b/{file.path}", lineterm="")
    arguments = {
        "path": file.path,
        "old_text": before[changed].strip(),
        "new_text": after[changed].strip(),
    }
    return _document("diff", "edit_file", arguments, lines)


def _test_run(file: SourceFile, rng: Random) -> Document | None:
    """A pytest run over the file's functions, a few of them failing with their source shown."""
    names = [(n, m[1]) for n, line in enumerate(file.lines) if (m := _DEFINITION.match(line))]
    if len(names) < 3:
        return None
    stem = file.path.rpartition("/")[2].partition(".")[0]
    test_path = f"tests/test_{stem}.py"
    lines = ["=" * 28 + " test session starts " + "=" * 28, f"collected {len(names)} items", ""]
    failed = [pair for pair in names if rng.random() < 0.08]
    for done, pair in enumerate(names, 1):
        word = "FAILED" if pair in failed else "PASSED"
        lines.append(f"{test_path}::test_{pair[1]} {word}  [{100 * done // len(names):3d}%]")
    for n, name in failed:
        lines.append("_" * 30 + f" test_{name} " + "_" * 30)
        lines.extend(f"    {line}" for line in file.lines[n : n + 12])
        lines.append(f"E       AssertionError: assert {rng.randrange(100)} == {rng.randrange(100)}")
        lines.append(f"{file.path}:{n + rng.randrange(1, 12)}: AssertionError")
    passed = len(names) - len(failed)
    lines.append(f"===== {len(failed)} failed, {passed} passed in {rng.uniform(0.1, 9):.2f}s =====")
    return _document("test", "run_command", {"command": f"pytest -v {test_path}"}, lines)


def _shell(file: SourceFile, folder: Sequence[SourceFile], rng: Random) -> Document:
    """`ls -l` and `git log --stat` of the file's surroundings."""
    lines = [f"total {4 * len(folder)}"]
    for other in folder[:80]:
        size = sum(map(len, other.lines)) + len(other.lines)
        name = other.path.rpartition("/")[2]
        day = f"{rng.choice(('Jan', 'Mar', 'May', 'Oct'))} {rng.randrange(1, 28):2d}"
        lines.append(f"-rw-r--r-- 1 dev dev {size:8d} {day} {rng.randrange(24):02d}:15 {name}")
    for _ in range(rng.randrange(2, 6)):
        lines.append(f"commit {rng.getrandbits(160):040x}")
        lines.append("Author: Dev Eloper <dev@example.org>")
        lines.append(f"    Rework {_frequent_identifier(file) or file.path} and its callers")
        touched = rng.randrange(1, 90)
        lines.append(f" {file.path} | {touched} {'+' * (touched // 4 + 1)}")
    command = f"ls -l {file.path.rpartition('/')[0] or '.'} && git log --stat -3 -- {file.path}"
    return _document("shell", "run_command", {"command": command}, lines)
