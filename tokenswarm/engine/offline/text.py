"""Text: how many tokens the prompts of real traffic hold, which are cut at lines of a corpus.

Sessions plan their prompts to the token, text meets a plan to half a line. Offline runs take the
plans, unless they are to equal a run over HTTP: a difference of ten tokens moves the next turn by a
millisecond, and near an engine's limit such turns part ways:
tests/engine/offline/test_offline_text.py.
"""

from __future__ import annotations

from functools import lru_cache

from workload import corpus as corpora
from workload.corpus import Corpus
from workload.frames import Frames, frame
from workload.prompts import Conversation, shared_prefix
from workload.session import Session
from workload.tokens import EMBEDDED, load_tokenizer

# Token counts do not depend on what a dialect writes around the texts.
_NO_FRAME = frame(b"", b"")
_FRAMES = Frames(
    user=_NO_FRAME,
    reply=(b"", b""),
    reasoning=_NO_FRAME,
    text=_NO_FRAME,
    always_text=True,
    call=lambda call_id, call: b"",
    result=lambda call_id: _NO_FRAME,
)


def conversation(session: Session, seed: int) -> Conversation:
    """What a run over HTTP with this seed says in the session, in this machine's default corpus."""
    profile, corpus = session.profile, _corpus()
    return Conversation(
        corpus,
        shared_prefix(corpus, profile.shared_prefix_tokens),
        _FRAMES,
        session.name,
        seed=seed,
        salt="",  # of whichever run: all cost the same
        growth_tokens=session.growth_tokens,
    )


@lru_cache(maxsize=1)
def _corpus() -> Corpus:
    """Of the embedded tokenizer, as a run over HTTP builds and keeps it."""
    return corpora.load(EMBEDDED, lambda: load_tokenizer(EMBEDDED))
