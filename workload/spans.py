"""Spans: what a prompt consists of, as named stretches of text. Names and numbers, no text.

A key stands for one text behind one beginning. So two prompts are alike as far as their spans have
the same keys, and a set of keys says what a prefix cache can hold, whatever the text is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Key = tuple[str | int, ...]
Kind = Literal["start", "tools", "system", "tool", "user"]


class Span(NamedTuple):
    """A stretch of a prompt, from the end of the one before it to `end_tokens`.

    kind: how it is written: "start" (tools, system text, a first message and work), "tools" and
    "system" (of it, these alone), "tool" (a reply with a call, and its result) or "user" (a reply,
    and a message). reply_tokens: the reply's part
    of it, 0 where there is none. opening_tokens: of a "start", what of it are tools and system
    text. everyone: the same text in all sessions, as a system prompt is; else this session's own.
    """

    key: Key
    end_tokens: int
    kind: Kind
    reply_tokens: int = 0
    opening_tokens: int = 0
    everyone: bool = False


class EndlessCache:
    """What a cache that forgets nothing holds of the prompts that were sent."""

    def __init__(self) -> None:
        self._keys: set[Key] = set()

    def held_tokens(self, prompt: Sequence[Span]) -> int:
        """The longest beginning that it has seen; what everyone sends counts as seen."""
        held = 0
        for span in prompt:
            if not span.everyone and span.key not in self._keys:
                break
            held = span.end_tokens
        return held

    def keep(self, prompt: Sequence[Span]) -> None:
        """The prompt was sent."""
        self._keys.update(span.key for span in prompt)
