"""The OpenAI Responses wire format: request bytes out, stream events in. Pure.

https://platform.openai.com/docs/api-reference/responses-streaming. Codex speaks nothing else; vLLM,
SGLang, TensorRT-LLM and llama.cpp serve it too. The whole transcript goes out each turn, as Codex
sends it: nothing is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from tokenswarm.client.agent import PLAIN, Agent
from tokenswarm.client.body import encoded_fields
from tokenswarm.client.delta import (
    DONE,
    UNNAMED_ERROR,
    Delta,
    MalformedEvent,
    Usage,
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

CALL = "/responses"
OUTPUT_FIELDS = ("max_output_tokens",)

_OWN_KEYS = ("model", "stream", "tools", "instructions", "input", "min_tokens", *OUTPUT_FIELDS)
_CONTENT = ("response.output_text.delta", "response.refusal.delta")
_REASONING = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")
_ARGUMENTS = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")
_CALLS = ("function_call", "custom_tool_call")
_ENDS = ("response.completed", "response.incomplete")
# Codex's place for its instructions; every item names its type.
_DEVELOPER = b'{"type":"message","role":"developer","content":[{"type":"input_text","text":"%b"}]},'
# Of no interest, and vLLM repeats the instructions in them: lines as long as the prompt.
_ECHOES = ("response.created", "response.in_progress", "response.queued")


def opening(
    model: str,
    tools: Sequence[bytes],
    system: bytes,
    extra: Mapping[str, object],
    *,
    session: str | None = None,
    agent: Agent = PLAIN,
) -> bytes:
    """The body up to the first item of the input, which follows, and then `closing`.

    tools: encoded schemas as chat completions have them; system: JSON-escaped text. session: goes
    in as prompt_cache_key. Raises ValueError as `encoded_fields` does.
    """
    key = {} if session is None else {"prompt_cache_key": session}
    ours = {"model": model, "stream": True, "store": False, **key}
    more = agent.body_fields(extra, tools=bool(tools))
    head = encoded_fields(ours, more, _OWN_KEYS)
    if system and not agent.system_in_input:
        head += b',"instructions":"%b"' % system
    if tools:
        head += b',"tools":' + _tools(tuple(tools), strict_said=agent.strict_said)
    head += b',"input":['
    return head + _DEVELOPER % system if system and agent.system_in_input else head


@lru_cache(maxsize=8)  # the sets of a run: of a session and of its sub-agents
def _tools(schemas: tuple[bytes, ...], *, strict_said: bool) -> bytes:
    """The function's fields beside its type."""
    strict = {"strict": False} if strict_said else {}
    flat = (
        {"type": "function", **orjson.loads(schema)["function"], **strict} for schema in schemas
    )
    return b"[%b]" % b",".join(map(orjson.dumps, flat))


def _call(call_id: bytes, call: ToolCall) -> bytes:
    return b'{"type":"function_call","call_id":"%b","name":"%b","arguments":"%b"}' % (
        call_id,
        call.name.encode(),
        call.escaped,
    )


def _result(call_id: bytes) -> Frame:
    begin = b'{"type":"function_call_output","call_id":"%b","output":"' % call_id
    return frame(begin, b'"}')


# Every item names its type: llama.cpp refuses one that does not.
FRAMES = Frames(
    user=frame(
        b'{"type":"message","role":"user","content":[{"type":"input_text","text":"', b'"}]}'
    ),
    reply=(b",", b""),
    reasoning=frame(
        b'{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"', b'"}]}'
    ),
    text=frame(
        b'{"type":"message","role":"assistant","content":[{"type":"output_text","text":"', b'"}]}'
    ),
    always_text=False,
    call=_call,
    result=_result,
)


def parse(payload: bytes) -> Delta:
    """One event of a streamed answer. Raises MalformedEvent and nothing else."""
    name = payload.name if isinstance(payload, NamedEvent) else ""
    if name in _ECHOES or name == "ping":
        return Delta()
    if name == "error":
        return Delta(error=named_error(payload))
    if payload.strip() == b"[DONE]":
        return DONE
    event = json_object(payload)
    kind = event.get("type")
    error = error_message(event)
    if error is not None:
        return Delta(error=error)
    if not isinstance(kind, str):
        raise MalformedEvent("an event without a type")
    if kind.endswith(".delta"):
        said = text(event, "delta")
        return Delta(
            has_content=said and kind in _CONTENT,
            has_reasoning=said and kind in _REASONING,
            has_tool_call=said and kind in _ARGUMENTS,
            chunk_tokens=count(event, "x_sim_tokens"),
            engine_at_s=second(event, "x_sim_at"),
        )
    if kind == "response.output_item.added":
        calls = mapping(event.get("item"), "item").get("type") in _CALLS
        return Delta(opens_call=calls, chunk_tokens=count(event, "x_sim_tokens"))
    if kind in _ENDS:
        return _end(mapping(event.get("response"), "response"))
    if kind == "response.failed":
        return Delta(error=error_message(event.get("response")) or UNNAMED_ERROR)
    return Delta()  # the rest repeats what was said


def _end(response: dict[str, Any]) -> Delta:
    """At the token limit vLLM sends "response.completed" with status "incomplete", too."""
    status = response.get("status")
    reason = mapping(response.get("incomplete_details"), "incomplete_details").get("reason")
    said = reason or status or "completed"
    if not isinstance(said, str):
        raise MalformedEvent("neither status nor reason of the end is a string")
    return Delta(
        finish_reason=said, usage=_usage(response.get("usage")), error=finish(said, None), done=True
    )


def _usage(said: Any) -> Usage | None:
    if not isinstance(said, dict) or not said:
        return None
    written = detail(said, "input_tokens_details", "cache_write_tokens")
    return Usage(
        prompt_tokens=count(said, "input_tokens"),
        cached_tokens=detail(said, "input_tokens_details", "cached_tokens"),
        output_tokens=count(said, "output_tokens"),
        reasoning_tokens=detail(said, "output_tokens_details", "reasoning_tokens"),
        cache_written_tokens=later(
            written, detail(said, "input_tokens_details", "created_cache_tokens")
        ),
    )
