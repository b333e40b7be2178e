"""The Anthropic Messages wire format: request bytes out, stream events in. Pure.

https://docs.anthropic.com/en/api/messages and …/messages-streaming. vLLM, SGLang, TensorRT-LLM and
llama.cpp serve it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from tokenswarm.client.agent import PLAIN, Agent
from tokenswarm.client.body import encoded_fields
from tokenswarm.client.delta import (
    Delta,
    MalformedEvent,
    Usage,
    count,
    detail,
    error_message,
    finish,
    json_object,
    mapping,
    named_error,
    second,
    text,
)
from tokenswarm.client.sse import NamedEvent
from workload.corpus import ToolCall
from workload.frames import Frame, Frames, frame

CALL = "/messages"
OUTPUT_FIELDS = ("max_tokens",)

_OWN_KEYS = ("model", "stream", "tools", "system", "messages", "min_tokens", *OUTPUT_FIELDS)
# Four in a request at most: tools, system text, and the last two turns, as agents set them.
_CACHE = b',"cache_control":{"type":"ephemeral"}'
_MARKED_TURNS = 2
_NEWLINE = rb"\n"  # in text that is escaped for JSON
# Of a user without an account; Claude Code has a hash and an account before the session.
_USER_ID = "user_tokenswarm_account__session_{}"


def opening(
    model: str,
    tools: Sequence[bytes],
    system: bytes,
    extra: Mapping[str, object],
    *,
    session: str | None = None,
    agent: Agent = PLAIN,
) -> bytes:
    """The body up to the first message, which follows, and then `closing`.

    tools: encoded schemas as chat completions have them; system: JSON-escaped text. session: named
    where the agent does. Raises ValueError as `encoded_fields` does.
    """
    ours: dict[str, object] = {"model": model, "stream": True}
    if agent.named_in_user_id and session is not None:
        ours["metadata"] = {"user_id": _USER_ID.format(session)}
    more = agent.body_fields(extra, tools=bool(tools))
    head = encoded_fields(ours, more, _OWN_KEYS)
    if tools:
        head += b',"tools":' + _tools(tuple(tools))
    if system:
        head += b',"system":[%b]' % _system(system, first_line_apart=agent.first_line_apart)
    return head + b',"messages":['


def _system(text: bytes, *, first_line_apart: bool) -> bytes:
    """One block with a cache mark, or two: an agent's name, and what it is to do."""
    block = b'{"type":"text","text":"%b"%b}'
    end = _first_line_end(text) if first_line_apart else 0
    if end in (0, len(text)):
        return block % (text, _CACHE)
    return block % (text[:end], b"") + b"," + block % (text[end:], _CACHE)


def _first_line_end(text: bytes) -> int:
    """Behind its newline; 0 where there is none. An n behind an escaped backslash is none."""
    at = text.find(_NEWLINE)
    while at >= 0:
        slashes = at - len(text[:at].rstrip(b"\\"))
        if slashes % 2 == 0:
            return at + len(_NEWLINE)
        at = text.find(_NEWLINE, at + 1)
    return 0


@lru_cache(maxsize=8)  # the sets of a run: of a session and of its sub-agents
def _tools(schemas: tuple[bytes, ...]) -> bytes:
    functions = [orjson.loads(schema)["function"] for schema in schemas]
    tools = b",".join(
        orjson.dumps(
            {
                "name": function["name"],
                "description": function.get("description", ""),
                "input_schema": function["parameters"],
            }
        )
        for function in functions
    )
    return b"[%b%b}]" % (tools[:-1], _CACHE)


def _call(call_id: bytes, call: ToolCall) -> bytes:
    return b'{"type":"tool_use","id":"%b","name":"%b","input":%b}' % (
        call_id,
        call.name.encode(),
        call.arguments,
    )


def _result(call_id: bytes) -> Frame:
    return frame(
        b'{"role":"user","content":[{"type":"tool_result","tool_use_id":"%b","content":"' % call_id,
        b'"',
        _CACHE,
        b"}]}",
    )


FRAMES = Frames(
    user=frame(b'{"role":"user","content":[{"type":"text","text":"', b'"', _CACHE, b"}]}"),
    reply=(b',{"role":"assistant","content":[', b"]}"),
    # A signature proves that the model wrote it; an engine of one's own does not ask.
    reasoning=frame(b'{"type":"thinking","signature":"","thinking":"', b'"}'),
    text=frame(b'{"type":"text","text":"', b'"}'),
    always_text=False,
    call=_call,
    result=_result,
    marks=_MARKED_TURNS,
)


def parse(payload: bytes) -> Delta:
    """One event of a streamed answer. Raises MalformedEvent and nothing else."""
    name = payload.name if isinstance(payload, NamedEvent) else ""
    if name == "ping":
        return Delta()
    if name == "error":
        return Delta(error=named_error(payload))
    event = json_object(payload)
    kind = event.get("type")
    error = error_message(event)
    if error is not None:
        return Delta(error=error)
    if not isinstance(kind, str):
        raise MalformedEvent("an event without a type")
    if kind == "content_block_delta":
        return _block_delta(event)
    if kind == "content_block_start":
        return _block_start(event)
    if kind == "message_start":
        return Delta(usage=_usage(mapping(event.get("message"), "message").get("usage")))
    if kind == "message_delta":
        return _message_delta(event)
    return Delta(done=kind == "message_stop")  # others come and go: ping, content_block_stop, …


def _block_delta(event: dict[str, Any]) -> Delta:
    delta = mapping(event.get("delta"), "delta")
    return Delta(
        has_content=text(delta, "text"),
        has_reasoning=text(delta, "thinking"),  # a signature_delta is nothing that a model says
        has_tool_call=text(delta, "partial_json"),
        chunk_tokens=count(event, "x_sim_tokens"),
        engine_at_s=second(event, "x_sim_at"),
    )


def _block_start(event: dict[str, Any]) -> Delta:
    """Blocks begin empty, but for one that comes whole."""
    block = mapping(event.get("content_block"), "content_block")
    calls = block.get("type") in ("tool_use", "server_tool_use") and text(block, "name")
    return Delta(
        has_content=text(block, "text"),
        has_reasoning=text(block, "thinking") or block.get("type") == "redacted_thinking",
        opens_call=calls,
        chunk_tokens=count(event, "x_sim_tokens"),
    )


def _message_delta(event: dict[str, Any]) -> Delta:
    reason = mapping(event.get("delta"), "delta").get("stop_reason")
    if reason is not None and not isinstance(reason, str):
        raise MalformedEvent("stop_reason is not a string")
    return Delta(
        finish_reason=reason or None,
        usage=_usage(event.get("usage")),
        error=finish(reason, None) if reason else None,
    )


def _usage(said: Any) -> Usage | None:
    """prompt = input_tokens + cache_read_input_tokens + cache_creation_input_tokens: input_tokens
    alone is what no cache had to do with. llama.cpp says all three at the start and only the output
    at the end; vLLM the total at the start, and all three at the end: `Usage.updated` fits both."""
    if not isinstance(said, dict) or not said:
        return None
    rest = count(said, "input_tokens")
    cached = count(said, "cache_read_input_tokens")
    written = count(said, "cache_creation_input_tokens")
    return Usage(
        prompt_tokens=None if rest is None else rest + (cached or 0) + (written or 0),
        cached_tokens=cached,
        output_tokens=count(said, "output_tokens"),
        reasoning_tokens=detail(said, "output_tokens_details", "thinking_tokens"),
        cache_written_tokens=written,
    )
