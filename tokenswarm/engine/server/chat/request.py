"""The chat completions request: bytes in, Request or an error in OpenAI's form out. Pure.

What the engine cannot honour and a client would look for in the answer is refused by name
(several choices, log probabilities, JSON output, an end at a word). What changes nothing that is
simulated (sampling) is checked and accepted. Unknown fields are ignored, as every server does.
"""

from __future__ import annotations

from typing import Any

from tokenswarm.engine.server.errors import invalid
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
    of_type,
    one_of,
    whole,
)
from tokenswarm.engine.server.reply_text import EFFORTS
from tokenswarm.engine.server.request import Request, function_names, is_function


def parse_request(body: bytes) -> Request:
    """Raises ApiError (400) for anything that is not a chat completion request."""
    fields = json_object(body)
    check(fields, _REQUIRED, _OPTIONAL)
    tools = fields.get("tools") or []
    options = fields.get("stream_options") or {}
    return Request(
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
    offered = function_names(tools)
    if (choice == "required" and tools) or (isinstance(name, str) and name in offered):
        return choice
    accepted = 'none, auto, required or {"type": "function", "function": {"name": …}} of a tool'
    raise invalid("tool_choice", choice, f"{accepted} in tools")


_REQUIRED: tuple[Rule, ...] = (
    MODEL,
    ("messages", filled_list, "a non-empty list of messages"),
)
# Ranges: OpenAI's API reference.
_OPTIONAL: tuple[Rule, ...] = (
    ("max_completion_tokens", at_least(1), COUNT),
    ("max_tokens", at_least(1), COUNT),
    ("stream", of_type(bool), FLAG),
    ("stream_options", of_type(dict), "an object"),
    (
        "tools",
        lambda value: isinstance(value, list) and all(map(is_function, value)),
        "a list of functions",
    ),
    ("parallel_tool_calls", of_type(bool), FLAG),
    ("reasoning_effort", one_of(*EFFORTS), f"one of {', '.join(EFFORTS)}"),
    ("temperature", between(0, 2), "a number from 0 to 2"),
    ("top_p", between(0, 1), "a number from 0 to 1"),
    ("presence_penalty", between(-2, 2), "a number from -2 to 2"),
    ("frequency_penalty", between(-2, 2), "a number from -2 to 2"),
    ("seed", whole, "an integer"),
    ("min_tokens", at_least(0), "an integer of at least 0"),
    ("ignore_eos", of_type(bool), FLAG),
    # Refused: nothing stands behind them here.
    ("stop", one_of("", []), "empty: the answers are filler of a given length"),
    ("n", one_of(1), "1: this engine simulates one choice"),
    ("logprobs", one_of(False), "false: the text is filler and has no probabilities"),
    ("top_logprobs", one_of(0), NO_PROBABILITIES),
    (
        "response_format",
        lambda value: isinstance(value, dict) and value.get("type") == "text",
        'of type "text": the answers are filler',
    ),
)
