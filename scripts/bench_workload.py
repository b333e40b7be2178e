"""What the workload costs: the corpus, preparing a turn, and the memory of open sessions.

Nothing is sent. The corpus is the default one, in a cache folder of its own, so that cold is
counted anew; its source files may still be in the system's page cache.

    python scripts/bench_workload.py
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import psutil
from tabulate import tabulate

from tokenswarm.client.dialects import CHAT, DIALECTS, Dialect
from workload import corpus as corpora
from workload.corpus import Corpus
from workload.profiles import SEED
from workload.prompts import Conversation, shared_prefix
from workload.session import Session, Turn, sessions
from workload.tokens import EMBEDDED, Tokenizer, load_tokenizer

LONG_PROMPT_TOKENS = 100_000
LONG_TURNS = 200
GROWTH_TOKENS = round(SEED.growth_tokens.mean + SEED.output_tokens.mean)
OPEN_SESSIONS = 1_000
STARTS = 200


def no_tokenizer() -> Tokenizer:
    raise RuntimeError("the warm start counted something")


def load_seconds(cache: Path) -> float:
    """Wall seconds of `corpus.load`, tokenizer included where it is needed."""
    before_s = time.perf_counter()
    corpora.load(EMBEDDED, load_tokenizer, cache=cache)
    return time.perf_counter() - before_s


def loaded(cache: Path) -> Corpus:
    return corpora.load(EMBEDDED, no_tokenizer, cache=cache)


def conversations(corpus: Corpus, dialect: Dialect = CHAT) -> Iterator[Conversation]:
    shared = shared_prefix(corpus, SEED.shared_prefix_tokens)
    for n in count():
        yield Conversation(
            corpus,
            shared,
            dialect.frames,
            f"w0.u{n}.s0",
            seed=1,
            salt="bench",
            growth_tokens=GROWTH_TOKENS,
        )


def turn(kind: str, prompt_tokens: int) -> Turn:
    """450 tokens of reply, the profiles' mean."""
    return Turn("bench", 0, kind, 0.0, prompt_tokens, 0, 0, 450, 450, None, 0)


def advance_ms(corpus: Corpus, dialect: Dialect) -> float:
    """Mean CPU ms of the turn that brings a conversation to 100k tokens, one growth further; in
    Messages its cache marks move."""
    spent_s = []
    for said in islice(conversations(corpus, dialect), LONG_TURNS):
        said.advance(turn("start", LONG_PROMPT_TOKENS - GROWTH_TOKENS))
        before_s = time.process_time()
        said.advance(turn("tool", LONG_PROMPT_TOKENS))
        spent_s.append(time.process_time() - before_s)
    return statistics.mean(spent_s) * 1e3


def first_turn(session: Session) -> Turn:
    turn = session.next_turn()
    if turn is None:
        raise RuntimeError("a session met in mid-life has a turn")
    return turn


def start_ms(corpus: Corpus) -> tuple[float, float]:
    """Mean CPU ms of meeting a developer in mid-life: (session's numbers, its prompt)."""
    numbers_s, prompt_s = [], []
    for user, said in enumerate(islice(conversations(corpus), STARTS)):
        before_s = time.process_time()
        first = first_turn(next(sessions(SEED, 1, 0, user)))
        between_s = time.process_time()
        said.advance(first)
        numbers_s.append(between_s - before_s)
        prompt_s.append(time.process_time() - between_s)
    return statistics.mean(numbers_s) * 1e3, statistics.mean(prompt_s) * 1e3


def resident_mb() -> float:
    return float(psutil.Process().memory_info().rss / 1e6)


def open_sessions(cache: Path) -> tuple[float, float, float]:
    """In a process of its own: (mean prompt tokens, MB resident with so many, MB of as many more).

    The first ones fill memory that loading the corpus left free, so what sessions cost is read off
    the second lot.
    """
    corpus = loaded(cache)
    resident: list[float] = []
    held: list[tuple[Session, Conversation]] = []
    for user, said in enumerate(islice(conversations(corpus), 2 * OPEN_SESSIONS)):
        session = next(sessions(SEED, 1, 0, user))
        said.advance(first_turn(session))
        held.append((session, said))
        if len(held) % OPEN_SESSIONS == 0:
            resident.append(resident_mb())
    first_mb, both_mb = resident
    mean_tokens = statistics.mean(said.prompt_tokens for _, said in held[:OPEN_SESSIONS])
    return mean_tokens, first_mb, both_mb - first_mb


def main() -> list[tuple[str, float, str]]:
    """Rows of (name, value, unit), printed as a table."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        cold_s, warm_s = load_seconds(cache), load_seconds(cache)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            mean_tokens, all_mb, sessions_mb = pool.apply(open_sessions, (cache,))
        corpus = loaded(cache)
    numbers_ms, prompt_ms = start_ms(corpus)
    rows = [
        ("Corpus, cold: built and counted", cold_s, "s"),
        ("Corpus, warm: read from disk", warm_s, "s"),
        *(
            (f"CPU of advancing 100k tokens by a turn, {name}", advance_ms(corpus, dialect), "ms")
            for name, dialect in DIALECTS.items()
        ),
        ("CPU of starting a session in mid-life: its numbers", numbers_ms, "ms"),
        ("CPU of starting a session in mid-life: its prompt", prompt_ms, "ms"),
        (f"Mean prompt of {OPEN_SESSIONS:,} open sessions", mean_tokens, "tokens"),
        (f"Resident with {OPEN_SESSIONS:,} open sessions", all_mb, "MB"),
        (f"Each further {OPEN_SESSIONS:,}", sessions_mb, "MB"),
    ]
    print(tabulate(rows, headers=("what", "value", "unit"), floatfmt=".3f"))
    return rows


if __name__ == "__main__":
    main()
