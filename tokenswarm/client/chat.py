"""The OpenAI chat completions wire format: request bytes out, stream events in. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tokenswarm.client.sse import NamedEvent

CALL = "/chat/completions"

# How servers call the output tokens that are asked for; OpenAI's newer models know only the last.
OUTPUT_FIELDS = ("max_tokens", "max_completion_tokens")

# Finish reasons that mean an answer was given up: vLLM, SGLang, OpenRouter; the last is DeepSeek's.
_GIVEN_UP = frozenset(("abort", "aborted", "error", "insufficient_system_resource"))
# Cached prompt tokens outside prompt_tokens_details: Moonshot and SGLang; DeepSeek; Anthropic.
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
_MAX_COUNT = 2**53  # what every reader of JSON can hold; beyond it nobody has counted
# What counts as text in a part of content or reasoning: OpenAI, Mistral, OpenRouter.
_PART_TEXTS = ("text", "thinking", "reasoning", "summary")

_OWN_KEYS = frozenset(("model", "stream", "tools", "messages", "min_tokens", *OUTPUT_FIELDS))


UNNAMED_ERROR = "an error without a message"


class MalformedEvent(ValueError):
    """The payload is not JSON, or not a chat completion chunk."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server counted, in tokens; None where it does not say."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None

    def updated(self, later: Usage) -> Usage:
        """What both say: the later count holds, but unknown and 0 replace no count."""
        return Usage(
            _later(self.prompt_tokens, later.prompt_tokens),
            _later(self.cached_tokens, later.cached_tokens),
            _later(self.output_tokens, later.output_tokens),
            _later(self.reasoning_tokens, later.reasoning_tokens),
        )


def _later(known: int | None, later: int | None) -> int | None:
    return later if later or known is None else known


@dataclass(frozen=True, slots=True)
class Delta:
    """What one event of the stream says. Empty strings are no output."""

    has_content: bool = False
    has_reasoning: bool = False
    has_tool_call: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    chunk_tokens: int | None = None  # output tokens so far, this chunk included
    engine_at_s: float | None = None  # when it left, by the embedded engine's clock
    error: str | None = None
    done: bool = False

    @property
    def has_output(self) -> bool:
        return self.has_content or self.has_reasoning or self.has_tool_call


DONE = Delta(done=True)


def opening(model: str, tools: bytes | None, extra: Mapping[str, object]) -> bytes:
    """The body up to and including `"messages":[`; the encoded messages and `closing` follow.

    tools: an encoded JSON array. extra: further request fields; its `stream_options` are joined
    with ours (vLLM: {"continuous_usage_stats": True}). Raises ValueError for a field that is
    set elsewhere or has no JSON form.
    """
    taken = sorted(_OWN_KEYS.intersection(extra))
    if taken:
        raise ValueError(f"extra request fields {', '.join(taken)} are set by tokenswarm itself")
    options = extra.get("stream_options", {})
    if not isinstance(options, Mapping):
        raise ValueError(f"stream_options {options!r} is not a mapping")
    fields = {
        "model": model,
        "stream": True,
        **extra,
        "stream_options": {"include_usage": True, **options},
    }
    try:
        head = orjson.dumps(fields)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"extra request fields {dict(extra)!r}: {error}") from error
    between = b"" if tools is None else b',"tools":' + tools
    return head[:-1] + between + b',"messages":['


def closing(
    max_tokens: int, *, min_tokens: int | None = None, field: str = OUTPUT_FIELDS[0]
) -> bytes:
    """The body after the messages. field: one of OUTPUT_FIELDS, which carries max_tokens."""
    least = "" if min_tokens is None else f',"min_tokens":{min_tokens}'
    return f'],"{field}":{max_tokens}{least}}}'.encode()


def parse(payload: bytes) -> Delta:
    """One event of a streamed answer. Raises MalformedEvent and nothing else."""
    if isinstance(payload, NamedEvent):
        return _named(payload.name, bytes(payload))
    if payload.strip() == b"[DONE]":
        return DONE
    try:
        chunk = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MalformedEvent(f"not JSON: {error}") from None
    chunk = _mapping(chunk, "chunk")
    message = error_message(chunk)
    if message is not None:
        return Delta(error=message)
    return _delta(chunk)


def _named(name: str, payload: bytes) -> Delta:
    """An event with a name: an error, a chunk all the same, or nothing of ours, such as a ping."""
    try:
        delta = parse(payload)
    except MalformedEvent:
        delta = Delta()
    if name != "error" or delta.error is not None:
        return delta
    try:
        said = orjson.loads(payload)
    except orjson.JSONDecodeError:
        said = payload.decode("utf-8", "replace")
    return Delta(error=error_message({"error": said}) or UNNAMED_ERROR)


def error_message(body: Any) -> str | None:
    """The message of an error object as servers write them, None where it is none:
    {"error": {"message": …}}, {"error": "…"} and {"object": "error", "message": …}."""
    if not isinstance(body, dict):
        return None
    error = body if body.get("object") == "error" else body.get("error")
    if not error:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) and message else UNNAMED_ERROR


def _delta(chunk: dict[str, Any]) -> Delta:
    choices = chunk.get("choices")
    usage = _usage(chunk.get("usage"))
    if choices is None and usage is None:
        raise MalformedEvent("neither choices nor usage in the chunk")
    content = reasoning = tool_call = False
    finish_reason: str | None = None
    error: str | None = None
    for choice in _list(choices, "choices"):
        choice = _mapping(choice, "choice")
        delta = _mapping(choice.get("delta"), "delta")
        parts = delta.get("content")
        if isinstance(parts, list):
            visible, thought = _parts(parts)
            content |= visible
            reasoning |= thought
        else:
            content |= _text(delta, "content")
        content |= _text(delta, "refusal")
        reasoning |= (
            _text(delta, "reasoning_content")
            or _text(delta, "reasoning")
            or ("reasoning_details" in delta and _reasons(delta["reasoning_details"]))
        )
        tool_call |= _calls_tool(delta)
        if choice.get("finish_reason"):
            finish_reason, error = _finish(choice)
        elif "error" in choice:
            error = error_message(choice)
        if usage is None and "usage" in choice:  # Moonshot's place for it
            usage = _usage(choice["usage"])
    return Delta(
        has_content=content,
        has_reasoning=reasoning,
        has_tool_call=tool_call,
        finish_reason=finish_reason,
        usage=usage,
        chunk_tokens=_chunk_tokens(chunk, usage),
        engine_at_s=_second(chunk.get("x_sim_at")),
        error=error,
    )


def _finish(choice: dict[str, Any]) -> tuple[str, str | None]:
    """The finish reason, and the message where it means that the answer was given up. SGLang's
    own form is an object: {"type": "abort", "message": …}."""
    reason, said = choice["finish_reason"], error_message(choice)
    if isinstance(reason, dict):
        said = said or error_message({"error": reason.get("message")})
        reason = reason.get("type")
    if not isinstance(reason, str):
        raise MalformedEvent("finish_reason is not a string")
    if said is None and reason not in _GIVEN_UP:
        return reason, None
    return reason, f"finish_reason {reason}" + (f": {said}" if said else "")


def _parts(parts: list[Any]) -> tuple[bool, bool]:
    """Whether a content of several parts holds visible text, and whether it holds reasoning."""
    visible = thought = False
    for part in _texts(parts):
        if part.get("type") in ("thinking", "reasoning"):
            thought = True
        else:
            visible = True
    return visible, thought


def _reasons(details: Any) -> bool:
    return isinstance(details, list) and any(True for _ in _texts(details))


def _texts(parts: list[Any]) -> Iterator[dict[str, Any]]:
    """The parts that hold text."""
    for part in parts:
        if isinstance(part, dict) and any(part.get(name) for name in _PART_TEXTS):
            yield part


def _chunk_tokens(chunk: dict[str, Any], usage: Usage | None) -> int | None:
    """Our engine says it in every chunk; others do where usage comes with every chunk. A server
    that writes 0 beside output has not counted."""
    said = _count(chunk, "x_sim_tokens")
    if said is None and usage is not None:
        said = usage.output_tokens
    return said or None


def _second(said: Any) -> float | None:
    return said if type(said) is float and 0 <= said < math.inf else None


def _calls_tool(delta: dict[str, Any]) -> bool:
    functions = [
        _mapping(_mapping(call, "tool call").get("function"), "function")
        for call in _list(delta.get("tool_calls"), "tool_calls")
    ]
    functions.append(_mapping(delta.get("function_call"), "function_call"))
    # Every one is looked at: the shapes are checked, not only the first that holds output.
    found = [_text(function, "name") | _text(function, "arguments") for function in functions]
    return any(found)


def _usage(said: Any) -> Usage | None:
    """A usage of another shape is unknown: the answer itself stands."""
    if not isinstance(said, dict) or not said:
        return None
    usage: dict[str, Any] = said
    cached = _detail(usage, "prompt_tokens_details", "cached_tokens")
    for name in _CACHED:
        cached = cached or _later(cached, _count(usage, name))
    prompt, output = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    reasoning = _detail(usage, "completion_tokens_details", "reasoning_tokens")
    if reasoning is None:
        reasoning = _count(usage, "reasoning_tokens")
    total = _count(usage, "total_tokens")
    # Some count the reasoning beside the completion, not in it; the total tells.
    if reasoning and None not in (prompt, output, total):
        beside = (total or 0) - (prompt or 0) - (output or 0) == reasoning
        output = (output or 0) + reasoning if beside else output
    return Usage(prompt, cached, output, reasoning)


def _detail(usage: dict[str, Any], place: str, name: str) -> int | None:
    details = usage.get(place)
    return _count(details, name) if isinstance(details, dict) else None


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if value is None and name != "chunk":
        return {}
    if not isinstance(value, dict):
        raise MalformedEvent(f"{name} is not an object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedEvent(f"{name} is not an array")
    return value


def _text(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedEvent(f"{name} is not a string")
    return bool(value)


def _count(fields: dict[str, Any], name: str) -> int | None:
    """None where the value is no whole number of 0 or more; 7.0 is 7."""
    value = fields.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MAX_COUNT else None
