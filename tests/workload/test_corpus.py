"""The corpus: counts that add up, text that survives JSON, and the copy on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import orjson
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from workload import corpus as corpora
from workload.corpus import Corpus, CorpusError, Tape
from workload.documents import KINDS
from workload.tokens import Tokenizer, _embedded_encoding, count_call

# How other vocabularies cut text before merging, from tiktoken_ext/openai_public.py. Counts add up
# or not by this cut; the merges themselves are borrowed from the embedded vocabulary.
O200K = "|".join(
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ]
)
# Also of Llama 3 and, but for single digits, of Qwen.
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
RUNS_PER_TAPE = 60
LONGEST_RUN = 300


@pytest.fixture(scope="session")
def cutters(tokenizer: Tokenizer) -> dict[str, Tokenizer]:
    ranks = _embedded_encoding()._mergeable_ranks

    def cutter(name: str, pattern: str) -> Tokenizer:
        encoding = tiktoken.Encoding(
            name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
        )
        return Tokenizer(name, lambda texts: [len(encoding.encode_ordinary(t)) for t in texts])

    return {"tekken": tokenizer, "o200k": cutter("o200k", O200K), "cl100k": cutter("cl", CL100K)}


def text_of(*pieces: memoryview) -> str:
    return orjson.loads(b'"' + b"".join(pieces) + b'"')


def unit_texts(tape: Tape) -> list[str]:
    return [text_of(*tape.unit(n)[0]) for n in range(tape.n_units)]


def assert_random_runs_add_up(tape: Tape, tokenizer: Tokenizer) -> None:
    rng = Random(7)
    for _ in range(RUNS_PER_TAPE):
        start = rng.randrange(tape.n_units)
        pieces, tokens = tape.take(start, rng.randrange(1, LONGEST_RUN * 10))
        assert tokenizer.count(text_of(*pieces)) == tokens


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_any_run_of_units_are_the_sum_of_theirs(kind, corpus, tokenizer):
    assert_random_runs_add_up(corpus.tapes[kind], tokenizer)


@pytest.mark.parametrize("cut", ["tekken", "o200k", "cl100k"])
def test_awkward_files_add_up_however_the_tokenizer_cuts(cut, awkward_folder, cutters):
    corpus = corpora.build(corpora.source_files(awkward_folder), cutters[cut])
    for tape in corpus.tapes.values():
        assert_random_runs_add_up(tape, cutters[cut])


def test_a_whole_tape_counts_as_its_last_cumulative_sum(awkward_corpus, tokenizer):
    for tape in awkward_corpus.tapes.values():
        assert tokenizer.count(text_of(tape.text)) == tape.tokens


LINES = st.lists(st.text(alphabet="aB1é漢😀 ./!*\"'\\\tـ́", max_size=6), min_size=1, max_size=12)


@given(LINES, LINES)
def test_units_of_any_two_documents_add_up_in_any_order(cutters, first, second):
    cut = [*corpora.units(first), *corpora.units(second)]
    run = "".join(cut + cut)  # as at the tape's end, where the beginning follows
    for tokenizer in cutters.values():
        assert tokenizer.count(run) == 2 * sum(tokenizer.count_many(cut))


def test_units_keep_every_line_but_those_that_would_run_on_from_nothing():
    cut = corpora.units(["", "// licence", "a {", "", "  ", "// why", "b", "// what", "", "c"])
    assert list(cut) == ["a {\n\n  \n// why\n", "b\n", "// what\n\n", "c\n"]
    assert list(corpora.units(["", " ", "/"])) == []


def synthetic_tape(sizes: list[int]) -> Tape:
    """Units of these many tokens, each a single byte long."""
    return Tape(
        text=memoryview(bytes(b"abcdefghijklmnopqrstuvwxyz"[: len(sizes)])),
        byte_ends=np.arange(len(sizes) + 1),
        token_ends=np.concatenate(([0], np.cumsum(sizes))),
        document_starts=np.array([0]),
        calls=(),
    )


@given(st.lists(st.integers(1, 20), min_size=1, max_size=26), st.data())
def test_take_is_as_near_as_whole_units_allow_and_goes_round(sizes, data):
    start = data.draw(st.integers(0, len(sizes) - 1))
    wanted = data.draw(st.integers(-5, 3 * sum(sizes)))
    pieces, taken = synthetic_tape(sizes).take(start, wanted)
    rounds = (sizes[start:] + sizes[:start]) * 5
    reachable = np.concatenate(([0], np.cumsum(rounds)))
    assert abs(taken - wanted) == min(abs(reachable - wanted))
    n_units = reachable.tolist().index(taken)
    letters = bytes(b"abcdefghijklmnopqrstuvwxyz"[: len(sizes)])
    assert b"".join(pieces) == ((letters[start:] + letters[:start]) * 5)[:n_units]


def test_take_begins_at_the_first_unit_after_the_tapes_last(corpus):
    tape = corpus.tapes["request"]
    pieces, tokens = tape.take(tape.n_units - 1, tape.tokens)
    assert tokens == tape.tokens
    assert text_of(*pieces).splitlines()[1] == text_of(*tape.unit(0)[0]).splitlines()[0]


def test_text_comes_out_of_json_as_it_went_in(awkward_corpus):
    source = text_of(awkward_corpus.tapes["source"].text)
    assert 'print(f"entry {entry!r} \\u00e9' in source  # an escape of the source, not of JSON
    assert "\t" not in source and "    return" in source
    assert "漢" not in source and "caf" not in source and "\0" not in source
    read = text_of(awkward_corpus.tapes["read"].text)
    assert "     1\t// Copyright" in read
    for text in ('quote " back \\ slash', "tab\t é 漢 😀", "\x1b[0m", ""):
        assert orjson.loads(b'"' + corpora.escape(text) + b'"') == text


def test_docstrings_leave_out_what_is_no_text(awkward_corpus):
    prose = text_of(awkward_corpus.tapes["prose"].text)
    assert "surrogate" not in prose and "Escapes" not in prose
    assert 'with "quotes" and a back\\slash.' in prose


def test_calls_are_json_objects_and_counted(awkward_corpus, tokenizer):
    for tape in awkward_corpus.tapes.values():
        assert len(tape.calls) == len(tape.document_starts)
        for call in tape.calls[:20]:
            arguments = text_of(call.escaped)
            assert arguments.encode() == call.arguments
            assert isinstance(orjson.loads(arguments), dict)
            assert call.tokens == count_call(tokenizer, call.name, arguments)


def test_tools_are_named_as_openai_accepts_and_each_once(awkward_corpus, corpus):
    for tools in (awkward_corpus.tools, corpus.tools):
        names = [orjson.loads(schema)["function"]["name"] for schema, _ in tools]
        assert len(set(names)) == len(names) <= 128
        for name in names:
            assert 1 <= len(name) <= 64
            assert set(name) <= set(
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
            )
    assert any("my_pkg_ledger" in schema.decode() for schema, _ in awkward_corpus.tools)


def test_the_default_corpus_is_long_enough_not_to_repeat_within_a_session(corpus):
    assert sum(tape.tokens for tape in corpus.tapes.values()) > 2_500_000
    assert sum(tokens for _, tokens in corpus.tools) > 12_000  # 0.6 of a 20k shared prefix


def test_a_corpus_without_python_or_functions_has_every_kind(tmp_path, tokenizer):
    for n in range(10):
        (tmp_path / f"page{n}.md").write_text(f"# Page {n}\n\nwords of it\n" * 300)
    corpus = corpora.build(corpora.source_files(tmp_path), tokenizer)
    assert set(corpus.tapes) == set(KINDS)
    assert all(tape.tokens and tape.calls for tape in corpus.tapes.values())


def test_salt_lines_are_unique_and_cost_the_same(corpus, tokenizer):
    lines = [corpora.salt_line(f"run-{n % 7}/w0.u{n}.s{n}/0") for n in range(2_000)]
    assert len(set(lines)) == 2_000
    assert set(tokenizer.count_many(lines)) == {corpus.salt_tokens}


def assert_same(one: Corpus, other: Corpus) -> None:
    assert (one.hash, one.tokenizer, one.tools, one.salt_tokens) == (
        other.hash,
        other.tokenizer,
        other.tools,
        other.salt_tokens,
    )
    assert one.tapes.keys() == other.tapes.keys()
    for kind, tape in one.tapes.items():
        assert tape.text == other.tapes[kind].text
        assert tape.calls == other.tapes[kind].calls
        for name in ("byte_ends", "token_ends", "document_starts"):
            np.testing.assert_array_equal(getattr(tape, name), getattr(other.tapes[kind], name))


def no_tokenizer() -> Tokenizer:
    raise AssertionError("a warm start needs no tokenizer")


def test_a_second_load_reads_the_same_arrays_and_needs_no_tokenizer(
    awkward_folder, awkward_corpus, tokenizer, tmp_path
):
    cold = corpora.load("embedded", lambda: tokenizer, awkward_folder, cache=tmp_path)
    warm = corpora.load("embedded", no_tokenizer, awkward_folder, cache=tmp_path)
    assert_same(cold, awkward_corpus)
    assert_same(warm, cold)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]  # no torn leftovers


def test_another_tokenizer_or_text_is_another_corpus(awkward_folder, tokenizer, tmp_path):
    corpora.load("embedded", lambda: tokenizer, awkward_folder, cache=tmp_path)
    other = Tokenizer("words", lambda texts: [len(text.split()) for text in texts])
    assert corpora.load("words", lambda: other, awkward_folder, cache=tmp_path).tokenizer == "words"
    assert len(list(tmp_path.iterdir())) == 2


def torn_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    path.write_bytes(b"not an archive at all" * 100)


def of_other_arrays(path: Path) -> None:
    np.savez(path, something=np.zeros(3))


def with_a_flipped_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "harm", [torn_in_half, emptied, overwritten, of_other_arrays, with_a_flipped_byte]
)
def test_a_torn_cache_file_is_built_anew(harm, awkward_folder, awkward_corpus, tokenizer, tmp_path):
    corpora.load("embedded", lambda: tokenizer, awkward_folder, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    harm(path)
    rebuilt = corpora.load("embedded", lambda: tokenizer, awkward_folder, cache=tmp_path)
    assert_same(rebuilt, awkward_corpus)
    assert_same(corpora.load("embedded", no_tokenizer, awkward_folder, cache=tmp_path), rebuilt)


def test_a_folder_with_too_little_text_is_refused(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n" * 100)
    with pytest.raises(CorpusError, match=r"--corpus '.*': 500 characters .*accepted: .*50,000"):
        corpora.source_files(tmp_path)


@pytest.mark.parametrize("name", ["missing", "file.py"])
def test_what_is_no_folder_is_refused(name, tmp_path):
    (tmp_path / "file.py").write_text("x = 1\n")
    with pytest.raises(CorpusError, match=rf"--corpus '.*{name}': not a folder; accepted"):
        corpora.source_files(tmp_path / name)


# Of twenty names that occur equally often, one is searched for and renamed.
BUILD_AND_HASH = """
import hashlib
from workload.corpus import build
from workload.documents import SourceFile
from workload.tokens import Tokenizer
names = ", ".join(f"parameter_{n}" for n in range(20))
line = f"def function({names}):"
files = [SourceFile(f"module_{n}.py", (line, f"    return [{names}]", "")) for n in range(5)]
corpus = build(files, Tokenizer("letters", lambda texts: [len(text) for text in texts]))
for kind, tape in corpus.tapes.items():
    print(kind, hashlib.sha256(bytes(tape.text) + repr(tape.calls).encode()).hexdigest())
print(corpus.tools)
"""


def built_alone(hash_seed: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", BUILD_AND_HASH],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_every_process_builds_the_same_corpus():
    """Workers on several machines share no cache, and the same seed must mean the same prompts."""
    assert built_alone(0) == built_alone(1) == built_alone(2)


def test_the_same_folder_gives_the_same_corpus(awkward_folder, awkward_corpus, tokenizer):
    assert_same(corpora.build(corpora.source_files(awkward_folder), tokenizer), awkward_corpus)
