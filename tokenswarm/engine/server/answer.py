"""Answer: what was generated in, bytes of a dialect's wire format out. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tokenswarm.engine.server.reply_text import Reply


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Prompt tokens that the prefix cache held, and that it keeps from now on."""

    read: int
    written: int


UNKNOWN = CacheUse(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(ABC):
    """One answer, as events of a stream or whole.

    Each event with output carries `x_sim_tokens`: output tokens up to and including it; in driven
    time `x_sim_at` as well: the engine second at which it left.
    """

    model: str
    streamed: bool
    usage_at_the_end: bool  # stream_options.include_usage
    usage_in_every_chunk: bool  # vLLM's stream_options.continuous_usage_stats
    max_tokens_given: bool
    reply: Reply
    number: int  # of the request in this process
    created: int  # Unix seconds
    prompt_tokens: int

    @property
    def stop_reason(self) -> str:
        """Of the generation, as vLLM counts it. The engine always produces max_tokens, as under
        `ignore_eos`: a tool call is complete at that length and ends like any complete text, and so
        does text whose length the engine chose (no max_tokens given)."""
        if self.reply.tool is not None or not self.max_tokens_given:
            return "stop"
        return "length"

    def history(self) -> Mapping[str, Any]:
        """The answer as `Request.messages` has it when a client sends it back."""
        return self.reply.message()

    @abstractmethod
    def opening(self, cache: CacheUse) -> bytes:
        """The events before the first output."""

    @abstractmethod
    def event(self, first: int, last: int, cache: CacheUse, at_s: float | None = None) -> bytes:
        """The events of output tokens [first, last). at_s: `x_sim_at`, in driven time."""

    @abstractmethod
    def closing(self, cache: CacheUse) -> bytes:
        """The events after the last output."""

    @abstractmethod
    def whole(self, cache: CacheUse) -> bytes:
        """The body of an answer that is not streamed."""


@dataclass(frozen=True, slots=True)
class Part:
    """Tokens [first, last) of one kind ("reasoning", "text", "call") that one event brings.

    index: which of the answer's parts it belongs to; opens, closes: it begins, ends there."""

    kind: str
    index: int
    first: int
    last: int
    opens: bool
    closes: bool


def parts(reply: Reply, first: int, last: int) -> Iterator[Part]:
    """Output tokens [first, last), cut where one kind turns into the next."""
    ends = (
        ("reasoning", 0, reply.reasoning_tokens),
        ("text", reply.reasoning_tokens, reply.call_start),
        ("call", reply.call_start, reply.num_tokens),
    )
    for index, (kind, begin, end) in enumerate(span for span in ends if span[1] < span[2]):
        since, until = max(first, begin), min(last, end)
        if since < until:
            yield Part(kind, index, since, until, since == begin, until == end)


def sim_fields(reached: int, at_s: float | None) -> bytes:
    """What this engine says beside a dialect's own fields, to be put before a closing brace."""
    at = b"" if at_s is None else b',"x_sim_at":%b' % repr(at_s).encode()
    return b',"x_sim_tokens":%d%b' % (reached, at)
