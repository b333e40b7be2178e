"""Frames: how a dialect writes the messages around the texts. Bytes that are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workload.corpus import ToolCall

Piece = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Frame:
    """Around one JSON-escaped text. marked_end: instead of `end` where a prefix cache is asked to
    keep what came so far; the same bytes where the dialect has no such mark."""

    begin: bytes
    end: bytes
    marked_end: bytes


def frame(begin: bytes, end: bytes, mark: bytes = b"", after: bytes = b"") -> Frame:
    """`mark` comes between `end` and what still closes after it."""
    return Frame(begin, end + after, end + mark + after)


@dataclass(frozen=True, slots=True)
class Frames:
    """The messages of one dialect.

    reply: around an assistant's parts, which are joined by commas: reasoning, text, call. It begins
    with the comma after the message before, since a reply is never the first; no other frame does.
    always_text: whether a reply has a text part even where it says nothing. call: the whole of a
    tool call, with the id that its result names. result: around a tool's result, from its call's
    id on. marks: how many of the last messages of the user carry a cache mark.
    """

    user: Frame
    reply: tuple[bytes, bytes]
    reasoning: Frame
    text: Frame
    always_text: bool
    call: Callable[[bytes, ToolCall], bytes]
    result: Callable[[bytes], Frame]
    marks: int = 0

    def reply_pieces(
        self,
        reasoning: list[memoryview],
        text: list[memoryview],
        call: bytes | None = None,
    ) -> Iterator[Piece]:
        """One assistant's message, or its items where the dialect has no message around them."""
        head, tail = self.reply
        if reasoning:
            yield head + self.reasoning.begin
            yield from reasoning
            head = self.reasoning.end + b","
        if text or self.always_text or call is None:
            yield head + self.text.begin
            yield from text
            head = self.text.end + (b"," if call else b"")
        yield head + (call or b"") + tail
