"""The chat completions request: bytes in, ChatRequest or an error in OpenAI's form out. Pure.

What the engine cannot honour and a client would look for in the answer is refused by name
(several choices, log probabilities, JSON output, an end at a word). What changes nothing that is
simulated (sampling) is checked and accepted. Unknown fields are ignored, as every server does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from tokenswarm.engine.server.errors import ApiError, invalid
from tokenswarm.engine.server.reply_text import EFFORTS

Fits = Callable[[Any], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What the engine heeds of a request. max_tokens, reasoning_effort: None if not given."""

    model: str
    messages: list[Any]  # each checked when it is counted (`prompt_tokens.check_message`)
    tools: list[Any]
    tool_choice: Any
    max_tokens: int | None
    reasoning_effort: str | None
    stream: bool
    include_usage: bool
    usage_in_every_chunk: bool  # vLLM's stream_options.continuous_usage_stats


def parse_request(body: bytes) -> ChatRequest:
    """Raises ApiError (400) for anything that is not a chat completion request."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise ApiError(400, "the body must be a JSON object", code="invalid_json")
    for name, fits, accepted in _REQUIRED:
        if not fits(fields.get(name)):
            raise invalid(name, fields.get(name), accepted)
    for name, fits, accepted in _OPTIONAL:
        if (value := fields.get(name)) is not None and not fits(value):
            raise invalid(name, value, accepted)
    tools = fields.get("tools") or []
    options = fields.get("stream_options") or {}
    return ChatRequest(
        model=fields["model"],
        messages=fields["messages"],
        tools=tools,
        tool_choice=_tool_choice(fields.get("tool_choice"), tools),
        max_tokens=fields.get("max_completion_tokens") or fields.get("max_tokens"),
        reasoning_effort=fields.get("reasoning_effort"),
        stream=fields.get("stream") or False,
        include_usage=bool(options.get("include_usage")),
        usage_in_every_chunk=bool(options.get("continuous_usage_stats")),
    )


def _tool_choice(choice: Any, tools: list[Any]) -> Any:
    if choice in (None, "auto", "none"):
        return choice or "auto"
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    offered = [tool["function"].get("name") for tool in tools if _is_function(tool)]
    if (choice == "required" and offered) or (isinstance(name, str) and name in offered):
        return choice
    accepted = 'none, auto, required or {"type": "function", "function": {"name": …}} of a tool'
    raise invalid("tool_choice", choice, f"{accepted} in tools")


def _is_function(tool: Any) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("function"), dict)


def _is(kind: type) -> Fits:
    return lambda value: isinstance(value, kind)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _at_least(least: int) -> Fits:
    return lambda value: _whole(value) and value >= least


def _between(least: float, most: float) -> Fits:
    return lambda value: (_whole(value) or isinstance(value, float)) and least <= value <= most


_COUNT = "an integer of at least 1"
_FLAG = "true or false"
_REQUIRED: tuple[tuple[str, Fits, str], ...] = (
    ("model", lambda value: isinstance(value, str) and value != "", "the name of a model"),
    (
        "messages",
        lambda value: isinstance(value, list) and len(value) > 0,
        "a non-empty list of messages",
    ),
)
# Ranges: OpenAI's API reference.
_OPTIONAL: tuple[tuple[str, Fits, str], ...] = (
    ("max_completion_tokens", _at_least(1), _COUNT),
    ("max_tokens", _at_least(1), _COUNT),
    ("stream", _is(bool), _FLAG),
    ("stream_options", _is(dict), "an object"),
    (
        "tools",
        lambda value: isinstance(value, list) and all(map(_is_function, value)),
        "a list of functions",
    ),
    ("parallel_tool_calls", _is(bool), _FLAG),
    (
        "reasoning_effort",
        lambda value: isinstance(value, str) and value in EFFORTS,
        f"one of {', '.join(EFFORTS)}",
    ),
    ("temperature", _between(0, 2), "a number from 0 to 2"),
    ("top_p", _between(0, 1), "a number from 0 to 1"),
    ("presence_penalty", _between(-2, 2), "a number from -2 to 2"),
    ("frequency_penalty", _between(-2, 2), "a number from -2 to 2"),
    ("seed", _whole, "an integer"),
    ("min_tokens", _at_least(0), "an integer of at least 0"),
    ("ignore_eos", _is(bool), _FLAG),
    # Refused: nothing stands behind them here.
    ("stop", lambda value: value in ("", []), "empty: the answers are filler of a given length"),
    ("n", lambda value: _whole(value) and value == 1, "1: this engine simulates one choice"),
    (
        "logprobs",
        lambda value: value is False,
        "false: the text is filler and has no probabilities",
    ),
    (
        "top_logprobs",
        lambda value: _whole(value) and value == 0,
        "0: the text is filler and has no probabilities",
    ),
    (
        "response_format",
        lambda value: isinstance(value, dict) and value.get("type") == "text",
        'of type "text": the answers are filler',
    ),
)
