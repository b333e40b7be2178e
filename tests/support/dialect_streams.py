"""One scripted answer in each dialect: the events as real servers of it order them.

A *chunk* is what one write of the server holds: an output delta, with the events that announce it
where the kind of output changes. `begin` is what comes before any output, and holds none itself,
though a block of the first kind may be opened in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

KINDS = ("content", "reasoning", "call")


def named(payload: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (
        str(payload["type"]).encode(),
        json.dumps(payload).encode(),
    )


def unnamed(payload: object) -> bytes:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return b"data: %b\n\n" % data


class ChatStream:
    dialect = "chat"

    def begin(self, kind: str) -> bytes:
        return self._choice({"role": "assistant", "content": ""})

    def chunk(self, kind: str, text: str, tokens: int | None = None) -> bytes:
        delta: dict[str, object] = {"content": text}
        if kind == "reasoning":
            delta = {"reasoning_content": text}
        elif kind == "call":
            delta = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
        return self._choice(delta, tokens=tokens)

    def end(self) -> bytes:
        return self._choice({}, finish="stop")

    def usage(self, prompt: int, cached: int, output: int) -> bytes:
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        return unnamed({"choices": [], "usage": usage}) + unnamed(b"[DONE]")

    def _choice(
        self, delta: dict[str, object], finish: str | None = None, tokens: int | None = None
    ) -> bytes:
        said = {} if tokens is None else {"x_sim_tokens": tokens}
        return unnamed({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **said})


class MessagesStream:
    dialect = "messages"
    _blocks = {
        "content": {"type": "text", "text": ""},
        "reasoning": {"type": "thinking", "thinking": "", "signature": ""},
        "call": {"type": "tool_use", "id": "toolu_1", "name": "grep", "input": {}},
    }
    _deltas = {
        "content": ("text_delta", "text"),
        "reasoning": ("thinking_delta", "thinking"),
        "call": ("input_json_delta", "partial_json"),
    }

    def __init__(self) -> None:
        self._index = -1
        self._kind = ""

    def begin(self, kind: str) -> bytes:
        # vLLM: the total, without a word of the cache; the end has all three.
        usage = {"input_tokens": 200, "output_tokens": 0}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "usage": usage}
        start = named({"type": "message_start", "message": message})
        return start + named({"type": "ping"}) + b"".join(self._turn_to(kind))

    def chunk(self, kind: str, text: str, tokens: int | None = None) -> bytes:
        name, field = self._deltas[kind]
        said = {} if tokens is None else {"x_sim_tokens": tokens}
        delta = {"type": "content_block_delta", "delta": {"type": name, field: text}, **said}
        return b"".join(self._turn_to(kind)) + named({**delta, "index": self._index})

    def end(self) -> bytes:
        delta = {"type": "signature_delta", "signature": "abc"}
        signed = named({"type": "content_block_delta", "index": self._index, "delta": delta})
        return signed + named({"type": "content_block_stop", "index": self._index})

    def usage(self, prompt: int, cached: int, output: int) -> bytes:
        usage = {
            "input_tokens": prompt - cached - 10,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 10,
            "output_tokens": output,
        }
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        last = named({"type": "message_delta", "delta": delta, "usage": usage})
        return last + named({"type": "message_stop"})

    def _turn_to(self, kind: str) -> Iterator[bytes]:
        if kind == self._kind:
            return
        if self._kind:
            yield named({"type": "content_block_stop", "index": self._index})
        self._index, self._kind = self._index + 1, kind
        block = self._blocks[kind]
        yield named({"type": "content_block_start", "index": self._index, "content_block": block})


class ResponsesStream:
    dialect = "responses"
    _items = {
        "content": {"type": "message", "role": "assistant", "content": []},
        "reasoning": {"type": "reasoning", "summary": []},
        "call": {"type": "function_call", "call_id": "c", "name": "grep", "arguments": ""},
    }
    _deltas = {
        "content": "response.output_text.delta",
        "reasoning": "response.reasoning_text.delta",
        "call": "response.function_call_arguments.delta",
    }

    def __init__(self) -> None:
        self._index = -1
        self._kind = ""

    def begin(self, kind: str) -> bytes:
        response = {"id": "resp_1", "status": "in_progress", "instructions": "You are " * 10_000}
        echoes = ("response.created", "response.in_progress")
        begun = b"".join(named({"type": echo, "response": response}) for echo in echoes)
        return begun + b"".join(self._turn_to(kind))

    def chunk(self, kind: str, text: str, tokens: int | None = None) -> bytes:
        said = {} if tokens is None else {"x_sim_tokens": tokens}
        delta = {"type": self._deltas[kind], "output_index": self._index, "delta": text, **said}
        return b"".join(self._turn_to(kind)) + named(delta)

    def end(self) -> bytes:
        done = self._deltas[self._kind].replace(".delta", ".done")
        text = named({"type": done, "text": "all of it", "arguments": "{}"})
        return text + named({"type": "response.output_item.done", "output_index": self._index})

    def usage(self, prompt: int, cached: int, output: int) -> bytes:
        usage = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 10},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        response = {"id": "resp_1", "status": "completed", "usage": usage}
        return named({"type": "response.completed", "response": response})

    def _turn_to(self, kind: str) -> Iterator[bytes]:
        if kind == self._kind:
            return
        if self._kind:
            yield named({"type": "response.output_item.done", "output_index": self._index})
        self._index, self._kind = self._index + 1, kind
        added = {"type": "response.output_item.added", "output_index": self._index}
        yield named({**added, "item": self._items[kind]})


STREAMS = {stream.dialect: stream for stream in (ChatStream, MessagesStream, ResponsesStream)}
