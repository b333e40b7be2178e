"""The OpenAI chat completions wire format: request bytes out, stream events in. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenswarm.client.agent import PLAIN, Agent
from tokenswarm.client.body import encoded_fields
from tokenswarm.client.delta import (
    DONE,
    Delta,
    MalformedEvent,
    Usage,
    array,
    count,
    detail,
    error_message,
    finish,
    json_object,
    later,
    mapping,
    named_error,
    second,
    text,
)
from tokenswarm.client.sse import NamedEvent
from workload.corpus import ToolCall
from workload.frames import Frame, Frames, frame

CALL = "/chat/completions"

# How servers call the output tokens that are asked for; OpenAI's newer models know only the last.
OUTPUT_FIELDS = ("max_tokens", "max_completion_tokens")

# Cached prompt tokens outside prompt_tokens_details: Moonshot and SGLang; DeepSeek; Anthropic.
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
# Prompt tokens that the cache keeps from now on, in the details: vLLM; OpenRouter.
_WRITTEN = ("created_cache_tokens", "cache_write_tokens")
# What counts as text in a part of content or reasoning: OpenAI, Mistral, OpenRouter.
_PART_TEXTS = ("text", "thinking", "reasoning", "summary")

_OWN_KEYS = frozenset(("model", "stream", "tools", "messages", "min_tokens", *OUTPUT_FIELDS))


def opening(
    model: str,
    tools: Sequence[bytes],
    system: bytes,
    extra: Mapping[str, object],
    *,
    session: str | None = None,
    agent: Agent = PLAIN,
) -> bytes:
    """The body up to the first message of the user, which follows, and then `closing`.

    tools: encoded schemas; system: JSON-escaped text. extra: further request fields; its
    `stream_options` are joined with ours (vLLM: {"continuous_usage_stats": True}). session: this
    dialect's body does not name it. Raises ValueError for a field that is set elsewhere or has no
    JSON form.
    """
    extra = agent.body_fields(extra, tools=bool(tools))
    options = extra.get("stream_options", {})
    if not isinstance(options, Mapping):
        raise ValueError(f"stream_options {options!r} is not a mapping")
    options = {"include_usage": True, **options}
    ours = {"model": model, "stream": True}
    head = encoded_fields(ours, {**extra, "stream_options": options}, _OWN_KEYS)
    if tools:
        head += b',"tools":[%b]' % b",".join(tools)
    head += b',"messages":['
    return head + b'{"role":"system","content":"%b"},' % system if system else head


def _call(call_id: bytes, call: ToolCall) -> bytes:
    return (
        b'"tool_calls":[{"id":"%b","type":"function","function":{"name":"%b","arguments":"%b"}}]'
        % (call_id, call.name.encode(), call.escaped)
    )


def _result(call_id: bytes) -> Frame:
    return frame(b'{"role":"tool","tool_call_id":"%b","content":"' % call_id, b'"}')


FRAMES = Frames(
    user=frame(b'{"role":"user","content":"', b'"}'),
    reply=(b',{"role":"assistant",', b"}"),
    reasoning=frame(b'"reasoning_content":"', b'"'),
    text=frame(b'"content":"', b'"'),
    always_text=True,
    call=_call,
    result=_result,
)


def parse(payload: bytes) -> Delta:
    """One event of a streamed answer. Raises MalformedEvent and nothing else."""
    if isinstance(payload, NamedEvent):
        return _named(payload.name, bytes(payload))
    if payload.strip() == b"[DONE]":
        return DONE
    chunk = json_object(payload)
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
    return Delta(error=named_error(payload))


def _delta(chunk: dict[str, Any]) -> Delta:
    choices = chunk.get("choices")
    usage = _usage(chunk.get("usage"))
    if choices is None and usage is None:
        raise MalformedEvent("neither choices nor usage in the chunk")
    content = reasoning = tool_call = False
    finish_reason: str | None = None
    error: str | None = None
    for choice in array(choices, "choices"):
        choice = mapping(choice, "choice")
        delta = mapping(choice.get("delta"), "delta")
        parts = delta.get("content")
        if isinstance(parts, list):
            visible, thought = _parts(parts)
            content |= visible
            reasoning |= thought
        else:
            content |= text(delta, "content")
        content |= text(delta, "refusal")
        reasoning |= (
            text(delta, "reasoning_content")
            or text(delta, "reasoning")
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
        engine_at_s=second(chunk, "x_sim_at"),
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
    return reason, finish(reason, said)


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
    said = count(chunk, "x_sim_tokens")
    if said is None and usage is not None:
        said = usage.output_tokens
    return said or None


def _calls_tool(delta: dict[str, Any]) -> bool:
    functions = [
        mapping(mapping(call, "tool call").get("function"), "function")
        for call in array(delta.get("tool_calls"), "tool_calls")
    ]
    functions.append(mapping(delta.get("function_call"), "function_call"))
    # Every one is looked at: the shapes are checked, not only the first that holds output.
    found = [text(function, "name") | text(function, "arguments") for function in functions]
    return any(found)


def _usage(said: Any) -> Usage | None:
    """A usage of another shape is unknown: the answer itself stands."""
    if not isinstance(said, dict) or not said:
        return None
    usage: dict[str, Any] = said
    cached = detail(usage, "prompt_tokens_details", "cached_tokens")
    for name in _CACHED:
        cached = cached or later(cached, count(usage, name))
    written = count(usage, "cache_creation_input_tokens")
    for name in _WRITTEN:
        written = later(written, detail(usage, "prompt_tokens_details", name))
    prompt, output = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    reasoning = detail(usage, "completion_tokens_details", "reasoning_tokens")
    if reasoning is None:
        reasoning = count(usage, "reasoning_tokens")
    total = count(usage, "total_tokens")
    # Some count the reasoning beside the completion, not in it; the total tells.
    if reasoning and None not in (prompt, output, total):
        beside = (total or 0) - (prompt or 0) - (output or 0) == reasoning
        output = (output or 0) + reasoning if beside else output
    return Usage(prompt, cached, output, reasoning, written)
