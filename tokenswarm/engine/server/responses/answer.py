"""The OpenAI Responses answer.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson

from tokenswarm.engine.server.answer import Answer, CacheUse, Part, parts, sim_fields

_PREFIXES = {"reasoning": "rs", "text": "msg", "call": "fc"}
_DELTAS = {
    "reasoning": "response.reasoning_text",
    "text": "response.output_text",
    "call": "response.function_call_arguments",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponsesAnswer(Answer):
    """A response of items, one for each kind of output, in the order of the reply."""

    _event_numbers: count[int] = field(default_factory=count)

    def opening(self, cache: CacheUse) -> bytes:
        begun = self._response("in_progress", [], None)
        kinds = ("response.created", "response.in_progress")
        return b"".join(self._event(kind, {"response": begun}) for kind in kinds)

    def event(self, first: int, last: int, cache: CacheUse, at_s: float | None = None) -> bytes:
        cut = parts(self.reply, first, last)
        return b"".join(written for part in cut for written in self._of_part(part, at_s))

    def closing(self, cache: CacheUse) -> bytes:
        return self._event(f"response.{self._status}", {"response": self._ended(cache)})

    def whole(self, cache: CacheUse) -> bytes:
        return orjson.dumps(self._ended(cache))

    @property
    def _status(self) -> str:
        return "incomplete" if self.stop_reason == "length" else "completed"

    def _of_part(self, part: Part, at_s: float | None) -> Iterator[bytes]:
        """A delta, with the events around its item where the item begins or ends in it."""
        place = {"output_index": part.index}
        inner = {"item_id": self._item_id(part), **place}
        if part.kind != "call":
            inner["content_index"] = 0
        if part.opens:
            item = self._item(part, "in_progress", None)
            yield self._event("response.output_item.added", {**place, "item": item})
            if part.kind != "call":
                empty = _content(part, "")
                yield self._event("response.content_part.added", {**inner, "part": empty})
        yield self._delta(part, inner, at_s)
        if part.closes:
            yield from self._done(part, place, inner)

    def _delta(self, part: Part, inner: dict[str, Any], at_s: float | None) -> bytes:
        kind = f"{_DELTAS[part.kind]}.delta".encode()
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b,"delta":"%b"%b}\n\n' % (
            kind,
            kind,
            next(self._event_numbers),
            orjson.dumps(inner)[1:-1],
            self._escaped(part.kind, part.first, part.last),
            sim_fields(part.last, at_s),
        )

    def _done(self, part: Part, place: dict[str, Any], inner: dict[str, Any]) -> Iterator[bytes]:
        text = self._whole_text(part.kind)
        calls = part.kind == "call"
        said = {"arguments": text, "name": self.reply.tool} if calls else {"text": text}
        yield self._event(f"{_DELTAS[part.kind]}.done", {**inner, **said})
        if not calls:
            yield self._event("response.content_part.done", {**inner, "part": _content(part, text)})
        item = self._item(part, "completed", text)
        yield self._event("response.output_item.done", {**place, "item": item})

    def _ended(self, cache: CacheUse) -> dict[str, Any]:
        items = [
            self._item(part, "completed", self._whole_text(part.kind))
            for part in parts(self.reply, 0, self.reply.num_tokens)
        ]
        return self._response(self._status, items, self._usage(cache))

    def _whole_text(self, kind: str) -> str:
        start, end = {
            "reasoning": (0, self.reply.reasoning_tokens),
            "text": (self.reply.reasoning_tokens, self.reply.call_start),
            "call": (self.reply.call_start, self.reply.num_tokens),
        }[kind]
        text: str = orjson.loads(b'"%b"' % self._escaped(kind, start, end))
        return text

    def _escaped(self, kind: str, first: int, last: int) -> bytes:
        reply = self.reply
        return (reply.arguments if kind == "call" else reply.escaped_text)(first, last)

    def _item_id(self, part: Part) -> str:
        return f"{_PREFIXES[part.kind]}_sim_{self.number}"

    def _item(self, part: Part, status: str, text: str | None) -> dict[str, Any]:
        """An item of the output; text: None where it has just begun."""
        item: dict[str, Any] = {"id": self._item_id(part)}
        content = [] if text is None else [_content(part, text)]
        if part.kind == "reasoning":
            return {**item, "type": "reasoning", "summary": [], "content": content}
        item["status"] = status
        if part.kind == "text":
            return {**item, "type": "message", "role": "assistant", "content": content}
        call = {"call_id": self.reply.call_id, "name": self.reply.tool, "arguments": text or ""}
        return {**item, "type": "function_call", **call}

    def _response(
        self, status: str, output: list[Any], usage: dict[str, Any] | None
    ) -> dict[str, Any]:
        reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": f"resp_sim_{self.number}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": reason,
            "model": self.model,
            "output": output,
            "parallel_tool_calls": False,
            "store": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage,
        }

    def _usage(self, cache: CacheUse) -> dict[str, Any]:
        """cache_write_tokens: vLLM's name."""
        output = self.reply.num_tokens
        return {
            "input_tokens": self.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": cache.read,
                "cache_write_tokens": cache.written,
            },
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": self.reply.reasoning_tokens},
            "total_tokens": self.prompt_tokens + output,
        }

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        numbered = {"type": kind, "sequence_number": next(self._event_numbers), **fields}
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(numbered))


def _content(part: Part, text: str) -> dict[str, Any]:
    if part.kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
