"""The OpenAI Responses request: bytes in, Request or an error out. Pure.

https://platform.openai.com/docs/api-reference/responses/create. Items become the messages of chat
completions; what one answer brought (reasoning, text, calls) is one message of the assistant again.
Nothing is stored, so nothing earlier can be referred to.
"""

from __future__ import annotations

from typing import Any

from tokenswarm.engine.server.errors import ApiError, invalid
from tokenswarm.engine.server.fields import (
    COUNT,
    FLAG,
    MODEL,
    NO_PROBABILITIES,
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
from tokenswarm.engine.server.reply_text import EFFORTS
from tokenswarm.engine.server.request import (
    Request,
    function_names,
    named_function,
    text_content,
)

_TEXTS = ("input_text", "output_text", "text", "refusal")
_ROLES = ("user", "assistant", "system", "developer")


def parse_request(body: bytes) -> Request:
    """Raises ApiError (400) for anything that is not a Responses request."""
    fields = json_object(body)
    check(fields, _REQUIRED, _OPTIONAL)
    tools = [_tool(tool) for tool in fields.get("tools") or ()]
    return Request(
        model=fields["model"],
        messages=_messages(fields.get("instructions"), fields["input"]),
        tools=tools,
        tool_choice=_tool_choice(fields.get("tool_choice"), tools),
        max_tokens=fields.get("max_output_tokens"),
        reasoning_effort=(fields.get("reasoning") or {}).get("effort"),
        stream=fields.get("stream") or False,
    )


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A function as chat completions have it; any other tool only counts as text."""
    if tool.get("type") != "function":
        return tool
    function = {name: value for name, value in tool.items() if name != "type"}
    return {"type": "function", "function": function}


def _tool_choice(choice: Any, tools: list[Any]) -> Any:
    if choice in (None, "auto", "none"):
        return choice or "auto"
    offered = function_names(tools)
    if choice == "required" and offered:
        return choice
    if isinstance(choice, dict) and choice.get("name") in offered:
        return named_function(choice["name"])
    accepted = 'none, auto, required or {"type": "function", "name": …} of a tool in tools'
    raise invalid("tool_choice", choice, accepted)


def _messages(instructions: Any, items: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if instructions:
        found.append({"role": "system", "content": instructions})
    if isinstance(items, str):
        return [*found, {"role": "user", "content": items}]
    answer: dict[str, Any] | None = None  # the assistant's message that still grows
    for item in items:
        if not isinstance(item, dict):
            raise _malformed("each item must be an object")
        kind = item.get("type", "message" if "role" in item else None)
        if kind == "function_call_output":
            answer = None
            output = _content(item.get("output"))
            found.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})
        elif kind == "message" and item.get("role") != "assistant":
            answer = None
            found.append(_message(item))
        elif kind in ("message", "reasoning", "function_call"):
            if answer is None or _is_next(answer, kind):
                answer = {"role": "assistant", "content": None}
                found.append(answer)
            _extend(answer, kind, item)
        else:
            accepted = "message, reasoning, function_call or function_call_output"
            raise _malformed(f"an item of the type {kind!r} is not accepted: it must be {accepted}")
    return found


def _is_next(answer: dict[str, Any], kind: str) -> bool:
    """The item opens another answer: reasoning comes first in one, and text once."""
    if kind == "function_call":
        return False
    return (
        answer["content"] is not None
        or "tool_calls" in answer
        or (kind == "reasoning" and "reasoning_content" in answer)
    )


def _extend(answer: dict[str, Any], kind: str, item: dict[str, Any]) -> None:
    if kind == "message":
        answer["content"] = _content(item.get("content"))
    elif kind == "reasoning":
        if thought := _thought(item):
            answer["reasoning_content"] = thought
    else:
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        answer.setdefault("tool_calls", []).append(call)


def _message(item: dict[str, Any]) -> dict[str, Any]:
    role = item.get("role")
    if role not in _ROLES:
        raise _malformed(f"role {role!r} is not accepted: it must be one of {', '.join(_ROLES)}")
    return {"role": role, "content": _content(item.get("content"))}


def _thought(item: dict[str, Any]) -> str:
    """The reasoning in the open; what is encrypted or summed up says nothing to this engine."""
    parts = item.get("content") or []
    if not objects(parts):
        raise _malformed("the content of reasoning must be a list of parts")
    return "".join(part["text"] for part in parts if isinstance(part.get("text"), str))


def _content(content: Any) -> Any:
    """Text or parts as chat completions have them."""
    if isinstance(content, str):
        return content
    if not objects(content):
        raise _malformed("content and output must be a string or a list of parts")
    texts = [_text(part) for part in content if part.get("type") in _TEXTS]
    return text_content(texts, [part for part in content if part.get("type") not in _TEXTS])


def _text(part: dict[str, Any]) -> str:
    text = part.get("refusal" if part["type"] == "refusal" else "text")
    if not isinstance(text, str):
        raise _malformed(f"a part of the type {part['type']} must have a string as its text")
    return text


def _malformed(message: str) -> ApiError:
    return ApiError(400, f"input: {message}", param="input")


def _reasoning_fits(value: Any) -> bool:
    return isinstance(value, dict) and (
        value.get("effort") is None or one_of(*EFFORTS)(value["effort"])
    )


def _text_fits(value: Any) -> bool:
    format = value.get("format") if isinstance(value, dict) else 0
    return format is None or (isinstance(format, dict) and format.get("type") == "text")


_STORED = "null: this engine stores nothing; send the whole transcript"
_REQUIRED: tuple[Rule, ...] = (
    MODEL,
    (
        "input",
        lambda value: (isinstance(value, str) and value != "") or filled_list(value),
        "a text or a non-empty list of items",
    ),
)
# Ranges: OpenAI's API reference.
_OPTIONAL: tuple[Rule, ...] = (
    ("instructions", of_type(str), "a text"),
    ("max_output_tokens", at_least(1), COUNT),
    ("stream", of_type(bool), FLAG),
    ("store", of_type(bool), FLAG),
    ("tools", objects, "a list of tools"),
    ("parallel_tool_calls", of_type(bool), FLAG),
    ("reasoning", _reasoning_fits, f"an object with an effort of {', '.join(EFFORTS)}"),
    ("temperature", between(0, 2), "a number from 0 to 2"),
    ("top_p", between(0, 1), "a number from 0 to 1"),
    # Refused: nothing stands behind them here.
    ("previous_response_id", one_of(), _STORED),
    ("conversation", one_of(), _STORED),
    ("background", one_of(False), "false: the answer comes on this connection"),
    ("top_logprobs", one_of(0), NO_PROBABILITIES),
    ("text", _text_fits, 'of the format {"type": "text"}: the answers are filler'),
)
