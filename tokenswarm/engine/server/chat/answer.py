"""The chat completions answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tokenswarm.engine.server.answer import UNKNOWN, Answer, CacheUse, sim_fields

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer(Answer):
    """In OpenAI's form: one chunk per event, which may hold two kinds of output."""

    @property
    def finish_reason(self) -> str:
        return "tool_calls" if self.reply.tool is not None else self.stop_reason

    def opening(self, cache: CacheUse) -> bytes:
        return self._event(b'{"role":"assistant","content":""}', 0, UNKNOWN)

    def event(self, first: int, last: int, cache: CacheUse, at_s: float | None = None) -> bytes:
        return self._event(self.reply.delta(first, last), last, cache, at_s=at_s)

    def closing(self, cache: CacheUse) -> bytes:
        """finish_reason, usage if it was asked for, [DONE]."""
        return b"".join(self._closing_events(cache))

    def whole(self, cache: CacheUse) -> bytes:
        choice = {"index": 0, "message": self.reply.message(), "logprobs": None}
        return orjson.dumps(
            {
                "id": self._id,
                "object": "chat.completion",
                "created": self.created,
                "model": self.model,
                "choices": [{**choice, "finish_reason": self.finish_reason}],
                "usage": self._usage(self.reply.num_tokens, cache),
            }
        )

    def _closing_events(self, cache: CacheUse) -> Iterator[bytes]:
        total = self.reply.num_tokens
        reason = b'"%b"' % self.finish_reason.encode()
        yield self._event(b"{}", total, cache, reason)
        if self.usage_at_the_end:
            usage = orjson.dumps(self._usage(total, cache))
            yield b'data: {%b,"choices":[],"usage":%b}\n\n' % (self._head, usage)
        yield DONE

    def _event(
        self,
        delta: bytes,
        reached: int,
        cache: CacheUse,
        finish_reason: bytes = b"null",
        at_s: float | None = None,
    ) -> bytes:
        more = sim_fields(reached, at_s)
        if self.usage_in_every_chunk:
            more += b',"usage":' + orjson.dumps(self._usage(reached, cache))
        return (
            b'data: {%b,"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]%b}'
            b"\n\n" % (self._head, delta, finish_reason, more)
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

    def _usage(self, completion_tokens: int, cache: CacheUse) -> dict[str, Any]:
        """created_cache_tokens: vLLM's name."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {
                "cached_tokens": cache.read,
                "created_cache_tokens": cache.written,
            },
            "completion_tokens_details": {
                "reasoning_tokens": min(completion_tokens, self.reply.reasoning_tokens)
            },
        }
