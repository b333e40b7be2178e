"""The OpenAI chat completions wire format: request bytes out, stream events in. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

CALL = "/chat/completions"

# How servers call the output tokens that are asked for; OpenAI's newer models know only the last.
OUTPUT_FIELDS = ("max_tokens", "max_completion_tokens")

_OWN_KEYS = frozenset(("model", "stream", "tools", "messages", "min_tokens", *OUTPUT_FIELDS))


class MalformedEvent(ValueError):
    """The payload is not JSON, or not a chat completion chunk."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server counted, in tokens; None where it does not say."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """What one event of the stream says. Empty strings are no output."""

    has_content: bool = False
    has_reasoning: bool = False
    has_tool_call: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    chunk_tokens: int | None = None  # output tokens so far, this chunk included
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


def error_message(body: Any) -> str | None:
    """The message of an error object as servers write them, None where it is none:
    {"error": {"message": …}}, {"error": "…"} and {"object": "error", "message": …}."""
    if not isinstance(body, dict):
        return None
    error = body if body.get("object") == "error" else body.get("error")
    if not error:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) and message else "an error without a message"


def _delta(chunk: dict[str, Any]) -> Delta:
    choices = chunk.get("choices")
    usage = _usage(chunk.get("usage"))
    if choices is None and usage is None:
        raise MalformedEvent("neither choices nor usage in the chunk")
    content = reasoning = tool_call = False
    finish_reason: str | None = None
    for choice in _list(choices, "choices"):
        choice = _mapping(choice, "choice")
        delta = _mapping(choice.get("delta"), "delta")
        content |= _text(delta, "content") or _text(delta, "refusal")
        reasoning |= _text(delta, "reasoning_content") or _text(delta, "reasoning")
        tool_call |= _calls_tool(delta)
        if _text(choice, "finish_reason"):
            finish_reason = choice["finish_reason"]
    return Delta(
        has_content=content,
        has_reasoning=reasoning,
        has_tool_call=tool_call,
        finish_reason=finish_reason,
        usage=usage,
        chunk_tokens=_chunk_tokens(chunk, usage),
    )


def _chunk_tokens(chunk: dict[str, Any], usage: Usage | None) -> int | None:
    """Our engine says it in every chunk; others do where usage comes with every chunk. A server
    that writes 0 beside output has not counted."""
    said = _count(chunk, "x_sim_tokens")
    if said is None and usage is not None:
        said = usage.output_tokens
    return said or None


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
    usage = _mapping(said, "usage")
    if not usage:
        return None
    prompt = _mapping(usage.get("prompt_tokens_details"), "prompt_tokens_details")
    output = _mapping(usage.get("completion_tokens_details"), "completion_tokens_details")
    cached = _count(prompt, "cached_tokens")
    reasoning = _count(output, "reasoning_tokens")
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens"),
        # Moonshot and SGLang also write these two without the details around them.
        cached_tokens=_count(usage, "cached_tokens") if cached is None else cached,
        output_tokens=_count(usage, "completion_tokens"),
        reasoning_tokens=_count(usage, "reasoning_tokens") if reasoning is None else reasoning,
    )


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
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MalformedEvent(f"{name} is not a count")
    return value
