"""Corpora that the tests of this folder share: one of awkward files, one as runs have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workload import corpus as corpora
from workload.corpus import Corpus
from workload.tokens import Tokenizer, load_tokenizer

PYTHON = '''"""Escapes in a docstring: a surrogate \\ud800, a bell \\x07, and words.

    Indented, with "quotes" and a back\\\\slash.
"""


class Ledger{n}:
    """Keeps entries in the order of their arrival and answers questions about them."""

    def append_entry(self, entry, position=None):
\t\t"""Puts the entry at the position, or at the end when there is none, and returns its number."""
\t\treturn self.entries.insert(position, entry)


def merge_entries_{n}(left, right, *, strict=False):
    """Merges two lists of entries that are sorted by time; of equal ones the left comes first,
    unless strict is set: then they are an error that names both."""
    for entry in left:
        print(f"entry {{entry!r}} \\u00e9 \\u6f22\\u5b57 \\U0001f600", "a\\\\tb")

    return [*left, *right] if not strict else None


def count_entries_{n}(entries, kind):
    """Counts the entries of a kind; entries without a kind count as plain, whatever is asked."""
    return sum(entry.kind == kind for entry in entries) + {n}


def close_entries_{n}(entries):
    pass
'''
GO = """// Copyright {n}.
// Licence: none!

/* Package ledger{n} keeps entries. */
package ledger{n};

// Append adds;
// and returns.

// Then more: !!!

///
func Append(entries []string, entry string) []string {{
\treturn append(entries, entry) // in place;
//go:noinline
}}

/
"""
PROSE = (
    "# Heading {n}\n\nSome *words* about `code`:\n\n    indented = {n}\n   \n\n"
    "/path/of/its/own;\n\n/x\n"
)


def write_sources(folder: Path) -> Path:
    """About 100 kB of small files with whatever has ever broken a count, or might."""
    (folder / "my.pkg" / "sub folder").mkdir(parents=True)
    for n in range(40):
        (folder / "my.pkg" / f"ledger{n}.py").write_text(PYTHON.format(n=n), encoding="utf-8")
        (folder / "my.pkg" / "sub folder" / f"ledger{n}.go").write_text(
            GO.format(n=n), encoding="utf-8", newline="\r\n"
        )
        (folder / f"page{n}.md").write_text(PROSE.format(n=n), encoding="utf-8")
    (folder / "latin.py").write_bytes(b"# caf\xe9\n" * 100)
    (folder / "binary.md").write_bytes(b"a\0b\n" * 100)
    (folder / "deep.py").write_text(f"x = {'(' * 3000}{')' * 3000}\n")
    return folder


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return load_tokenizer()


@pytest.fixture(scope="session")
def awkward_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def awkward_corpus(awkward_folder: Path, tokenizer: Tokenizer) -> Corpus:
    return corpora.build(corpora.source_files(awkward_folder), tokenizer)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Corpus:
    """Of the standard library, as runs have it by default."""
    return corpora.load(tokenizer.name, lambda: tokenizer, cache=tmp_path_factory.mktemp("cache"))
