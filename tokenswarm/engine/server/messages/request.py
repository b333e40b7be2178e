"""The Anthropic Messages request: bytes in, Request or an error out. Pure.

https://docs.anthropic.com/en/api/messages. Blocks become the messages of chat completions: tool
results those of the role `tool`, a thinking block `reasoning_content`. Cache marks are dropped:
this cache keeps everything, as those of vLLM and SGLang do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from tokenswarm.engine.server.errors import ApiError, invalid
from tokenswarm.engine.server.fields import (
    COUNT,
    FLAG,
    MODEL,
    Rule,
    at_least,
    between,
    check,
    filled_list,
    json_object,
    objects,
    of_type,
    one_of,
)
from tokenswarm.engine.server.request import (
    Request,
    function_names,
    named_function,
    text_content,
)

# output_config.effort, by the names of `reply_text.EFFORTS`; "max" is above them all.
_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "xhigh"}


def parse_request(body: bytes) -> Request:
    """Raises ApiError (400) for anything that is not a Messages request."""
    fields = json_object(body)
    check(fields, (*_REQUIRED, ("max_tokens", at_least(1), COUNT)), _OPTIONAL)
    return _request(fields, fields["max_tokens"])


def parse_count(body: bytes) -> Request:
    """As `parse_request`, for `/v1/messages/count_tokens`, which takes no max_tokens."""
    fields = json_object(body)
    check(fields, _REQUIRED, _OPTIONAL)
    return _request(fields, None)


def _request(fields: dict[str, Any], max_tokens: int | None) -> Request:
    tools = [_tool(tool) for tool in fields.get("tools") or ()]
    effort, budget = _reasoning(fields, max_tokens)
    return Request(
        model=fields["model"],
        messages=_messages(fields.get("system"), fields["messages"]),
        tools=tools,
        tool_choice=_tool_choice(fields.get("tool_choice"), tools),
        max_tokens=max_tokens,
        reasoning_effort=effort,
        reasoning_budget=budget,
        stream=fields.get("stream") or False,
    )


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool of the client's own as a function; one of the server's own only counts as text."""
    if "input_schema" not in tool:
        return _unmarked(tool)
    described = {"description": tool["description"]} if "description" in tool else {}
    function = {"name": tool.get("name"), **described, "parameters": tool["input_schema"]}
    return {"type": "function", "function": function}


def _tool_choice(choice: Any, tools: list[Any]) -> Any:
    kind = "auto" if choice is None else choice.get("type")
    if kind in ("auto", "none"):
        return kind
    offered = function_names(tools)
    if kind == "any" and offered:
        return "required"
    if kind == "tool" and choice.get("name") in offered:
        return named_function(choice["name"])
    accepted = '{"type": "auto"}, "none", "any" or {"type": "tool", "name": …} of a tool in tools'
    raise invalid("tool_choice", choice, accepted)


def _reasoning(fields: dict[str, Any], max_tokens: int | None) -> tuple[str | None, int | None]:
    """Effort and budget; None where the request leaves it to the engine."""
    thinking = fields.get("thinking") or {}
    wanted: Any = (fields.get("output_config") or {}).get("effort")
    effort = _EFFORTS.get(wanted)
    kind = thinking.get("type")
    if kind == "disabled":
        return "none", None
    if kind != "enabled":
        return effort, None
    budget: Any = thinking.get("budget_tokens")
    if not at_least(1)(budget) or (max_tokens is not None and budget >= max_tokens):
        raise invalid("thinking.budget_tokens", budget, "at least 1 and below max_tokens")
    return effort, budget


def _messages(system: Any, messages: list[Any]) -> list[dict[str, Any]]:
    found = [] if not system else [{"role": "system", "content": _content(system)}]
    for message in messages:
        found.extend(_message(message))
    return found


def _message(message: Any) -> Iterator[dict[str, Any]]:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("user", "assistant"):
        raise _malformed("each must be an object with the role user or assistant")
    content = message.get("content")
    if isinstance(content, str):
        yield {"role": role, "content": content}
    elif role == "user":
        yield from _heard(_blocks(content))
    else:
        yield _said(_blocks(content))


def _heard(blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A message of the user: results of tools, and what is said beside them."""
    beside: list[dict[str, Any]] = []
    for block in blocks:
        if block["type"] != "tool_result":
            beside.append(block)
            continue
        if beside:
            yield {"role": "user", "content": _content(beside)}
            beside = []
        result = _content(block.get("content") or "")
        yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": result}
    if beside:
        yield {"role": "user", "content": _content(beside)}


def _said(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    thought = "".join(_text(block, "thinking") for block in blocks if block["type"] == "thinking")
    shown = [b for b in blocks if b["type"] not in ("thinking", "redacted_thinking", "tool_use")]
    calls = [_call(block) for block in blocks if block["type"] == "tool_use"]
    message = {"role": "assistant", "content": _content(shown) if shown else None}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = block.get("input")
    if not isinstance(arguments, dict):
        raise _malformed("the input of a tool_use block must be an object")
    function = {"name": block.get("name"), "arguments": encoded(arguments)}
    return {"id": block.get("id"), "type": "function", "function": function}


def encoded(arguments: dict[str, Any]) -> str:
    """A call's input as the text that chat completions have."""
    try:
        return orjson.dumps(arguments).decode()
    except orjson.JSONEncodeError as error:  # nested deeper than orjson writes
        raise _malformed(str(error)) from None


def _content(content: Any) -> Any:
    """Text or blocks as chat completions have them."""
    if isinstance(content, str):
        return content
    blocks = _blocks(content)
    texts = [_text(block, "text") for block in blocks if block["type"] == "text"]
    return text_content(texts, [_unmarked(block) for block in blocks if block["type"] != "text"])


def _blocks(content: Any) -> list[dict[str, Any]]:
    if not objects(content) or not all(isinstance(b.get("type"), str) for b in content):
        raise _malformed("content must be a string or a list of blocks, each with a type")
    blocks: list[dict[str, Any]] = content
    return blocks


def _text(block: dict[str, Any], name: str) -> str:
    text = block.get(name)
    if not isinstance(text, str):
        raise _malformed(f"a {block['type']} block must have a string as its {name}")
    return text


def _unmarked(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != "cache_control"}


def _malformed(message: str) -> ApiError:
    return ApiError(400, f"messages: {message}", param="messages")


_REQUIRED: tuple[Rule, ...] = (
    MODEL,
    ("messages", filled_list, "a non-empty list of messages"),
)
# Ranges: Anthropic's API reference.
_OPTIONAL: tuple[Rule, ...] = (
    ("system", lambda value: isinstance(value, str) or objects(value), "text or text blocks"),
    ("tools", objects, "a list of tools"),
    ("tool_choice", of_type(dict), "an object with a type"),
    ("thinking", of_type(dict), "an object with a type"),
    (
        "output_config",
        lambda value: isinstance(value, dict) and value.get("effort") in (None, *_EFFORTS),
        f"an object with an effort of {', '.join(_EFFORTS)}",
    ),
    ("stream", of_type(bool), FLAG),
    ("temperature", between(0, 1), "a number from 0 to 1"),
    ("top_p", between(0, 1), "a number from 0 to 1"),
    ("top_k", at_least(0), "an integer of at least 0"),
    ("metadata", of_type(dict), "an object"),
    # Refused: nothing stands behind it here.
    ("stop_sequences", one_of([]), "empty: the answers are filler of a given length"),
)
