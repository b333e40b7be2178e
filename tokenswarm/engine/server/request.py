"""Request: what the engine heeds of a request, whatever the dialect that it came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """messages, tools: as chat completions have them, so that a text counts the same tokens in
    every dialect; each is checked when it is counted (`prompt_tokens.check_message`).
    tool_choice: "auto", "none", "required", or {"function": {"name": …}} of one of the tools.
    max_tokens: None if not given. reasoning_effort, reasoning_budget (the most tokens of it): None
    if the request says nothing of it.
    """

    model: str
    messages: list[Any]
    tools: list[Any]
    tool_choice: Any
    max_tokens: int | None
    reasoning_effort: str | None = None
    reasoning_budget: int | None = None
    stream: bool
    include_usage: bool = True
    usage_in_every_chunk: bool = False  # vLLM's stream_options.continuous_usage_stats


def named_function(name: str) -> dict[str, Any]:
    """The tool choice that calls it."""
    return {"type": "function", "function": {"name": name}}


def function_names(tools: list[Any]) -> list[str]:
    """Of the tools that can be called."""
    functions = (tool["function"] for tool in tools if is_function(tool))
    return [name for function in functions if isinstance(name := function.get("name"), str)]


def is_function(tool: Any) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("function"), dict)


def text_content(texts: list[str], others: list[dict[str, Any]]) -> Any:
    """A message's content: its text alone is a string, however many parts it came in by one;
    others: parts without text, such as images."""
    if len(texts) == 1 and not others:
        return texts[0]
    return [*({"type": "text", "text": text} for text in texts), *others] or None
