"""Retold: the text of prompts that are made of spans, as those of a trace are.

A span is written the same way whenever it comes, from a generator of its own, and ends with a whole
message. So a prompt that shares spans with an earlier one begins with the same bytes, and one that
leaves it in the middle is cut back to the last span that both have.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from workload.corpus import Corpus
from workload.frames import Frames
from workload.prompts import (
    Conversation,
    SharedPrefix,
    only_tools,
    shared_prefix,
    with_system,
)
from workload.session import Turn
from workload.spans import Key, Span
from workload.tokens import GENERATION_PROMPT_TOKENS

_NO_PREFIX = SharedPrefix(tools=(), system=b"", tokens=0)
# Less than the shortest message of a user has, with its salt; guess.
_MIN_MESSAGE_TOKENS = 40


@dataclass(frozen=True, slots=True)
class _Written:
    """A span that stands in the prompt, and what stands there up to its end."""

    key: Key
    segments: int
    tokens: int
    shared: SharedPrefix


class Retold(Conversation):
    """The prompt of one session, whose turns say what they consist of.

    `shared`, the tools and the system text, may change from turn to turn.
    """

    def __init__(
        self,
        corpus: Corpus,
        frames: Frames,
        *,
        seed: int,
        salt: str,
        growth_tokens: int,
        drift: float = 1.0,
        reasoning: bool = False,
    ) -> None:
        """See Conversation; salt: of the run, "" under --warm."""
        super().__init__(
            corpus,
            _NO_PREFIX,
            frames,
            "",
            seed=seed,
            salt=salt,
            growth_tokens=growth_tokens,
            drift=drift,
            reasoning=reasoning,
        )
        self._seeds = f"{seed}/{salt}"
        self._written: list[_Written] = []

    def advance(self, turn: Turn) -> None:
        """Brings the prompt to what the turn consists of."""
        assert turn.content is not None
        self._planned_drift = self.drift
        self._cut_back(turn.content)
        for span in turn.content[len(self._written) :]:
            self._write(span)
            self._written.append(_Written(span.key, len(self.segments), self._tokens, self.shared))
        held = [
            written.tokens
            for span, written in zip(turn.content, self._written, strict=True)
            if span.end_tokens <= turn.ideal_cached_tokens
        ]
        self.ideal_cached_tokens = held[-1] if held else 0

    def _cut_back(self, content: tuple[Span, ...]) -> None:
        """To the spans that the prompt begins with."""
        alike = 0
        for written, span in zip(self._written, content, strict=False):
            if written.key != span.key:
                break
            alike += 1
        if alike == len(self._written):
            return
        del self._written[alike:]
        last = self._written[-1] if self._written else _Written((), 0, 0, _NO_PREFIX)
        del self.segments[last.segments :]
        self.body_bytes = sum(map(len, self.segments))
        self._tokens, self.shared = last.tokens, last.shared
        while self._marked and self._marked[-1][0] >= last.segments:
            self._marked.pop()

    def _write(self, span: Span) -> None:
        seeds = f"{self._seeds}/{span.key}"
        self._rng = Random(seeds)
        # What several developers send must not hang on what one of them has learnt.
        drift = 1.0 if span.everyone else self.drift
        target = round(span.end_tokens / drift) - GENERATION_PROMPT_TOKENS
        reply_tokens = round(span.reply_tokens / drift)
        if span.kind == "tools":
            self.shared = only_tools(self._corpus, target, seeds)
            self._tokens = self.shared.tokens
        elif span.kind == "system":
            self.shared = with_system(self._corpus, self.shared, target, self._rng, seeds)
            self._tokens = self.shared.tokens
        elif span.kind == "start":
            self.shared = shared_prefix(self._corpus, round(span.opening_tokens / drift), seeds)
            self._tokens = self.shared.tokens
            if target - self._tokens >= _MIN_MESSAGE_TOKENS:
                self._open(target, "request", seeds)
        elif not self.segments:
            self._open(target, "request", seeds)
        elif span.kind == "tool" and self.shared.tools:
            self._call_tool(reply_tokens, target)
        else:
            if reply_tokens:
                self._answer(reply_tokens)
            self._ask(target, "request")
