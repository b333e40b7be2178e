"""The chat completions answer: what was generated in, bytes of the wire format out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tokenswarm.engine.server.reply_text import Reply

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer in OpenAI's form, as events of a stream or whole.

    Each chunk with output carries `x_sim_tokens`: completion tokens up to and including it; in
    driven time `x_sim_at` as well: the engine second at which it left.
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
    def finish_reason(self) -> str:
        """The engine always produces max_tokens, as under `ignore_eos`. A tool call is complete
        at that length, and so is text whose length the engine chose (no max_tokens given)."""
        return "tool_calls" if self.reply.tool is not None else self.stop_reason

    @property
    def stop_reason(self) -> str:
        """Of the generation, as vLLM counts it: a tool call ends like any text that is complete."""
        if self.reply.tool is not None or not self.max_tokens_given:
            return "stop"
        return "length"

    def role_event(self) -> bytes:
        return self._event(b'{"role":"assistant","content":""}', 0)

    def event(self, first: int, last: int, cached_tokens: int, at_s: float | None = None) -> bytes:
        """The chunk of output tokens [first, last). at_s: `x_sim_at`, in driven time."""
        return self._event(self.reply.delta(first, last), last, cached_tokens, at_s=at_s)

    def closing(self, cached_tokens: int) -> bytes:
        """finish_reason, usage if it was asked for, [DONE]."""
        return b"".join(self._closing_events(cached_tokens))

    def whole(self, cached_tokens: int) -> bytes:
        """The body of an answer that is not streamed."""
        choice = {"index": 0, "message": self.reply.message(), "logprobs": None}
        return orjson.dumps(
            {
                "id": self._id,
                "object": "chat.completion",
                "created": self.created,
                "model": self.model,
                "choices": [{**choice, "finish_reason": self.finish_reason}],
                "usage": self._usage(self.reply.num_tokens, cached_tokens),
            }
        )

    def _closing_events(self, cached_tokens: int) -> Iterator[bytes]:
        total = self.reply.num_tokens
        reason = b'"%b"' % self.finish_reason.encode()
        yield self._event(b"{}", total, cached_tokens, reason)
        if self.usage_at_the_end:
            usage = orjson.dumps(self._usage(total, cached_tokens))
            yield b'data: {%b,"choices":[],"usage":%b}\n\n' % (self._head, usage)
        yield DONE

    def _event(
        self,
        delta: bytes,
        reached: int,
        cached_tokens: int = 0,
        finish_reason: bytes = b"null",
        at_s: float | None = None,
    ) -> bytes:
        more = b"" if at_s is None else b',"x_sim_at":%b' % repr(at_s).encode()
        if self.usage_in_every_chunk:
            more += b',"usage":' + orjson.dumps(self._usage(reached, cached_tokens))
        return (
            b'data: {%b,"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}],'
            b'"x_sim_tokens":%d%b}\n\n' % (self._head, delta, finish_reason, reached, more)
        )

    @property
    def _id(self) -> str:
        return f"chatcmpl-sim-{self.number}"

    @property
    def _head(self) -> bytes:
        return (
            b'"id":"chatcmpl-sim-%d","object":"chat.completion.chunk","created":%d,"model":%b'
            % (self.number, self.created, orjson.dumps(self.model))
        )

    def _usage(self, completion_tokens: int, cached_tokens: int) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
            "completion_tokens_details": {
                "reasoning_tokens": min(completion_tokens, self.reply.reasoning_tokens)
            },
        }
