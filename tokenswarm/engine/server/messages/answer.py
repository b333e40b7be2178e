"""The Anthropic Messages answer. https://docs.anthropic.com/en/api/messages-streaming"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tokenswarm.engine.server.answer import Answer, CacheUse, Part, parts, sim_fields
from tokenswarm.engine.server.errors import ApiError
from tokenswarm.engine.server.messages.request import encoded

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}
_DELTAS = {
    "reasoning": b'"thinking_delta","thinking":"%b"',
    "text": b'"text_delta","text":"%b"',
    "call": b'"input_json_delta","partial_json":"%b"',
}
# https://docs.anthropic.com/en/api/errors, by status.
_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_SIGNATURE = "c2ltdWxhdGVk"  # "simulated" in base64: clients keep it and send it back


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesAnswer(Answer):
    """A message of content blocks, one for each kind of output, in the order of the reply."""

    def history(self) -> Mapping[str, Any]:
        """The input of a call comes back as an object, whatever white space it was written with."""
        message = self.reply.message()
        for call in message.get("tool_calls", ()):
            function = call["function"]
            function["arguments"] = encoded(orjson.loads(function["arguments"]))
        return message

    def opening(self, cache: CacheUse) -> bytes:
        message = self._message([], None, self._usage(0, cache))
        return _event("message_start", {"message": message}) + _event("ping", {})

    def event(self, first: int, last: int, cache: CacheUse, at_s: float | None = None) -> bytes:
        return b"".join(self._of_part(part, at_s) for part in parts(self.reply, first, last))

    def closing(self, cache: CacheUse) -> bytes:
        delta = {"stop_reason": self._reason, "stop_sequence": None}
        usage = self._usage(self.reply.num_tokens, cache)
        last = _event("message_delta", {"delta": delta, "usage": usage})
        return last + _event("message_stop", {})

    def whole(self, cache: CacheUse) -> bytes:
        content = [
            self._block(part, whole=True) for part in parts(self.reply, 0, self.reply.num_tokens)
        ]
        usage = self._usage(self.reply.num_tokens, cache)
        return orjson.dumps(self._message(content, self._reason, usage))

    @property
    def _reason(self) -> str:
        return "tool_use" if self.reply.tool is not None else _STOP_REASONS[self.stop_reason]

    def _of_part(self, part: Part, at_s: float | None) -> bytes:
        """A block's delta, with its start and stop where they fall into it."""
        written = b""
        if part.opens:
            block = self._block(part, whole=False)
            written = _event("content_block_start", {"index": part.index, "content_block": block})
        written += (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":%b}%b}\n\n'
            % (part.index, _DELTAS[part.kind] % self._escaped(part), sim_fields(part.last, at_s))
        )
        if part.closes:
            if part.kind == "reasoning":
                signed = {"type": "signature_delta", "signature": _SIGNATURE}
                written += _event("content_block_delta", {"index": part.index, "delta": signed})
            written += _event("content_block_stop", {"index": part.index})
        return written

    def _escaped(self, part: Part) -> bytes:
        if part.kind == "call":
            return self.reply.arguments(part.first, part.last)
        return self.reply.escaped_text(part.first, part.last)

    def _block(self, part: Part, *, whole: bool) -> dict[str, Any]:
        """A content block, whole or as it begins: empty."""
        text = orjson.loads(b'"%b"' % self._escaped(part)) if whole else ""
        if part.kind == "text":
            return {"type": "text", "text": text}
        if part.kind == "reasoning":
            return {"type": "thinking", "thinking": text, "signature": _SIGNATURE if whole else ""}
        given = orjson.loads(text) if whole else {}
        reply = self.reply
        return {"type": "tool_use", "id": reply.call_id, "name": reply.tool, "input": given}

    def _message(
        self, content: list[Any], stop_reason: str | None, usage: dict[str, int]
    ) -> dict[str, Any]:
        return {
            "id": f"msg_sim_{self.number}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": usage,
        }

    def _usage(self, output_tokens: int, cache: CacheUse) -> dict[str, int]:
        """input_tokens is what the cache had nothing to do with; the prompt is all three."""
        return {
            "input_tokens": self.prompt_tokens - cache.read - cache.written,
            "cache_creation_input_tokens": cache.written,
            "cache_read_input_tokens": cache.read,
            "output_tokens": output_tokens,
        }


def error_body(error: ApiError) -> bytes:
    """In Anthropic's form: {"type": "error", "error": {"type", "message"}}."""
    fallback = "api_error" if error.status >= 500 else "invalid_request_error"
    said = {"type": _ERROR_TYPES.get(error.status, fallback), "message": str(error)}
    return orjson.dumps({"type": "error", "error": said})


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))
